"""The verb `dragon exemplars judge`: which encoders hear what sets a set of audio apart from another."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import DragonError, WeightsError
from dragon_rewards.exemplars.store import find_set
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.terminal.progress import progress
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders, own_sets
from dragon_train.cli.device import chosen_device
from dragon_train.cli.options import Device, Json, SetName, Wide, seed_option
from dragon_train.cli.printing import print_rows
from dragon_train.embedded.real_music import OF_SETS, real_tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.evaluation.tracks import Track
    from dragon_rewards.protocols import EncoderInfo

AGAINST, INSTEAD = "tunebook", "airs"  # the set to compare with by default, and where it is the one that is judged
PER_SONG = "per-song-fad"  # by which tracks are ranked
MAIN = ("encoder", "hears", "auc", "between", "within", "noise", "low_pass", "pitch_shift")


def judge(
    name: SetName,
    against: Annotated[
        str | None,
        typer.Option(help=f"Set to tell it from; default {AGAINST}, which ships.", autocompletion=own_sets),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option("--encoder", help="Judge it; repeatable; default: all of audio.", autocompletion=encoders),
    ] = None,
    seed: Annotated[int, seed_option("Of the tracks and halves that are drawn, and of noise.")] = 0,
    device: Device = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Judge which encoders hear what sets a set apart from another set, and damage to its tracks."""
    other = against or (INSTEAD if name == AGAINST else AGAINST)
    if other == name:
        raise DragonError(f"'{name}' cannot be told from itself; name another set with --against")
    judged = _judged_encoders(encoder)
    where = chosen_device(device)
    from dragon_rewards.evaluation.hearing import PASSES, Ear, hear, sentence

    own, foreign = _tracks(name, seed), _tracks(other, seed)
    _say_what_is_compared(name, other)
    steps = len(judged) * PASSES * (min(len(own), len(foreign)) // 2 * 2)
    with progress("judging encoders", "tracks", steps) as bar:
        found = [hear(Ear(each, load_registry(), where, seed, bar.advance), own, foreign) for each in judged]
    rows = [{"encoder": each.encoder, "hears": str(each.verdict), **asdict(each)} for each in found]
    print_rows(rows, as_json=as_json, wide=wide, main=MAIN)
    print(sentence(found, name, other), file=sys.stderr if as_json else sys.stdout)


def _judged_encoders(names: Sequence[str] | None) -> list[str]:
    """Return the encoders to judge: those that are named, else all of audio whose weights are here.

    Raises:
        UnknownNameError: no encoder is registered under a name.
        WeightsError: an encoder that is named has no weights here.
        DragonError: an encoder that is named takes no audio, or its frames have no distance.
    """
    registry = load_registry()
    for each in map(registry.encoder, names or ()):
        if not hears(each):
            raise DragonError(
                f"encoder '{each.name}' takes no audio, or serves no {PER_SONG}; name others with --encoder"
            )
        require_weights(f"encoder '{each.name}'", each.weights)
    return list(dict.fromkeys(names)) if names else [each for each in registry.encoders if _works(each)]


def hears(encoder: EncoderInfo) -> bool:
    """Return whether an encoder takes audio, and tracks can be ranked by the distance of its frames."""
    return Modality.AUDIO in encoder.modalities and (not encoder.reductions or PER_SONG in encoder.reductions)


def _works(name: str) -> bool:
    """Return whether an encoder can be judged and has its weights here; say on stderr if only they are missing."""
    info = load_registry().encoder(name)
    if not hears(info):
        return False
    try:
        require_weights(f"encoder '{name}'", info.weights)
    except WeightsError:
        print(f"encoder '{name}' is left out, as its weights are not here (see dragon doctor)", file=sys.stderr)
        return False
    return True


def _tracks(name: str, seed: int) -> list[Track]:
    """Return the tracks of a set of the user's, or the real clips of a shipped one.

    Raises:
        DragonError: there is no such set, it stores no audio, or it has too few tracks.
    """
    from dragon_rewards.evaluation.tracks import tracks_of

    own = find_set(name)
    if own is None and name in OF_SETS:
        return real_tracks(name)
    return tracks_of(own or load_registry().exemplar_set(name), seed)


def _say_what_is_compared(*names: str) -> None:
    """Say on stderr what stands for shipped sets, and that recordings differ from them by more than their music."""
    shipped = [name for name in names if find_set(name) is None]
    if shipped:
        print(
            f"{' and '.join(shipped)}: 48 clips of 5 s that ship, traditional music rendered at 16 kHz",
            file=sys.stderr,
        )
    if len(shipped) == 1:
        print(
            "recordings differ from them by their sound, too: --against a set of recordings says more", file=sys.stderr
        )
