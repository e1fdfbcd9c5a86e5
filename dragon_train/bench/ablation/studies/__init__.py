"""Studies: measurements without training, one cell for each combination of their arguments.

A study is a module with a function `study`, which takes a device and, as keyword arguments, the keys of its grids, and
the COLUMNS of the frame that it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from dragon_rewards.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


@dataclass(frozen=True)
class Study:
    """A study.

    Attributes:
        run: a device and settings -> a long frame.
        columns: of the frame.
    """

    run: Callable[..., pd.DataFrame]
    columns: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of its settings."""
        parameters = signature(self.run).parameters.values()
        return tuple(each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY)


def load_study(name: str) -> Study:
    """The study of this name.

    Raises:
        UnknownNameError: there is none.
    """
    known = {module.name.replace("_", "-"): module.name for module in iter_modules(__path__)}
    if name not in known:
        raise UnknownNameError("study", name, known)
    module = import_module(f"{__name__}.{known[name]}")
    return Study(module.study, module.COLUMNS)
