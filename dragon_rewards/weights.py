"""Where a plugin's weights are: a folder of the user's, the cache of the Hugging Face hub, or the hub itself."""

from __future__ import annotations

import os
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

VARIABLE = "DRAGON_WEIGHTS"


def find_weights(name: str, repository: str, files: Sequence[str]) -> Path:
    """The folder that holds the weights of encoder `name`.

    `$DRAGON_WEIGHTS/<name>` where that folder exists; else the snapshot of `repository` in the hub's cache (`HF_HOME`),
    downloaded when it is not there yet, unless `HF_HUB_OFFLINE=1`.

    Args:
        name: the encoder, as it is registered.
        repository: `owner/name` on the Hugging Face hub.
        files: patterns of the files that are needed, `|` between alternatives, for example
            `["config.json", "model.safetensors|pytorch_model.bin"]`.

    Raises:
        WeightsError: they are in neither place and could not be downloaded; says what to put where.
    """
    own = os.environ.get(VARIABLE)
    if own and (Path(own) / name).is_dir():
        return _complete(Path(own) / name, files, name)
    return _snapshot(name, repository, files)


def fingerprint_files(name: str, files: Iterable[Path]) -> str:
    """An encoder's identity: `name` and a short hash of the contents of its files.

    Example:
        >>> from pathlib import Path
        >>> fingerprint_files("none", [])
        'none-e3b0c44298fc'
    """
    digest = sha256()
    for file in sorted(files, key=lambda file: file.name):
        with file.open("rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
    return f"{name}-{digest.hexdigest()[:12]}"


def _complete(folder: Path, files: Sequence[str], name: str) -> Path:
    missing = [patterns for patterns in files if not any(_matches(folder, patterns))]
    if missing:
        raise WeightsError(f"{folder} has no {' and no '.join(missing)}, which encoder '{name}' needs")
    return folder


def _matches(folder: Path, patterns: str) -> Iterator[Path]:
    return chain.from_iterable(folder.glob(pattern) for pattern in patterns.split("|"))


def _snapshot(name: str, repository: str, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [pattern for patterns in files for pattern in patterns.split("|")]
    try:
        folder = Path(snapshot_download(repository, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises errors of many libraries
        wanted = " ".join(f"--include '{pattern}'" for pattern in patterns)
        raise WeightsError(
            f"encoder '{name}' needs the weights '{repository}', which are not in the hub's cache and could not be "
            f"downloaded ({type(error).__name__}: {error}); with a network: hf download {repository} {wanted}; or copy "
            f"these files to a folder '{name}' and set {VARIABLE} to the folder above it"
        ) from error
    return _complete(folder, files, name)
