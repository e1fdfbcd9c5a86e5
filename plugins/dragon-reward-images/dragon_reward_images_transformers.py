"""The encoders `dinov2` (arXiv 2304.07193) and `siglip2` (arXiv 2502.14786), on the models of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from dragon_reward_images import DINOV2, DINOV2_DIM, NETWORK, SIGLIP2, SIGLIP2_DIM, TOKENIZER
from dragon_reward_images_resize import bicubic
from torch.nn.functional import normalize

from dragon_rewards import WeightsError, find_weights, fingerprint_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

SIZE = 224  # pixels, of both
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHTS = NETWORK[1].split("|")


class DinoV2:
    """An encoder of images: a frozen Dinov2Model, of which the normalised class token is kept."""

    def __init__(self, model: Any, identity: str) -> None:  # transformers' models have no usable types
        self.model, self.identity = model, identity
        self.mean, self.deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_DEVIATION)

    def pixels(self, images: Tensor) -> Tensor:
        """Return the model's pixels (images, 3, 224, 224) of RGB images (images, 3, height, width) in [0, 1].

        The whole image is resized to a square and nothing is cropped, as dgm-eval does it for FD-DINOv2.
        """
        return (bicubic(images, SIZE) - self.mean[:, None, None]) / self.deviation[:, None, None]

    def encode_image(self, images: Tensor) -> Tensor:
        """Return one frame each, (images, 1, dim), of RGB images (images, 3, height, width) in [0, 1]."""
        embedded: Tensor = self.model(self.pixels(images)).pooler_output
        return embedded[:, None]


class SigLip2:
    """An encoder of images and text: a frozen SiglipModel and its tokenizer."""

    # transformers' models and tokenizers have no usable types.
    def __init__(self, model: Any, tokenizer: Any, identity: str) -> None:
        """Take a SiglipModel and a Siglip2Tokenizer."""
        self.model, self.tokenizer, self.identity = model, tokenizer, identity

    def pixels(self, images: Tensor) -> Tensor:
        """Return the model's pixels (images, 3, 224, 224) of RGB images (images, 3, height, width) in [0, 1].

        The whole image is resized to a square and nothing is cropped, as SiglipImageProcessor does it.
        """
        return (bicubic(images, SIZE) - 0.5) / 0.5

    def encode_image(self, images: Tensor) -> Tensor:
        """Return one unit frame each, (images, 1, dim), of RGB images (images, 3, height, width) in [0, 1]."""
        embedded: Tensor = self.model.get_image_features(self.pixels(images)).pooler_output
        return normalize(embedded, dim=-1)[:, None]

    @property
    def token_limit(self) -> int:
        """The number of tokens of a text that are read: the positions of the text tower."""
        positions: int = self.model.config.text_config.max_position_embeddings
        return positions

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each whole text, with the mark of the end."""
        return [len(row) for row in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return the unit embeddings (texts, dim) of texts.

        A text is cut where the text tower's positions end (64 tokens), and filled up to them: the tower was trained so,
        and reads what it is filled with.
        """
        tokens = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.token_limit, return_tensors="pt"
        )
        embedded: Tensor = self.model.get_text_features(tokens.input_ids.to(self.model.device)).pooler_output
        return normalize(embedded, dim=-1)


def load_dinov2() -> DinoV2:
    """Load the encoder `dinov2` from the user's weights, in float32.

    Raises:
        WeightsError: the weights are missing, incomplete, or of another dimension.
    """
    from transformers import Dinov2Model

    folder = find_weights("dinov2", DINOV2, NETWORK)
    model = load_model(Dinov2Model, folder)
    _check_dim(model.config.hidden_size, DINOV2_DIM, folder, DINOV2)
    return DinoV2(model, _identity("dinov2", folder, ()))


def load_siglip2() -> SigLip2:
    """Load the encoder `siglip2` from the user's weights, in float32.

    The released tokenizer names another class, which does not lower the case as the training did.

    Raises:
        WeightsError: the weights are missing, incomplete, of another dimension, or of images of another size.
    """
    from transformers import Siglip2Tokenizer, SiglipModel

    folder = find_weights("siglip2", SIGLIP2, (*NETWORK, *TOKENIZER))
    model = load_model(SiglipModel, folder)
    vision = model.config.vision_config
    _check_dim(vision.hidden_size, SIGLIP2_DIM, folder, SIGLIP2)
    if vision.image_size != SIZE:
        raise WeightsError(
            f"{folder / 'config.json'}: images of {vision.image_size} pixels, and this encoder makes {SIZE}; "
            f"use {SIGLIP2}"
        )
    tokenizer = Siglip2Tokenizer.from_pretrained(folder, padding_side="right")  # the class's default is left
    return SigLip2(model, tokenizer, _identity("siglip2", folder, TOKENIZER))


def load_model(kind: Any, folder: Path) -> Any:
    """Load a model of a class of transformers in float32, frozen.

    Raises:
        WeightsError: weights are missing.
    """
    loaded: Any = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model, report = loaded
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise WeightsError(f"the weights in {folder} lack {missing}; download all of them again")
    return model.eval().requires_grad_(requires_grad=False)


def _check_dim(found: int, dim: int, folder: Path, repository: str) -> None:
    if found != dim:
        raise WeightsError(
            f"{folder / 'config.json'}: embeddings of {found} values, and this encoder has {dim}; use {repository}"
        )


def _identity(name: str, folder: Path, further: Sequence[str]) -> str:
    weights = next(folder / file for file in WEIGHTS if (folder / file).is_file())
    return fingerprint_files(name, [weights, *(folder / file for file in (NETWORK[0], *further))])
