"""The checks of what an encoder promises of the weights that its package does not contain."""

from __future__ import annotations

import atexit
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING
from unittest.mock import patch

from dragon_rewards.errors import WeightsError
from dragon_rewards.testing.require import require
from dragon_rewards.weights import SNAPSHOTS, VARIABLE, require_weights, weights_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dragon_rewards.protocols import EncoderInfo, Weights
    from dragon_rewards.testing.towers import TowerCase

PICKLES = {".bin", ".ckpt", ".pt", ".pth"}  # what torch.save writes, and torch.load may run
MEND = "load what dragon_rewards.find_weights finds, and say in `weights` of the EncoderInfo what it needs"


def missing_weights(case: TowerCase) -> None:
    """Check that without its weights the encoder is refused, and told which files are to be had where."""
    with TemporaryDirectory() as empty, _found_only_in(Path(empty)):
        try:
            case.info.factory()
            message = ""
        except WeightsError as refusal:
            message = str(refusal)
    sources = " or ".join(needed.source for needed in case.info.weights)
    promised = f"a WeightsError that names {sources}, its files and {VARIABLE}, where they are missing"
    told = any(_tells(message, needed) for needed in case.info.weights)
    require(told, promised, message or "an encoder without weights", MEND)


def _tells(message: str, needed: Weights) -> bool:
    names = (needed.source, *"|".join(needed.files).split("|"), *([VARIABLE] if needed.folder else ()))
    return all(name in message for name in names)


def cached_weights(case: TowerCase) -> None:
    """Check that weights in the caches of the hub and of torch are found without a network, with the same identity."""
    expected, promised = case.encoder.identity, "weights that are found in the caches of the hub and of torch, too"
    with _found_only_in(_linked(_places(case.info))):
        try:
            found = case.info.factory().identity
        except WeightsError as refusal:
            require(kept=False, promised=promised, found=str(refusal), mend=MEND)
    mend = "derive the identity from what is in the files (fingerprint_files), not from where they are"
    require(found == expected, f"{promised}, with the same identity", f"{expected!r}, then {found!r}", mend)


def weights_run_no_code(case: TowerCase) -> None:
    """Check that a file of weights that holds code is refused and runs none, where it may be a pickle of torch's."""
    with TemporaryDirectory() as temporary:
        found = _fate_of_code(case, Path(temporary))
    mend = "load safetensors, or torch.load(path, weights_only=True)"
    require(not found, "weights that are refused where they hold code", found, mend)


def _fate_of_code(case: TowerCase, temporary: Path) -> str:
    """Load weights that code stands in for, where they may be pickles; return its fate unless it was refused."""
    home, mark, loaded = temporary / "caches", temporary / "mark", False
    _link(_places(case.info), home)
    spoilt = [_spoil(_cache(needed, home), each, mark) for needed in case.info.weights for each in needed.files]
    with _found_only_in(home), suppress(Exception):  # it may be refused in any way
        if any(spoilt):
            case.tower(case.info.factory())(case.batch)
            loaded = True
    return "code that ran" if mark.exists() else "code that was let through" * loaded


@dataclass(frozen=True)
class _Attack:
    """Leaves a mark when it is unpickled."""

    mark: Path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


def _spoil(folder: Path, alternatives: str, mark: Path) -> bool:
    """Put code in place of the files of weights that match, if one may be a pickle; return whether one may."""
    import torch

    patterns = alternatives.split("|")
    present = {path for pattern in patterns for path in folder.glob(pattern)}
    named = {folder / pattern for pattern in patterns if "*" not in pattern}
    spoilt = [path for path in present | named if path.suffix in PICKLES]
    for path in present if spoilt else ():
        if path.suffix in PICKLES | {".safetensors"}:
            path.unlink()  # a link
    for path in spoilt:
        torch.save(_Attack(mark), path)
    return bool(spoilt)


@contextmanager
def _found_only_in(home: Path) -> Iterator[None]:
    """Let weights be found in the caches of the hub and of torch below `home` only, and nothing be downloaded."""
    from huggingface_hub import constants

    hub = patch.multiple(constants, HF_HUB_CACHE=str(home / "hub"), HF_HUB_OFFLINE=True)
    with hub, patch.dict(os.environ, TORCH_HOME=str(home / "torch")):
        os.environ.pop(VARIABLE, None)  # which comes back with the others
        yield


def _places(info: EncoderInfo) -> tuple[tuple[Weights, Path], ...]:
    """Return the folder of each of the encoder's weights; raises WeightsError if weights are missing."""
    require_weights(f"encoder '{info.name}'", info.weights)
    folders = ((needed, weights_folder(needed)) for needed in info.weights)
    return tuple((needed, folder) for needed, folder in folders if folder)


@cache
def _linked(places: tuple[tuple[Weights, Path], ...]) -> Path:
    """Return a folder, there until Python exits, with caches of the hub and of torch that hold links to the weights.

    Encoders of the same weights get the same folder, as they may share what they load from it.
    """
    home = Path(mkdtemp())
    atexit.register(rmtree, home, ignore_errors=True)
    _link(places, home)
    return home


def _link(places: Iterable[tuple[Weights, Path]], home: Path) -> None:
    for needed, folder in places:
        target = _cache(needed, home)
        for file in folder.rglob("*"):
            link = target / file.relative_to(folder)
            if file.is_file() and not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.resolve())


def _cache(needed: Weights, home: Path) -> Path:
    """Return the folder of weights in the hub's or torch's cache below `home`; the hub's knows it by its revision."""
    if "://" in needed.source:
        return home / "torch" / "hub" / "checkpoints"
    repository, revision = home / "hub" / f"models--{needed.source.replace('/', '--')}", needed.revision or "main"
    reference = repository / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(revision, encoding="utf-8")
    return repository / SNAPSHOTS / revision
