"""Adapt `MaskedAudioPipeline`: masked diffusion over tokens (arXiv 2406.07524)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never

import torch
from torch.nn.functional import cross_entropy

from dragon_rewards.errors import ConfigError
from dragon_train.pipelines.noise import DenoisingTarget, quantiles
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from dragon_train.masked.scheduler import MaskedScheduler

LEAST = 0.02  # share of masked tokens: of fewer, one token would weigh fifty times
NO_STEPS = (
    "a pipeline of tokens takes no Gaussian steps, and grpo, the trajectories of prdp, and eta and intermediate of "
    "direct need them; take another objective or path"
)


@dataclass(frozen=True)
class Masking:
    """Masking of tokens, the noise of a pipeline of tokens; a level is the share m of tokens that are masked.

    Attributes:
        scheduler: of the pipeline, which has the codebook.
    """

    scheduler: MaskedScheduler

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw a share for each clip, uniform on (0, 1), and a uniform number for each token, (clips, groups, frames).

        A token is masked where its number is below the share.
        """
        numbers = torch.rand(len(latents), self.scheduler.codebook.groups, latents.shape[2], generator=generator)
        shares = quantiles(len(latents), generator).clamp(min=LEAST)
        return Draw(numbers.to(latents.device), shares.to(latents.device))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Return latents with masked tokens as the network sees them, and the tokens, (clips, groups, frames).

        The answer counts where tokens are masked: the slope is 1 there and 0 elsewhere.
        """
        book = self.scheduler.codebook
        tokens = book.tokens(book.rotate(latents))
        masked = draw.noise < draw.level[:, None, None]
        kept = book.restore(book.embed(tokens) * ~masked[:, :, None])
        return DenoisingTarget(self.scheduler.scale_model_input(kept), draw.level, tokens, masked)

    def coefficients(self, level: Tensor) -> Never:  # noqa: ARG002
        """Refuse: noisy latents are no sum of latents and noise.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(NO_STEPS)

    def grid(self, scheduler: Any) -> Never:  # noqa: ARG002
        """Refuse, as `coefficients` does.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(NO_STEPS)


class MaskedAudioPolicy(StableAudioPolicy):
    """The policy over a pipeline of tokens, whose denoiser answers logits."""

    guidance = 1.0
    noise: Masking

    def process(self, scheduler: MaskedScheduler) -> Masking:
        """Return the masking of tokens, whatever their shares."""
        return Masking(scheduler)

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Return the bound on the negative log-likelihood of each clip in nats per token, (clips,), with gradient.

        With N tokens, m the share that is masked and M the tokens that are (arXiv 2406.07524, equation 10):

            error = 1 / (N m) sum over M of -log p(token)
        """
        question = self.noise.denoising_target(latents, draw)
        logits = self.logits(self.answer(question, condition))
        surprise = cross_entropy(logits.movedim(2, 1), question.target, reduction="none")
        error: Tensor = (surprise * question.slope).flatten(1).mean(1) / draw.level
        return error

    def denoised(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Return the latents that are expected under the denoiser's probabilities, (clips, ...), with gradient."""
        book, question = self.noise.scheduler.codebook, self.noise.denoising_target(latents, draw)
        expected = book.expected(self.logits(self.answer(question, condition)).softmax(2))
        return book.restore(torch.where(question.slope[:, :, None], expected, book.embed(question.target)))

    def logits(self, answer: Tensor) -> Tensor:
        """Return the logits in float32 by group: (clips, groups, vocabulary, frames)."""
        logits: Tensor = answer.float().unflatten(1, (self.noise.scheduler.codebook.groups, -1))
        return logits

    def divergence(self, asked: Mapping[str, Any], answer: Tensor, other: Tensor) -> Tensor:
        """Return how far the step that an answer takes is from another's: their KL divergence in nats, (clips,).

        A step unmasks each masked token with a probability u that does not depend on the answer (`MaskedScheduler`),
        so that with p and q the probabilities of tokens

            KL = u sum over masked tokens of sum_v p_v log(p_v / q_v)

        Args:
            asked: the arguments of the denoiser's call, by name.
            answer: what it answered, whose p it is.
            other: what another answers, whose q it is.
        """
        p, q = (self.logits(each).log_softmax(2) for each in (answer, other))
        masked: Tensor = asked["hidden_states"][:, -p.shape[1] :]
        each = ((p.exp() * (p - q)).sum(2) * masked).sum((1, 2))
        divergence: Tensor = self.noise.scheduler.unmasking(asked["timestep"][0]) * each
        return divergence
