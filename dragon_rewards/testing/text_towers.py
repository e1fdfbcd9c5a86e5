"""The checks of what an encoder of audio or images that embeds text, too, promises of its text tower."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dragon_rewards.compute.devices import available_devices
from dragon_rewards.errors import DragonError
from dragon_rewards.protocols import BoundedTextEncoder, Modality, TextEncoder
from dragon_rewards.testing.require import DEVICE_ROUNDING, require, require_equal
from dragon_rewards.testing.towers import require_finite

if TYPE_CHECKING:
    from dragon_rewards.testing.towers import TowerCase

REPEATED = 400  # times five words: more than text towers have positions
TEXTS = ("jig", "a slow hymn played on organ", "a fast jig on the fiddle, recorded in a small room " * 20, "a waltz")


def text_tower(case: TowerCase) -> None:
    """Check that the modality text is declared if and only if the encoder has `encode_text`."""
    declared, present = Modality.TEXT in case.info.modalities, isinstance(case.encoder, TextEncoder)
    found = f"declared: {declared}, encode_text: {present}"
    mend = "add Modality.TEXT to the EncoderInfo, or take encode_text away"
    require(declared == present, "encode_text where the modality text is declared, and only there", found, mend)


def text_embeddings(case: TowerCase) -> None:
    """Check that embeddings of texts are finite float32 (texts, dim), also for long texts."""
    found = case.encode_text(TEXTS)
    _require_embeddings(found, case, len(TEXTS))
    require_finite(found, "embeddings of text", "mask the padding before attention and means")


def _require_embeddings(found: object, case: TowerCase, texts: int) -> None:
    shape = (texts, case.info.dim)
    got = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else f"{type(found).__name__}"
    mend = "return this shape, in the space of the frames"
    require(got == f"torch.float32 {shape}", f"encode_text returns torch.float32 {shape}", got, mend)


def text_deterministic(case: TowerCase) -> None:
    """Check that the same texts give the same embeddings."""
    promised = "the same embeddings for the same texts"
    require_equal(case.encode_text(TEXTS), case.encode_text(TEXTS), promised, "switch dropout off (model.eval())")


def text_batch_invariant(case: TowerCase) -> None:
    """Check that a text alone is embedded as it is among longer ones."""
    alone = torch.cat([case.encode_text([text]) for text in TEXTS])
    promised, mend = "embeddings that do not depend on the other texts", "mask the padding of shorter texts"
    require_equal(alone, case.encode_text(TEXTS), promised, mend)


def text_devices(case: TowerCase) -> None:
    """Check that on every device of this machine the text tower's copy gives the CPU's embeddings, on any device."""
    mend = "put the words' identifiers where the weights are (next(model.parameters()).device)"
    for device in available_devices():
        encoder = case.registry.build_encoder(case.info.name, device)
        assert isinstance(encoder, TextEncoder)  # noqa: S101  as `text_tower` has checked
        promised = f"the CPU's embeddings of text, computed on {device}"
        try:
            with torch.no_grad():
                found = encoder.encode_text(TEXTS).cpu()
        except RuntimeError as error:
            require(kept=False, promised=promised, found=str(error), mend=mend)
        require_equal(found, case.encode_text(TEXTS), promised, mend, DEVICE_ROUNDING)


def text_limit(case: TowerCase) -> None:
    """Check that an encoder that cuts long texts says so, by `token_limit` and `count_tokens`."""
    organ, fiddle = (f"{'a slow hymn played on ' * REPEATED}{ending}" for ending in ("organ", "fiddle"))
    cut = torch.equal(*case.encode_text([organ, fiddle]))
    tower = case.text_tower
    if not isinstance(tower, BoundedTextEncoder):
        mend = "give it `token_limit` and `count_tokens(texts)`, see dragon_rewards.protocols.BoundedTextEncoder"
        require(not cut, "texts that are read to the end, or a limit that is told", "a long text that is cut", mend)
        return
    short, long = tower.count_tokens([TEXTS[0], organ])
    counted = f"{short} and {long} tokens of a short and a long text, a limit of {tower.token_limit}"
    told = 0 < short <= tower.token_limit and cut == (long > tower.token_limit)
    mend = "count whole texts, and set token_limit to where encode_text cuts them"
    found = f"{counted}; the long one is{'' if cut else ' not'} cut"
    require(told, "a text is cut where it has more tokens than token_limit", found, mend)


def empty_text(case: TowerCase) -> None:
    """Check that the empty text is embedded, or refused by a DragonError."""
    try:
        found = case.encode_text([""])
    except DragonError:
        return
    _require_embeddings(found, case, 1)
    require_finite(found, "embeddings of the empty text", "divide by no count of words that may be 0")
