"""The user's own aesthetics heads: a folder for each, of `head.json` and a safetensors file that is named by its hash.

A head is written by `dragon fit-ratings` or `dragon fit-preferences`, and is the reward `aesthetics-<name>:<encoder>`
(see `reduction_of`). The record is replaced last, so that a process that is killed at any moment leaves the old head or
the new one.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.names import check_name
from dragon_rewards.plugins import PluginFailure
from dragon_rewards.storage.decoding import Count, Hash, read_json
from dragon_rewards.storage.files import write_bytes, write_text
from dragon_rewards.storage.locks import PATIENCE, locked
from dragon_rewards.storage.user_data import data_folder

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "DRAGON_HEADS"
RECORD = "head.json"
FAMILY = "aesthetics"  # the reduction that the suite dragon20 names, and what the names of others begin with
MEASURES = {"ratings": "srcc", "preferences": "accuracy"}
AGAIN = "fit the head again, or remove its folder"


@dataclass(frozen=True)
class Figure:
    """A figure of how well a head predicts what it did not see, and its two-sided 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class HeadRecord:
    """The contents of `head.json`.

    Attributes:
        name: the name of the head.
        encoder: the name of the encoder in whose space it lives.
        identity: the identity of this encoder; the head is refused with another.
        sha256: the hash of its file of tensors.
        table: the name of the table that it was fitted to.
        fitted_to: `ratings` or `preferences`.
        clips: how many clips were rated or compared.
        answers: how many ratings there are, or votes.
        held_out_by: what was held out as a whole to measure the head: `prompt`, `track`, `group` or `clip`.
        held_out: how many of these there are.
        raters: how many people answered.
        figures: how well such a head predicts what was held out, the telling figure first: `srcc` and `plcc`, the
            Spearman and the Pearson correlation with ratings; `accuracy`, the share of votes with a preference that it
            predicts, and `log_loss` in nats, of all votes.
        rater_agreement: the first figure of a rater and the mean of the others, averaged over raters; None where too
            little was judged by several.
        head_agreement: the same of the head in the rater's place.
        ridge: the strength of the regression, which cross-validation chose.
        seed: the seed of the folds.
        provenance: versions and plugins.
    """

    name: str
    encoder: str
    identity: str
    sha256: Hash
    table: str
    fitted_to: Literal["ratings", "preferences"]
    clips: Count
    answers: Count
    held_out_by: str
    held_out: Count
    raters: Count
    figures: dict[str, Figure]
    rater_agreement: float | None
    head_agreement: float | None
    ridge: float
    seed: int
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        """Refuse a record without its telling figure, and a ridge that no fit has."""
        if self.measure not in self.figures:
            raise ConfigError(f"a head of {self.fitted_to} has no figure '{self.measure}'")
        if not 0 < self.ridge < math.inf:
            raise ConfigError(f"the ridge of a head is {self.ridge:g}, and has to be above 0")

    @property
    def measure(self) -> str:
        """The name under which the telling figure stands."""
        return MEASURES[self.fitted_to]

    @property
    def reduction(self) -> str:
        """The name of the reduction that the head is registered as."""
        return reduction_of(self.name)

    @property
    def reward(self) -> str:
        """The name of the reward that the head is."""
        return f"{self.reduction}:{self.encoder}"

    @property
    def file(self) -> Path:
        """Where its tensors are: a safetensors file, which its hash names."""
        return heads_folder() / self.name / f"{self.sha256}.safetensors"


def reduction_of(name: str) -> str:
    """Return the name of the reduction that a head is: `aesthetics-<name>`, and of the head `aesthetics` its own.

    The reward `aesthetics` is a slot of the suite `dragon20`, which no head fills unless it was given this name.
    """
    return name if name == FAMILY else f"{FAMILY}-{name}"


def heads_folder() -> Path:
    """Return the folder of the user's heads: `$DRAGON_HEADS`, or by default `heads` beside the exemplar sets.

    Raises:
        ConfigError: there is no home directory to put the default folder in.
    """
    return data_folder("heads", VARIABLE)


def save_head(record: HeadRecord, content: bytes) -> None:
    """Write a head, or replace the one of its name.

    Args:
        record: what `head.json` holds.
        content: the file of tensors, whose hash is in the record.
    """
    folder = heads_folder() / check_name(record.name)
    with locked(heads_folder(), wait=PATIENCE):
        write_bytes(record.file, content)
        write_text(folder / RECORD, f"{json.dumps(asdict(record), indent=2, ensure_ascii=False)}\n")
        for old in folder.glob("*.safetensors"):
            if old != record.file:
                old.unlink(missing_ok=True)


def read_record(folder: Path) -> HeadRecord:
    """Read and check the record of the head in a folder.

    Raises:
        DragonError: it is missing or broken, or of another name than the folder.
    """
    record = read_json(folder / RECORD, HeadRecord, AGAIN)
    if record.name != folder.name:
        raise DragonError(f"'{folder}' holds the head '{record.name}'; rename the folder to that")
    check_name(record.name)
    if not record.encoder.isprintable():
        raise DragonError(f"'{folder / RECORD}' has control characters; {AGAIN}")
    return record


def found_heads() -> tuple[list[HeadRecord], list[PluginFailure]]:
    """Return the user's heads, and for each broken head, which affects no other, a failure that says why.

    Raises:
        ConfigError: there is no home directory to put the default folder in.
    """
    records: list[HeadRecord] = []
    failures: list[PluginFailure] = []
    for path in sorted(heads_folder().glob(f"*/{RECORD}")):
        try:
            records.append(read_record(path.parent))
        except Exception as error:  # noqa: BLE001  whatever is in the folder, the others are to be found
            failures.append(PluginFailure.of_folder(f"head {path.parent.name}", path.parent, error))
    return records, failures


def rated_head(reward: str) -> HeadRecord:
    """Return the record of the head that a reward is, which was fitted to ratings.

    Raises:
        ConfigError: the reward is no head of the user's, or was fitted to preferences.
    """
    heads = {record.reward: record for record in found_heads()[0]}
    rated = [name for name, record in heads.items() if record.fitted_to == "ratings"]
    if reward in rated:
        return heads[reward]
    made = "was fitted to preferences" if reward in heads else "is no reward of `dragon fit-ratings`"
    remedy = f"name one of {', '.join(rated)}" if rated else "make one of ratings first"
    raise ConfigError(f"'{reward}' {made}; {remedy}")


def broken_heads() -> list[PluginFailure]:
    """Return for each head that was left out a failure that says why."""
    try:
        return found_heads()[1]
    except ConfigError:  # the plugin that registers the heads fails with it
        return []
