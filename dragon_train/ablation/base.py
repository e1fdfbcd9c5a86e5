"""What an ablation asks of its work, whatever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from dragon_train.ablation.grid import Point
    from dragon_train.launchers import Task


class AnyPlan(Protocol):
    """The cells of tuning runs or of a study."""

    @property
    def left_out(self) -> Sequence[tuple[Point, str]]:
        """Combinations that do not compose, and why."""

    @property
    def total(self) -> int:
        """Units of work."""

    def done(self) -> int:
        """Those that are done."""

    def tasks(self) -> list[Task]:
        """What is to be computed."""

    def listing(self) -> list[dict[str, Any]]:
        """A row for each cell."""

    def frame(self, name: str) -> pd.DataFrame:
        """A long frame of the finished cells."""
