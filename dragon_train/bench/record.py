"""What benchmark.json holds: the settings that the results of a benchmark were made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.decoding import read_json
from dragon_train.bench.presets import Preset, preset_of
from dragon_train.bench.result_files import SETTINGS
from dragon_train.config import Seed  # noqa: TC001  a field's type
from dragon_train.loop.run_folder import CONFIG, Provenance
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from pathlib import Path


class BenchmarkRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a benchmark.

    Attributes:
        preset: the fields of its preset; those of today may be missing.
        seed: of training and of the held-out generations.
        rewards: what models are scored by.
        pipeline: what is tuned.
        prompts: the digest of the prompts.
        provenance: what made the results.
    """

    preset: dict[str, Any]
    seed: Seed
    rewards: tuple[str, ...]
    pipeline: str = EMBEDDED
    prompts: str = ""
    provenance: Provenance = {}

    @property
    def thoroughness(self) -> Preset:
        """The preset; raises ConfigError where its fields have no such values."""
        values = dict(self.preset)
        return preset_of(str(values.pop("name", "")), values)


def holds_results(folder: Path) -> bool:
    """Whether a folder is that of a run or a benchmark."""
    return any((folder / name).is_file() for name in (CONFIG, SETTINGS))


def check_results(folder: Path) -> None:
    """Raises ConfigError where a folder is of neither."""
    if not holds_results(folder):
        raise ConfigError(
            f"{folder} holds neither {CONFIG} nor {SETTINGS}; name a folder that `dragon train` or `dragon bench` wrote"
        )


def read_record(folder: Path) -> BenchmarkRecord:
    """The settings of the benchmark in a folder.

    Raises:
        DragonError: they are missing, or cannot be read.
    """
    record = read_json(folder / SETTINGS, BenchmarkRecord, "restore it, or run the benchmark again with another --out")
    try:
        _ = record.thoroughness
    except ConfigError as error:
        raise ConfigError(f"'{folder / SETTINGS}': {error}") from None
    return record
