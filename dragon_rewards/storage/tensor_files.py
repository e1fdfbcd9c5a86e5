"""Files of tensors: safetensors with a checksum, which is verified before anything in the file is used.

The checksum covers the metadata, the tensors' names, types and shapes, and their bytes, so that a flipped bit anywhere
is detected. Files that were written before there was a checksum are read without one. Headers are read without the
safetensors library, which imports numpy and torch.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import decode_json, read_bytes
from dragon_rewards.storage.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from torch import Tensor

CHECKSUM = "checksum"
METADATA = "__metadata__"
LONGEST_HEADER = 2**24  # bytes; 1,000 facets need less than 1 MB, and a broken file may claim any length
LARGEST = 2**32  # bytes; statistics of 2,048 dimensions take 34 MB
WORD = 8  # bytes of the number that gives the length of the header


def pack_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file of tensors, from any device, and metadata, with a checksum."""
    from safetensors.torch import save

    plain = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    content = _with_metadata(plain, metadata)
    return _with_metadata(plain, {**metadata, CHECKSUM: _digest(content, _header(content, "", "", LONGEST_HEADER))})


def _with_metadata(content: bytes, metadata: Mapping[str, str]) -> bytes:
    """Return the file with this metadata, in an order that is always the same, unlike the library's order."""
    header = _header(content, "", "", LONGEST_HEADER)
    entries = {name: json.loads(bytes(entry)) for name, entry in header.items()}
    text = json.dumps({METADATA: dict(sorted(metadata.items())), **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % WORD)
    return b"".join([len(text).to_bytes(WORD, "little"), text, content[_data(content) :]])


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to a safetensors file with a checksum, which appears whole or not at all."""
    write_bytes(path, pack_tensors(tensors, metadata))


def read_tensors(path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors, on the CPU, and the metadata of a file that `write_tensors` or the library wrote.

    Args:
        path: the file.
        remedy: what to do if it cannot be read, as the end of a sentence.

    Raises:
        DragonError: the file is missing, no safetensors file, damaged, or holds NaN or infinite values.
    """
    return unpack_tensors(read_bytes(path, remedy, LARGEST), f"'{path}'", remedy)


def unpack_tensors(
    content: bytes, where: str, remedy: str, *, longest: int = LONGEST_HEADER, finite: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors, on the CPU, and the metadata of a safetensors file that is in memory.

    Args:
        content: the bytes of the file.
        where: what they are, for error messages.
        remedy: what to do if they cannot be read, as the end of a sentence.
        longest: the most bytes of a header; a longer header is not parsed.
        finite: whether NaN and infinite values are refused.

    Raises:
        DragonError: the bytes are no safetensors file, are damaged, or hold NaN or infinite values.
    """
    from safetensors.torch import load

    metadata = unpack_metadata(content, where, remedy, longest=longest)
    try:
        tensors = {name: tensor.clone() for name, tensor in load(content).items()}  # aligned, so that sums round alike
        wrong = [name for name, tensor in tensors.items() if finite and not tensor.isfinite().all()]
    except Exception as error:  # the library's errors, and Python's and torch's for unknown types and shapes
        raise DragonError(f"{where} cannot be read ({type(error).__name__}: {error}); {remedy}") from error
    if wrong:
        raise DragonError(f"{where} holds NaN or infinite values in {', '.join(wrong)}; {remedy}")
    return tensors, metadata


def check_tensors(
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, tuple[str, ...]],
    where: str,
    remedy: str,
    *,
    optional: Collection[str] = (),
) -> None:
    """Refuse tensors that are missing or have other types or shapes than are wanted.

    Args:
        tensors: name -> tensor; tensors that are not wanted are ignored.
        wanted: name -> `float` or `int`, followed by one entry for each axis. An entry is the length of the axis as
            digits, or a name that stands for the same length wherever it occurs.
        where: what holds the tensors, for error messages.
        remedy: what to do about it, as the end of a sentence.
        optional: names that may be missing.

    Raises:
        DragonError: a tensor is missing, or has another type or shape; the message names the first.
    """
    sizes: dict[str, int] = {}
    for name, (kind, *axes) in wanted.items():
        tensor = tensors.get(name)
        if tensor is None and name in optional:
            continue
        fits = tensor is not None and tensor.ndim == len(axes) and tensor.is_floating_point() == (kind == "float")
        shape = zip(axes, () if tensor is None else tensor.shape, strict=False)
        if not fits or any(
            size != sizes.setdefault(axis, int(axis) if axis.isdigit() else size) for axis, size in shape
        ):
            found = "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"
            raise DragonError(f"{where} has {found} as '{name}' instead of {kind} ({', '.join(axes)}); {remedy}")


def read_metadata(path: Path, remedy: str) -> dict[str, str]:
    """Read the metadata of a file and verify its checksum; raises as `read_tensors`."""
    return unpack_metadata(read_bytes(path, remedy, LARGEST), f"'{path}'", remedy)


def unpack_metadata(content: bytes, where: str, remedy: str, *, longest: int = LONGEST_HEADER) -> dict[str, str]:
    """Return the metadata of a file in memory, without the checksum, which is verified if there is one.

    Args:
        content: the bytes of the file.
        where: what they are, for error messages.
        remedy: what to do if they cannot be read, as the end of a sentence.
        longest: the most bytes of a header; a longer header is not parsed.

    Raises:
        DragonError: the bytes are no safetensors file, or are damaged.
    """
    header = _header(content, where, remedy, longest)
    metadata = _metadata(header, where, remedy)
    recorded = metadata.pop(CHECKSUM, None)
    if recorded is not None and recorded != _digest(content, header):
        raise DragonError(f"{where} is damaged: its content is not what was written; {remedy}")
    return metadata


def peek_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a file from its header alone and verify nothing, which is enough to list files.

    Raises:
        OSError: the file cannot be read.
        DragonError: the file does not begin with the header of a safetensors file.
    """
    with path.open("rb") as file:
        start = file.read(WORD)
        length = int.from_bytes(start, "little")
        content = start + file.read(min(length, LONGEST_HEADER))
    return _metadata(_header(content, f"'{path}'", "remove it", LONGEST_HEADER), f"'{path}'", "remove it")


def _header(content: bytes, where: str, remedy: str, longest: int) -> dict[str, msgspec.Raw]:
    length = int.from_bytes(content[:WORD], "little")
    if length > longest or WORD + length > len(content):
        raise DragonError(f"{where} is cut off, or no safetensors with a header of at most {longest} bytes; {remedy}")
    return decode_json(content[WORD : WORD + length], dict[str, msgspec.Raw], where, remedy)


def _metadata(header: Mapping[str, msgspec.Raw], where: str, remedy: str) -> dict[str, str]:
    return decode_json(bytes(header.get(METADATA, b"{}")), dict[str, str], where, remedy)


def _digest(content: bytes, header: Mapping[str, msgspec.Raw]) -> str:
    """Return the SHA-256 of all that a file says, except for the checksum itself."""
    metadata = _metadata(header, "the file", "")
    metadata.pop(CHECKSUM, None)
    entries = {name: bytes(entry).decode("latin-1") for name, entry in header.items() if name != METADATA}
    digest = sha256(json.dumps([metadata, entries], sort_keys=True).encode())
    digest.update(memoryview(content)[_data(content) :])
    return digest.hexdigest()


def _data(content: bytes) -> int:
    """Return the position of the first byte of the tensors."""
    return WORD + int.from_bytes(content[:WORD], "little")
