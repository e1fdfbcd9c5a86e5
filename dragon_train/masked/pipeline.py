"""Generate audio from tokens: diffusers' `StableAudioPipeline`, whose call is left as it is, with masked tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusers import StableAudioPipeline

if TYPE_CHECKING:
    from dragon_train.masked.codebook import ProductCodebook
    from dragon_train.masked.scheduler import MaskedScheduler
    from dragon_train.masked.transformer import MaskedAudioTransformer


class MaskedAudioPipeline(StableAudioPipeline):  # type: ignore[misc]  # diffusers is untyped
    """A text-to-audio pipeline over the tokens of an autoencoder's latents.

    Its latents are continuous, and its tokens are read from them (`ProductCodebook`); where tokens are masked they are
    0. Guidance acts on logits.
    """

    def __init__(
        self,
        vae: Any,
        text_encoder: Any,
        projection_model: Any,
        tokenizer: Any,
        transformer: MaskedAudioTransformer,
        scheduler: MaskedScheduler,
        codebook: ProductCodebook,
    ) -> None:
        super().__init__(vae, text_encoder, projection_model, tokenizer, transformer, scheduler)
        self.register_modules(codebook=codebook)
        scheduler.codebook = codebook
