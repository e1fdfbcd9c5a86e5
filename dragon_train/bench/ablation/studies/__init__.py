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
    """A measurement without training, which a grid runs once for each combination of settings.

    Attributes:
        run: measures one cell: takes a device and the settings as keywords, and returns a long frame.
        columns: names of the columns of that frame.
    """

    run: Callable[..., pd.DataFrame]
    columns: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the settings that a grid may give, which are the keyword arguments of `run`."""
        parameters = signature(self.run).parameters.values()
        return tuple(each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY)


def load_study(name: str) -> Study:
    """Load a study by its name, such as `batch-bias`.

    Raises:
        UnknownNameError: there is no study of this name.
    """
    known = {module.name.replace("_", "-"): module.name for module in iter_modules(__path__)}
    if name not in known:
        raise UnknownNameError("study", name, known)
    module = import_module(f"{__name__}.{known[name]}")
    return Study(module.study, module.COLUMNS)
