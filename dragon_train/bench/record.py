"""Read benchmark.json, which holds the settings that the results of a benchmark were made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.decoding import read_json
from dragon_train.bench.presets import Preset, preset_of
from dragon_train.bench.result_files import SETTINGS
from dragon_train.bench.seeds import held_seeds, seed_folder
from dragon_train.config import Seed  # noqa: TC001  a field's type
from dragon_train.loop.run_folder import CONFIG, Provenance
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from pathlib import Path


class BenchmarkRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a benchmark, as benchmark.json holds them.

    Attributes:
        preset: the fields of its preset; a field that was added since may be missing.
        seed: of training and of the held-out generations.
        rewards: names of the rewards that score the models.
        pipeline: what is tuned.
        prompts: the digest of the prompts.
        role: of the prompts that models are compared on.
        provenance: what made the results.
    """

    preset: dict[str, Any]
    seed: Seed
    rewards: tuple[str, ...]
    pipeline: str = EMBEDDED
    prompts: str = ""
    role: Literal["exam", "watch"] = "exam"
    provenance: Provenance = {}

    @property
    def thoroughness(self) -> Preset:
        """The preset; reading it raises ConfigError where a field has a value that a preset does not allow."""
        values = dict(self.preset)
        return preset_of(str(values.pop("name", "")), values)


def holds_results(folder: Path) -> bool:
    """Tell whether a folder holds a tuning run or a benchmark."""
    return any((folder / name).is_file() for name in (CONFIG, SETTINGS))


def check_results(folder: Path) -> None:
    """Refuse a folder that holds neither a tuning run nor a benchmark.

    Raises:
        ConfigError: it holds neither; where it holds benchmarks of several seeds, the remedy is to name one of them.
    """
    if not holds_results(folder):
        seeds = held_seeds(folder)
        wanted = f"'{seed_folder(folder, seeds[0])}'" if seeds else "that `dragon train` or `dragon bench` wrote"
        raise ConfigError(f"{folder} holds neither {CONFIG} nor {SETTINGS}; name a folder {wanted}")


def read_record(folder: Path) -> BenchmarkRecord:
    """Read the settings of the benchmark in a folder.

    Raises:
        DragonError: they are missing, or cannot be read.
    """
    record = read_json(folder / SETTINGS, BenchmarkRecord, "restore it, or run the benchmark again with another --out")
    try:
        _ = record.thoroughness
    except ConfigError as error:
        raise ConfigError(f"'{folder / SETTINGS}': {error}") from None
    return record
