"""CLIP (arXiv 2103.00020) as an encoder: an image and a text are unit vectors in one space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from dragon_stable_diffusion import CONFIGURATION, FILES, REPOSITORY, WEIGHTS
from torch.nn.functional import interpolate, normalize

from dragon_rewards import WeightsError, find_weights, fingerprint_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

BICUBIC = 3  # as Pillow numbers it


class Preprocessing:
    """What CLIPImageProcessor does, in torch: equal to 1.2 of 255 levels, and differentiable.

    The processor resizes the width, then the height, clips what either overshoots, and rounds, which is not done here.
    """

    def __init__(self, processor: Any) -> None:
        self.edge = int(processor.size["shortest_edge"])
        self.crop = int(processor.crop_size["height"]), int(processor.crop_size["width"])
        self.mean, self.deviation = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the model's pixels (images, 3, height, width) of RGB images (images, 3, height, width) in [0, 1]."""
        shortest = min(images.shape[-2:])
        height, width = (self.edge * side // shortest for side in images.shape[-2:])
        wide = interpolate(images, (images.shape[-2], width), mode="bicubic", antialias=True).clamp(0, 1)
        resized = interpolate(wide, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
        top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
        cropped = resized[..., top : top + self.crop[0], left : left + self.crop[1]]
        return (cropped - self.mean[:, None, None]) / self.deviation[:, None, None]


class Clip:
    """An encoder of images and text: a frozen CLIPModel, its preprocessing and its tokenizer."""

    # transformers' models and tokenizers have no usable types.
    def __init__(self, model: Any, preprocessing: Preprocessing, tokenizer: Any, identity: str) -> None:
        """Take a CLIPModel and a CLIPTokenizer."""
        self.model, self.preprocessing, self.tokenizer, self.identity = model, preprocessing, tokenizer, identity

    def encode_image(self, images: Tensor) -> Tensor:
        """Return one unit frame each, (images, 1, dim), of RGB images (images, 3, height, width) in [0, 1]."""
        embedded: Tensor = self.model.get_image_features(self.preprocessing(images)).pooler_output
        return normalize(embedded, dim=-1)[:, None]

    @property
    def token_limit(self) -> int:
        """The number of tokens of a text that are read: the positions of the text tower."""
        positions: int = self.model.config.text_config.max_position_embeddings
        return positions

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each whole text, with the marks of beginning and end."""
        return [len(row) for row in self.tokenizer(list(texts), verbose=False)["input_ids"]]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return the unit embeddings (texts, dim) of texts.

        A text is cut where the text tower's positions end (77 tokens).
        """
        longest = self.token_limit
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        embedded: Tensor = self.model.get_text_features(tokens.input_ids, tokens.attention_mask).pooler_output
        return normalize(embedded, dim=-1)


def load_encoder(name: str, dim: int) -> Clip:
    """Load the encoder `name` from the user's weights, in float32.

    Raises:
        WeightsError: the weights are missing, incomplete, of another dimension, or of another preprocessing.
    """
    from transformers import CLIPImageProcessor, CLIPTokenizer

    folder = find_weights(name, REPOSITORY, FILES)
    processor = CLIPImageProcessor.from_pretrained(folder)
    _check_processor(processor, folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    weights = next(folder / file for file in WEIGHTS if (folder / file).is_file())
    identity = fingerprint_files(name, [weights, *(folder / file for file in CONFIGURATION)])
    return Clip(_load_model(folder, dim), Preprocessing(processor), tokenizer, identity)


def _check_processor(processor: Any, folder: Path) -> None:
    wanted = {"do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "resample": BICUBIC}
    found = {key: getattr(processor, key) for key in wanted}
    edge, crop = processor.size["shortest_edge"], processor.crop_size
    if found != wanted or not edge or max(crop["height"], crop["width"]) > edge:
        raise WeightsError(
            f"{folder / 'preprocessor_config.json'}: {found}, size {processor.size}, crop {crop}; this encoder resizes "
            f"the shortest edge (bicubic) and crops the middle; use a checkpoint such as {REPOSITORY}"
        )


def _load_model(folder: Path, dim: int) -> Any:
    from transformers import CLIPModel

    loaded: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model, report = loaded
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise WeightsError(f"the weights in {folder} lack {missing}; download all of them again")
    if model.config.projection_dim != dim:
        raise WeightsError(
            f"{folder / 'config.json'}: embeddings of {model.config.projection_dim} values, and this encoder has "
            f"{dim}; use a checkpoint such as {REPOSITORY}"
        )
    return model.eval().requires_grad_(requires_grad=False)
