"""Generate audio from tokens: diffusers' `StableAudioPipeline`, whose call is left as it is, with masked tokens."""

from diffusers import ModelMixin, StableAudioPipeline
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dragon_train.masked.codebook import ProductCodebook
from dragon_train.masked.scheduler import MaskedScheduler
from dragon_train.masked.transformer import MaskedAudioTransformer


class MaskedAudioPipeline(StableAudioPipeline):  # type: ignore[misc]  # diffusers is untyped
    """A text-to-audio pipeline over the tokens of an autoencoder's latents.

    Its latents are continuous, and its tokens are read from them (`ProductCodebook`); where tokens are masked they are
    0. Guidance acts on logits.
    """

    def __init__(  # diffusers reads these types when it loads
        self,
        vae: ModelMixin,
        text_encoder: PreTrainedModel,
        projection_model: StableAudioProjectionModel,
        tokenizer: PreTrainedTokenizerBase,
        transformer: MaskedAudioTransformer,
        scheduler: MaskedScheduler,
        codebook: ProductCodebook,
    ) -> None:
        super().__init__(vae, text_encoder, projection_model, tokenizer, transformer, scheduler)
        self.register_modules(codebook=codebook)
        scheduler.codebook = codebook
