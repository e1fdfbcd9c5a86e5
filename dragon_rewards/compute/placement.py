"""Copies of encoders and reductions on devices, with all their tensors on the device of the clips.

A part is whatever its factory built: a module, an object that holds modules, a function over one. Its copy has every
tensor that it reaches through attributes, slots, lists, tuples, dictionaries, closures, default arguments, bound
methods and partial functions on the device. Objects that reach no such tensor (tokenizers, sessions, locks) are shared
with the original, which stays as it is, whether it is in use or not.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from copy import copy
from functools import partial, singledispatch
from types import CellType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from dragon_rewards.compute.devices import has_float64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

CONTAINERS = (dict, OrderedDict, list)  # always copied, even if empty, as they may be filled later


class Placement:
    """One device, and the copies of tensors on it; parts that share weights share the copies of their weights, too.

    A placement must not be used by several threads at once. The copies that it makes may be, as they are never moved
    again.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # id -> (original, copy); the original is kept alive so that no other object gets its id.
        self._tensors: dict[int, tuple[Tensor, Tensor]] = {}

    def copy_of(self, part: T) -> T:
        """Return a copy of the part on this device.

        On the CPU it is the part itself if all its tensors are there already. On any other device it is always a new
        object, so that whatever the part caches on first use, it caches for that device only.
        """
        moving = _reaching(part, self)
        if not moving and self.device.type == "cpu":
            return part
        copied: T = _Copy(self, moving | {id(part)}).of(part)
        return copied

    def foreign(self, value: object) -> bool:
        """Return whether a value is a tensor that has to move to this device.

        Tensors in float64 stay where they are if the device has no float64.
        """
        if not isinstance(value, Tensor) or value.device == self.device or value.is_meta:
            return False
        return value.dtype != torch.float64 or has_float64(self.device)

    def moved(self, value: Any) -> Any:
        """Return the copy on this device of a tensor that `foreign` found; all parts that hold it share the copy."""
        if id(value) not in self._tensors:
            tensor = value.detach().to(self.device)
            parameter = isinstance(value, nn.Parameter)
            twin = nn.Parameter(tensor, requires_grad=value.requires_grad) if parameter else tensor
            self._tensors[id(value)] = value, twin.requires_grad_(value.requires_grad)
        return self._tensors[id(value)][1]


class _Copy:
    """A copy of one part: objects whose identities are in `moving` are copied, and all others are shared."""

    def __init__(self, placement: Placement, moving: set[int]) -> None:
        self.placement, self.moving = placement, moving
        self.made: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """Return the copy of a value, or the value itself if it reaches no tensor that has to move."""
        if id(value) not in self.moving and type(value) not in CONTAINERS:
            return value
        if id(value) not in self.made:
            self.made[id(value)] = self._new(value)
        return self.made[id(value)]

    def _new(self, value: Any) -> Any:
        if self.placement.foreign(value):
            return self.placement.moved(value)
        if isinstance(value, tuple):
            items = map(self.of, value)
            return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
        if isinstance(value, partial):
            return partial(self.of(value.func), *map(self.of, value.args), **_each(value.keywords, self.of))
        if isinstance(value, MethodType):
            return MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, FunctionType):
            return self._function(value)
        return self._filled(value)

    def _function(self, value: FunctionType) -> FunctionType:
        closure = tuple(map(self.of, value.__closure__ or ()))
        defaults = tuple(map(self.of, value.__defaults__ or ()))
        twin = FunctionType(value.__code__, value.__globals__, value.__name__, defaults, closure)
        twin.__kwdefaults__ = _each(value.__kwdefaults__ or {}, self.of)
        twin.__dict__.update(_each(vars(value), self.of))
        return twin

    def _filled(self, value: Any) -> Any:
        """Copy a value that may contain itself: the copy is known before it is filled."""
        twin = _shell(value)
        self.made[id(value)] = twin
        if isinstance(value, CellType):
            twin.cell_contents = self.of(value.cell_contents)
        elif isinstance(value, list):
            list.__setitem__(twin, slice(None), list(map(self.of, value)))
        elif isinstance(value, dict):
            dict.update(twin, _each(value, self.of))  # not the subclass's own update, which may refuse
        else:
            for name, held in _attributes(value):
                _set(twin, name, self.of(held))
        if isinstance(twin, nn.RNNBase):
            twin.to(self.placement.device)  # it also holds its weights as one block of memory
        return twin


def _shell(value: Any) -> Any:
    """Return a copy that holds what the value holds, or an empty one.

    Modules may refuse to be copied as other objects are.
    """
    if isinstance(value, CellType):
        return CellType()
    if not isinstance(value, nn.Module):
        return copy(value)
    twin = type(value).__new__(type(value))
    twin.__dict__.update(vars(value))
    return twin


def _set(value: object, name: str, held: object) -> None:
    """Set an attribute even where the class forbids or redirects it, as frozen dataclasses and modules do."""
    own = getattr(value, "__dict__", {})
    if name in own:
        own[name] = held
    else:
        object.__setattr__(value, name, held)


def _each(mapping: dict[Any, Any], change: Any) -> dict[Any, Any]:
    return {key: change(held) for key, held in mapping.items()}


def _reaching(part: object, placement: Placement) -> set[int]:
    """Return the identities of all foreign tensors in the part, and of everything from which they can be reached."""
    seen, holders, waiting = {id(part): part}, dict[int, list[int]](), [part]
    reaching: set[int] = set()
    found: list[int] = []
    while waiting:
        value = waiting.pop()
        if placement.foreign(value):
            found.append(id(value))
            continue
        for held in _held(value):
            holders.setdefault(id(held), []).append(id(value))
            if id(held) not in seen:
                seen[id(held)] = held
                waiting.append(held)
    while found:
        identity = found.pop()
        if identity not in reaching:
            reaching.add(identity)
            found += holders.get(identity, [])
    return reaching


@singledispatch
def _held(value: Any) -> Iterable[Any]:
    """Return what a value holds directly; nothing for a value that cannot be part of an encoder."""
    return [held for _, held in _attributes(value)]


@_held.register(dict)
def _(value: dict[Any, Any]) -> Iterable[Any]:
    return value.values()


@_held.register(list)
@_held.register(tuple)
def _(value: Iterable[Any]) -> Iterable[Any]:
    return value


@_held.register(partial)
def _(value: partial[Any]) -> Iterable[Any]:
    return (value.func, *value.args, *value.keywords.values())


@_held.register(MethodType)
def _(value: MethodType) -> Iterable[Any]:
    return value.__func__, value.__self__


@_held.register(FunctionType)
def _(value: FunctionType) -> Iterable[Any]:
    defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    return (*(value.__closure__ or ()), *defaults, *vars(value).values())


@_held.register(CellType)
def _(value: CellType) -> Iterable[Any]:
    try:
        return (value.cell_contents,)
    except ValueError:  # a variable that has no value yet
        return ()


def _attributes(value: object) -> Iterator[tuple[str, Any]]:
    """Yield the names and values in an object's dictionary and slots; standard-library objects hold no weights."""
    kind = type(value)
    if isinstance(value, (type, ModuleType, Tensor)):
        return
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names and kind is not SimpleNamespace:
        return
    yield from list(getattr(value, "__dict__", {}).items())
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                yield name, getattr(value, name)
