"""Reading of JSON and TOML into typed values, or an error that names the file and the place in it.

Types are dataclasses and msgspec's structs; bounds are written as `Annotated[int, Meta(ge=1)]`. Whatever is in a file,
the outcome is a value of the type or a `DragonError`. An error is raised for a file that is too large, too deeply
nested or not UTF-8, for a missing field, a value of another type or out of range, and for a field that a dataclass does
not have.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from dragon_rewards.errors import ConfigError, DragonError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]  # SHA-256

LARGEST = 2**26  # the most bytes of a text file: a record of 100,000 clips has a tenth of that


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
    """Decode JSON that is in memory as a value of the type `kind`.

    Args:
        content: the JSON.
        kind: a dataclass, a struct, or any other type that msgspec knows.
        where: what the content is, for error messages.
        remedy: what to do if it cannot be read, as the end of a sentence.
        strict: whether a text such as "1" is refused where a number is meant.

    Raises:
        DragonError: the content is not JSON, or holds no such value.
    """
    return _decoded(lambda wire: msgspec.json.decode(content, type=wire, strict=strict), kind, where, remedy)


def decode_names(content: bytes | str, kind: type[T], where: str, remedy: str) -> T:
    """Decode JSON whose texts may name files; arguments and errors are as in `decode_json`.

    Python represents bytes of a file name that are not UTF-8 as lone surrogates, which `decode_json` refuses.
    """
    return _decoded(
        lambda wire: msgspec.convert(json.loads(content, parse_constant=_no_number), wire), kind, where, remedy
    )


def read_toml(path: Path, kind: type[T], remedy: str) -> T:
    """Read a TOML file as a value of the type `kind`.

    Args:
        path: the file.
        kind: a dataclass, a struct, or any other type that msgspec knows.
        remedy: what to do if it cannot be read, as the end of a sentence.

    Raises:
        DragonError: the file is missing, too large, not TOML, or holds no such value.
    """
    return decode_toml(read_bytes(path, remedy), kind, f"'{path}'", remedy)


def decode_toml(content: bytes | str, kind: type[T], where: str, remedy: str) -> T:
    """Decode TOML that is in memory as a value of the type `kind`; `where` says in error messages what it is.

    Raises:
        DragonError: the content is not TOML, or holds no such value.
    """
    return _decoded(lambda wire: msgspec.toml.decode(content, type=wire), kind, where, remedy)


def converted(value: Any, kind: type[T], where: str, remedy: str) -> T:
    """Convert a value of built-in types to the type `kind`; `where` says in error messages what it is.

    Raises:
        DragonError: the value does not fit the type.
    """
    return _decoded(lambda wire: msgspec.convert(value, wire), kind, where, remedy)


def read_bytes(path: Path, remedy: str, largest: int = LARGEST) -> bytes:
    """Read a whole file that is no larger than `largest` bytes.

    Raises:
        DragonError: the file is missing, cannot be read, or is larger.
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
    typed: Any = kind  # mypy does not know that types can be hashed
    try:
        found: T = decode(kind)
        if _has_dataclass(typed):
            _refuse_unknown(decode(Any), kind)
    except (ValueError, RecursionError, OverflowError, TypeError) as error:  # msgspec's and tomllib's are ValueErrors
        raise DragonError(f"{where} cannot be read ({error}); {remedy}") from error
    except DragonError as error:  # of the type itself: its values do not go together
        raise ConfigError(f"{where} cannot be used ({error}); {remedy}") from error
    return found


@cache
def _has_dataclass(kind: Any) -> bool:
    return is_dataclass(kind) or any(map(_has_dataclass, get_args(kind)[:2]))


def _refuse_unknown(value: Any, kind: Any) -> None:
    """Raise ValueError for a key that is no field of a dataclass; otherwise a misspelt key would pass unnoticed."""
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
