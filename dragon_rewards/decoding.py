"""The one way to read structured text back: JSON and TOML into typed values, or a refusal that names file and place.

Types are dataclasses and msgspec's structs; bounds are `Annotated[int, Meta(ge=1)]`. Whatever is in a file, the answer
is a value of the type or a `DragonError`: too large, too deeply nested, not UTF-8, a missing field, another
type, a number out of range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

LARGEST = 2**26  # bytes of a text file that is read back: a record of 100,000 clips has a tenth of it


def read_json(path: Path, kind: type[T], remedy: str, *, largest: int = LARGEST, strict: bool = True) -> T:
    """Read a JSON file as a value of the type `kind`.

    Args:
        path: the file.
        kind: a dataclass, a struct, or any other type that msgspec knows.
        remedy: what to do where it cannot be read, as the end of a sentence.
        largest: bytes above which the file is refused unread.
        strict: whether a text such as "1" is refused where a number is meant.

    Raises:
        DragonError: the file is missing, too large, not JSON, or holds no such value.
    """
    return decode_json(read_bytes(path, remedy, largest), kind, f"'{path}'", remedy, strict=strict)


def decode_json(content: bytes | str, kind: type[T], where: str, remedy: str, *, strict: bool = True) -> T:
    """`read_json` of content that is in memory; `where` names it in refusals."""
    return _decoded(lambda: msgspec.json.decode(content, type=kind, strict=strict), where, remedy)


def read_toml(path: Path, kind: type[T], remedy: str) -> T:
    """Read a TOML file as a value of the type `kind`; raises as `read_json`."""
    return decode_toml(read_bytes(path, remedy), kind, f"'{path}'", remedy)


def decode_toml(content: bytes | str, kind: type[T], where: str, remedy: str) -> T:
    """`read_toml` of content that is in memory; `where` names it in refusals."""
    return _decoded(lambda: msgspec.toml.decode(content, type=kind), where, remedy)


def converted(value: Any, kind: type[T], where: str, remedy: str) -> T:
    """A value of builtin types as one of the type `kind`; raises as `read_json`."""
    return _decoded(lambda: msgspec.convert(value, kind), where, remedy)


def read_bytes(path: Path, remedy: str, largest: int = LARGEST) -> bytes:
    """Read a whole file that is no larger than `largest` bytes.

    Raises:
        DragonError: it is missing, cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except OSError as error:
        raise DragonError(f"'{path}' cannot be read ({error.strerror or error}); {remedy}") from error
    if len(content) > largest:
        raise DragonError(f"'{path}' is larger than {largest:,} bytes, and no file of its kind is; {remedy}")
    return content


def _decoded(decode: Callable[[], T], where: str, remedy: str) -> T:
    try:
        return decode()
    except (ValueError, RecursionError, OverflowError, TypeError) as error:  # msgspec's and tomllib's are ValueErrors
        raise DragonError(f"{where} cannot be read ({error}); {remedy}") from error
