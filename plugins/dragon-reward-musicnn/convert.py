"""Convert the checkpoints of the PyPI package musicnn 0.1.0 to the safetensors that this plugin ships.

    pip download --no-deps musicnn==0.1.0
    python convert.py musicnn-0.1.0-py3-none-any.whl dragon_reward_musicnn_weights

A checkpoint is a TensorBundle of TensorFlow: `.index` is a sorted table in the format of LevelDB, which maps the name
of a variable to a protocol buffer with its type, shape and place, and `.data-00000-of-00001` holds the values. The
moments of Adam are left out. TensorFlow is not needed.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FOOTER, MAGIC = 48, 0xDB4775248B80FB57  # bytes at the end of a table, and its last eight
FLOAT = 1  # DT_FLOAT of TensorFlow
VARINT, BYTES, FIXED32 = 0, 2, 5  # wire types of protocol buffers
CONVOLUTIONS = ("timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2", "middle.0", "middle.1", "middle.2")
LAYERS = ("input", *CONVOLUTIONS, "pooled", "dense")  # all end in a batch normalisation; "input", "pooled" are one
NORMS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length integer at an offset, and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if not byte & 128:
            return value, at


def entries(table: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a block of a table; a key is stored as what differs from the key before it."""
    offset, size = handle
    if table[offset + size]:
        raise ValueError("the table is compressed, and no table of musicnn is")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    at, key = 0, b""
    while at < size - 4 * (restarts + 1):
        shared, at = varint(block, at)
        own, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def handle_at(data: bytes, at: int = 0) -> tuple[tuple[int, int], int]:
    """Return offset and size of a block, and the offset behind them."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Return the values of a protocol buffer by the numbers of their fields."""
    found: dict[int, list[int | bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        value: int | bytes
        if tag & 7 == VARINT:
            value, at = varint(message, at)
        elif tag & 7 == BYTES:
            length, at = varint(message, at)
            value, at = message[at : at + length], at + length
        elif tag & 7 == FIXED32:
            value, at = message[at : at + 4], at + 4
        else:
            raise ValueError(f"wire type {tag & 7} is not one that a TensorBundle has")
        found.setdefault(tag >> 3, []).append(value)
    return found


def variables(index: bytes, data: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the float32 variables of a TensorBundle by their names."""
    footer = index[-FOOTER:]
    if struct.unpack("<Q", footer[-8:]) != (MAGIC,):
        raise ValueError("the index is no table of LevelDB's format")
    _, at = handle_at(footer)  # of a block about the table
    top, _ = handle_at(footer, at)
    found = {}
    for _, handle in entries(index, top):
        for key, value in entries(index, handle_at(handle)[0]):
            entry = fields(value)  # BundleEntryProto: 1 type, 2 shape, 4 offset, 5 size
            if key and entry.get(1) == [FLOAT]:
                found[key.decode()] = array(entry, data)
    return found


def array(entry: dict[int, list[int | bytes]], data: bytes) -> NDArray[np.float32]:
    """Return the values that an entry describes."""
    (shape,), (offset,), (size,) = entry.get(2, [b""]), entry.get(4, [0]), entry[5]
    assert isinstance(shape, bytes) and isinstance(offset, int) and isinstance(size, int)  # noqa: S101, PT018
    sides = [fields(side).get(1, [0])[0] for side in fields(shape).get(2, []) if isinstance(side, bytes)]
    return np.frombuffer(data[offset : offset + size], "<f4").reshape([int(side) for side in sides])


def numbered(name: str, number: int) -> str:
    """Return TensorFlow's name of the layer that was made as number `number` of its kind."""
    return f"{name}_{number}" if number else name


def state(found: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return the state dict of `dragon_reward_musicnn_network.Network`; layers were numbered as they were made."""
    made = {}
    for number, layer in enumerate(CONVOLUTIONS):
        kernel = found[f"{numbered('conv2d', number)}/kernel"]  # (time, bands, 1, filters)
        # The middle layers read all features of a frame, and are convolutions in time alone.
        weight = kernel[:, :, 0].transpose(2, 1, 0) if "middle" in layer else kernel.transpose(3, 2, 0, 1)
        made[f"{layer}.convolution.weight"] = weight
        made[f"{layer}.convolution.bias"] = found[f"{numbered('conv2d', number)}/bias"]
    for number, layer in enumerate(LAYERS):
        name = layer if layer in {"input", "pooled"} else f"{layer}.norm"
        for theirs, ours in NORMS.items():
            made[f"{name}.{ours}"] = found[f"{numbered('batch_normalization', number)}/{theirs}"]
    for number, layer in enumerate(("dense.linear", "tags")):
        made[f"{layer}.weight"] = found[f"{numbered('dense', number)}/kernel"].T
        made[f"{layer}.bias"] = found[f"{numbered('dense', number)}/bias"]
    return {name: np.ascontiguousarray(values) for name, values in made.items()}


def main(wheel: Path, out: Path) -> None:
    """Write mtt.safetensors and msd.safetensors."""
    with ZipFile(wheel) as archive:
        for model in ("MTT", "MSD"):
            index, data = (
                archive.read(f"musicnn/{model}_musicnn/{name}") for name in (".index", ".data-00000-of-00001")
            )
            save_file(state(variables(index, data)), out / f"{model.lower()}.safetensors")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
