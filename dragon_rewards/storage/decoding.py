"""The one way to read structured text back: JSON and TOML into typed values, or a refusal that names file and place.

Types are dataclasses and msgspec's structs; bounds are `Annotated[int, Meta(ge=1)]`. Whatever is in a file, the answer
is a value of the type or a `DragonError`: too large, too deeply nested, not UTF-8, a missing field, another
type, a number out of range, a field that a dataclass does not have.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]  # SHA-256

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
    return _decoded(lambda wire: msgspec.json.decode(content, type=wire, strict=strict), kind, where, remedy)


def decode_names(content: bytes | str, kind: type[T], where: str, remedy: str) -> T:
    """`decode_json` of content that names files: names that are no UTF-8 hold lone surrogates, which Python writes."""
    return _decoded(
        lambda wire: msgspec.convert(json.loads(content, parse_constant=_no_number), wire), kind, where, remedy
    )


def read_toml(path: Path, kind: type[T], remedy: str) -> T:
    """Read a TOML file as a value of the type `kind`; raises as `read_json`."""
    return decode_toml(read_bytes(path, remedy), kind, f"'{path}'", remedy)


def decode_toml(content: bytes | str, kind: type[T], where: str, remedy: str) -> T:
    """`read_toml` of content that is in memory; `where` names it in refusals."""
    return _decoded(lambda wire: msgspec.toml.decode(content, type=wire), kind, where, remedy)


def converted(value: Any, kind: type[T], where: str, remedy: str) -> T:
    """A value of builtin types as one of the type `kind`; raises as `read_json`."""
    return _decoded(lambda wire: msgspec.convert(value, wire), kind, where, remedy)


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


def _decoded(decode: Callable[[Any], Any], kind: type[T], where: str, remedy: str) -> T:
    typed: Any = kind  # of types as such mypy does not know that they can be hashed
    try:
        found: T = decode(kind)
        if _has_dataclass(typed):
            _refuse_unknown(decode(Any), kind)
    except (ValueError, RecursionError, OverflowError, TypeError) as error:  # msgspec's and tomllib's are ValueErrors
        raise DragonError(f"{where} cannot be read ({error}); {remedy}") from error
    return found


@cache
def _has_dataclass(kind: Any) -> bool:
    return is_dataclass(kind) or any(map(_has_dataclass, get_args(kind)[:2]))


def _refuse_unknown(value: Any, kind: Any) -> None:
    """Raises ValueError where a dataclass has no such field: one that is misspelt would be its default in silence."""
    parts, hints = get_args(kind), _hints(kind)
    if get_origin(kind) is Annotated:
        _refuse_unknown(value, parts[0])
    elif hints and isinstance(value, dict):
        unknown = sorted(map(str, value.keys() - hints.keys()))
        if unknown:
            raise ValueError(f"unknown key '{unknown[0]}'; keys: {', '.join(hints)}")
        for key, inner in value.items():
            _refuse_unknown(inner, hints[key])
    elif isinstance(value, dict | list) and parts:
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_unknown(inner, parts[-1] if isinstance(value, dict) else parts[0])


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True) if is_dataclass(kind) else {}


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
