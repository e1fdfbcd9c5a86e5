"""Check the fields of settings by their annotations, and say in words what a field may be.

`steps: Annotated[int, Meta(ge=1, description="The number of on-policy steps.")] = 10` is the one place that knows the
type, the bounds, the default and the meaning of a setting; refusals and the command line read them from there.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
from msgspec import inspect

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NOUNS = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.StrType: "a text",
    inspect.VarTupleType: "a list of names",
    inspect.DictType: "a table",
    inspect.ListType: "a list of tables",
}


@cache
def field_kinds(settings: type[Any]) -> dict[str, Any]:
    """Return the annotation of each field of a dataclass, by the field's name."""
    return get_type_hints(settings, include_extras=True)


def described(kind: Any) -> tuple[inspect.Type, str]:
    """Return the type of a field, with its bounds, and the description of what it means."""
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.Metadata):
        return info, ""
    return info.type, (info.extra_json_schema or {}).get("description", "")


def check_fields(settings: Any, prefix: str = "") -> None:
    """Refuse a dataclass that holds a value which the annotation of its field does not allow.

    Raises:
        ConfigError: the message names the key (after `prefix`), the value and what it must be.
    """
    kind_of: type = type(settings)
    for key, kind in field_kinds(kind_of).items():
        check_value(f"{prefix}{key}", getattr(settings, key), kind)


def check_value(key: str, value: object, kind: Any) -> None:
    """Refuse a value that an annotation does not allow.

    Raises:
        ConfigError: the message names the key, the value and what it must be.
    """
    try:
        msgspec.convert(value, kind)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ConfigError(f"{key} = {value!r:.80}: must be {allowed(described(kind)[0])}") from None


def allowed(info: inspect.Type) -> str:
    """Say in words what a field may be.

    >>> from typing import Annotated, Literal
    >>> allowed(described(Annotated[int, msgspec.Meta(ge=1, le=9)])[0])
    'a whole number of at least 1 and at most 9'
    >>> allowed(described(Literal["lora", "all"])[0])
    'all or lora'
    """
    if isinstance(info, inspect.LiteralType):
        return " or ".join(map(str, info.values))
    noun = NOUNS.get(type(info), type(info).__name__)
    if isinstance(info, inspect.DictType) and isinstance(info.value_type, inspect.UnionType):
        return f"a table, each value {' or '.join(map(allowed, info.value_type.types))}"
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = [f"{word} {bound:,}" for sign, word in words.items() if (bound := getattr(info, sign, None)) is not None]
    return f"{noun} of {' and '.join(bounds)}" if bounds else noun


def check_keys(values: Iterable[str], known: Sequence[str], source: str) -> None:
    """Refuse a key that nothing reads.

    Raises:
        ConfigError: the message names the nearest known key, and all of them.
    """
    for key in values:
        if key not in known:
            nearest = get_close_matches(key, known, n=1) or known
            raise ConfigError(f"{source}: unknown key '{key}'; did you mean {nearest[0]}? Keys: {', '.join(known)}")


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the lists among the values of JSON or TOML by tuples, which frozen settings hold."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
