"""Six encoders of harmony made of the notes that basic-pitch hears, to be tried beside `chroma`.

basic-pitch (Bittner et al., arXiv 2203.09893; Apache-2.0) is a network of 17,000 parameters that tells for each frame
how probable it is that each of 88 notes sounds, and that it begins. Its ONNX file comes with the PyPI package.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Pooling: TypeAlias = Callable[[Tensor, Tensor], Tensor]

RATE, HOP, WINDOW, OVERLAP = 22_050, 256, 43_844, 30  # Hz, samples, samples, frames: as in basic_pitch.inference
FRAMES_PER_SECOND = RATE // HOP
LOWEST = 21  # MIDI number of the first of the 88 notes
SHORT, MIDDLE, LONG = 5, 22, 43  # frames of 12 ms that are averaged: 0.06 s as in chroma, 0.25 s, 0.5 s
LAG = 12  # frames from a note to the one that begins after it
FLOOR = 1e-3


class Notes:
    """The network, with the windows of its authors' own inference."""

    def __init__(self) -> None:
        """Load the network from the installed package, which is not imported, as it would ask for TensorFlow."""
        spec = find_spec("basic_pitch")
        assert spec is not None, "pip install --no-deps basic-pitch onnxruntime"
        path = Path(str(spec.origin)).parent / "saved_models" / "icassp_2022" / "nmp.onnx"
        runtime: Any = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def hear(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """The probabilities that notes sound and that they begin, each (frames, 88), of mono audio (samples,)."""
        hop = WINDOW - OVERLAP * HOP
        padded = torch.cat([audio.new_zeros(OVERLAP * HOP // 2), audio])
        windows = [padded[at : at + WINDOW] for at in range(0, len(padded), hop)]
        batch = torch.stack([torch.nn.functional.pad(each, (0, WINDOW - len(each))) for each in windows])
        names = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]
        found = self.session.run(names, {"serving_default_input_2:0": batch[..., None].numpy()})
        count = len(audio) * FRAMES_PER_SECOND // RATE
        notes, onsets = (
            torch.from_numpy(each)[:, OVERLAP // 2 : -OVERLAP // 2].flatten(0, 1)[:count] for each in found
        )
        return notes, onsets


def averaged(values: Tensor, size: int) -> Tensor:
    """The means (frames // size, dim) of blocks of frames."""
    blocks = len(values) // size
    means: Tensor = values[: blocks * size].unflatten(0, (blocks, size)).mean(1)
    return means


def folded(notes: Tensor) -> Tensor:
    """The sums (frames, 12) over octaves, from C."""
    found: Tensor = notes.new_zeros(len(notes), 12).index_add_(1, (torch.arange(88) + LOWEST) % 12, notes)
    return found


def shares(values: Tensor) -> Tensor:
    """The roots of the shares of a histogram (frames, bins)."""
    return (values / (values.sum(1, keepdim=True) + FLOOR)).sqrt()


def pitches(notes: Tensor, onsets: Tensor) -> Tensor:  # noqa: ARG001  one signature for all
    """The 88 notes, four times a second."""
    return averaged(notes, MIDDLE)


def classes(notes: Tensor, onsets: Tensor, size: int = SHORT) -> Tensor:  # noqa: ARG001
    """Pitch classes of unit norm, as `chroma` has them."""
    found = averaged(folded(notes), size)
    normed: Tensor = found / (torch.linalg.vector_norm(found, dim=1, keepdim=True) + FLOOR)
    return normed


def intervals(notes: Tensor, onsets: Tensor) -> Tensor:  # noqa: ARG001
    """Shares of the intervals, 0 to 6 semitones modulo inversion, between notes that sound together: in no key."""
    sounding = folded(notes)
    products = [(sounding * sounding.roll(-size, 1)).sum(1) for size in range(7)]
    return shares(averaged(torch.stack(products, 1), LONG))


def motion(notes: Tensor, onsets: Tensor) -> Tensor:
    """Shares of the 12 intervals, upwards modulo octaves, from notes to those that begin after them: in no key."""
    before, begun = folded(notes).roll(LAG, 0), folded(onsets)
    before[:LAG] = 0
    products = [(before * begun.roll(-size, 1)).sum(1) for size in range(12)]
    return shares(averaged(torch.stack(products, 1), LONG))


def harmony(notes: Tensor, onsets: Tensor) -> Tensor:
    """Intervals, motion, and how many notes sound and begin, as logarithms."""
    density = averaged(torch.stack([notes.sum(1), onsets.sum(1)], 1), LONG).log1p()
    return torch.cat([intervals(notes, onsets), motion(notes, onsets), density], 1)


def everything(notes: Tensor, onsets: Tensor) -> Tensor:
    """Harmony and pitch classes."""
    return torch.cat([harmony(notes, onsets), classes(notes, onsets, LONG)], 1)


CANDIDATES: dict[str, Pooling] = {
    "pitches": pitches,
    "classes": classes,
    "intervals": intervals,
    "motion": motion,
    "harmony": harmony,
    "everything": everything,
}
