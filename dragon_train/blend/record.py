"""Keep what was measured of blends in blend.json, so that nothing is computed twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, structs, to_builtins

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.provenance import provenance
from dragon_rewards.storage.decoding import converted, read_json
from dragon_rewards.storage.files import write_text
from dragon_rewards.weights import fingerprint_files
from dragon_train.bench.report.folders import result_files
from dragon_train.blend.columns import REWARD, WIN_RATE
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch

    from dragon_train.blend.plan import Plan
    from dragon_train.blend.shares import Shares

RECORD, REMEDY = "blend.json", "delete it, and the same command measures again"
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]  # finite
SETTINGS = ("config", "result", "parts", "prompts", "rewards", "shares")


class Measured(Struct, frozen=True, forbid_unknown_fields=True):
    """The figures of one blend.

    Attributes:
        shares: one for each part.
        figures: what it gains and costs, by name.
    """

    shares: tuple[float, ...]
    figures: dict[str, Number]


class BlendRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of blend.json.

    Attributes:
        run: the folder of the run.
        config: the settings of the run, its seed among them.
        result: a fingerprint of what it tuned.
        parts: the number of parts of the denoiser.
        shares: the shares that all parts have together.
        prompts: a digest of the prompts.
        rewards: by the name of what judges, what its values depend on (`Reward.origin`).
        provenance: what made the figures.
        blends: every blend that was measured.
    """

    run: str
    config: dict[str, Any]
    result: str
    parts: int
    shares: tuple[float, ...]
    prompts: str
    rewards: dict[str, str]
    provenance: dict[str, Any] = {}
    blends: tuple[Measured, ...] = ()


class Results:
    """The blends that are measured, each of which is on disk before the next is made.

    Attributes:
        path: the file that they are kept in.
        record: what it holds, or will hold.
        device: where further blends are measured.
    """

    def __init__(self, path: Path, record: BlendRecord, device: torch.device) -> None:
        self.path, self.record, self.device = path, record, device

    @property
    def known(self) -> dict[Shares, dict[str, float]]:
        """The figures of every blend that was measured, by the shares of the parts."""
        return {blend.shares: blend.figures for blend in self.record.blends}

    def get(self, shares: Shares, measure: Callable[[Shares], Mapping[str, float]]) -> Mapping[str, float]:
        """Return the figures of a blend, which is measured and kept if it was not yet."""
        if shares not in self.known:
            self.keep(Measured(shares, dict(measure(shares))))
        return self.known[shares]

    def keep(self, measured: Measured) -> None:
        """Add a blend to the file; the first brings with it what all are made with."""
        made_with = self.record.provenance or self.made_with()
        self.record = structs.replace(self.record, provenance=made_with, blends=(*self.record.blends, measured))
        write_text(self.path, json.dumps(to_builtins(self.record), indent=2) + "\n")

    def made_with(self) -> dict[str, Any]:
        """Return the versions, plugins and device that blends are measured with."""
        registry = load_train_registry()
        weights = registry.pipeline(self.record.config["pipeline"]).weights
        return provenance(registry.plugins, self.device, weights)


def checked_record(out: Path, plan: Plan) -> BlendRecord:
    """Return the record of a folder, or a new one where it has none.

    Raises:
        ConfigError: the folder holds the blends of another plan, or files of something else.
        DragonError: the record cannot be read.
    """
    result = fingerprint_files("result", result_files(plan.run))
    wanted = converted({"run": str(plan.run), "result": result, **plan.settings}, BlendRecord, "the plan", "")
    if not (out / RECORD).exists():
        if any(not path.name.startswith(".") for path in (out.iterdir() if out.exists() else ())):
            raise ConfigError(f"{out} holds files that are no blend's; choose another --out")
        return wanted
    found = read_json(out / RECORD, BlendRecord, REMEDY)
    for key in SETTINGS:
        if getattr(found, key) != getattr(wanted, key):
            raise ConfigError(f"{out} holds blends with other {key}; choose another --out, or delete it")
    check_figures(found.blends, out / RECORD)
    return found


def check_figures(blends: Sequence[Measured], path: Path) -> None:
    """Refuse blends that were not measured by the same figures, or not by the reward.

    Raises:
        DragonError: the message names the file, a blend, and what it lacks.
    """
    names = {REWARD, WIN_RATE}.union(*(blend.figures for blend in blends))
    for blend in blends:
        lacking = sorted(names - blend.figures.keys())
        if lacking:
            raise DragonError(f"'{path}': the blend of shares {list(blend.shares)} has no {lacking[0]}; {REMEDY}")
