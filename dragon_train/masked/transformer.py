"""Predict the tokens of masked groups: Stable Audio's diffusion transformer, with a head of logits.

The body is diffusers' `StableAudioDiTModel` as it is, so that it can begin with the weights of a model of the same
latents. What was a noise level for that is here the share of tokens that are masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import ConfigMixin, ModelMixin, StableAudioDiTModel
from diffusers.configuration_utils import register_to_config
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

LEAST, MOST = 1e-4, 1 - 1e-4  # shares of which the logit is taken


class MaskedAudioTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """A network from latents with masked groups to the logits of all tokens.

    Its settings are the body's, with the groups and the vocabulary of the codebook.
    """

    _supports_gradient_checkpointing = True

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        groups: int = 16,
        vocabulary: int = 512,
        sample_size: int = 80,
        in_channels: int = 128,
        num_layers: int = 6,
        attention_head_dim: int = 32,
        num_attention_heads: int = 5,
        num_key_value_attention_heads: int = 5,
        cross_attention_dim: int = 160,
        time_proj_dim: int = 128,
        global_states_input_dim: int = 256,
        cross_attention_input_dim: int = 128,
    ) -> None:
        super().__init__()
        self.body = StableAudioDiTModel(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=in_channels,
            num_layers=num_layers,
            attention_head_dim=attention_head_dim,
            num_attention_heads=num_attention_heads,
            num_key_value_attention_heads=num_key_value_attention_heads,
            cross_attention_dim=cross_attention_dim,
            time_proj_dim=time_proj_dim,
            global_states_input_dim=global_states_input_dim,
            cross_attention_input_dim=cross_attention_input_dim,
        )
        self.mark = nn.Linear(groups, in_channels, bias=False)
        self.head = nn.Linear(in_channels, groups * vocabulary)

    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor | None = None,
        global_hidden_states: Tensor | None = None,
        rotary_embedding: Tensor | None = None,
        return_dict: bool = False,  # noqa: ARG002  the pipeline gives it
    ) -> tuple[Tensor]:
        """Return the logits of tokens, (clips, groups * vocabulary, frames), in a tuple as networks of diffusers do.

        Args:
            hidden_states: latents whose masked groups are 0, and after them a channel for each group that is 1 where it
                is masked: (clips, channels + groups, frames).
            timestep: the share of tokens that are masked, (clips,) or (1,).
            encoder_hidden_states: the prompt and the length, (clips, words, width), as the body takes them.
            global_hidden_states: the length, (clips, 1, width).
            rotary_embedding: the positions.
            return_dict: whatever it is, a tuple is returned.
        """
        latents, flags = hidden_states.to(self.dtype).split([self.config.in_channels, self.config.groups], 1)
        marked = latents + self.mark(flags.mT).mT
        level = torch.logit(timestep.float().clamp(LEAST, MOST)) / 4  # as EDM's c_noise, of sigma = m / (1 - m)
        told = encoder_hidden_states, global_hidden_states, rotary_embedding
        hidden = self.body(marked, level, *told, return_dict=False)[0]
        return (self.head(hidden.mT).mT,)
