"""Finding the weights of encoders: in a folder of the user's, in the Hugging Face hub's cache, or on the hub itself."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError, WeightsError
from dragon_rewards.storage.decoding import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dragon_rewards.protocols import Weights

VARIABLE = "DRAGON_WEIGHTS"
INDEX = "model_index.json"  # the index of a pipeline saved by diffusers; it names the folders of its parts
SNAPSHOTS = "snapshots"  # the folder of a repository in the hub's cache, whose folders are named by commits
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")


def find_weights(name: str, repository: str, files: Sequence[str]) -> Path:
    """Return the folder that holds the weights of encoder `name`, and download them if they are not on this machine.

    The folder is `$DRAGON_WEIGHTS/<name>` if that exists. Otherwise it is the snapshot of `repository` in the hub's
    cache (`HF_HOME`), which is downloaded if it is not there yet, unless `HF_HUB_OFFLINE=1`.

    Args:
        name: the encoder, as it is registered.
        repository: `owner/name` on the Hugging Face hub.
        files: one entry for each file that is needed: a pattern, or several alternatives separated by `|`, for example
            `["config.json", "model.safetensors|pytorch_model.bin"]`.

    Raises:
        WeightsError: a file is missing in the folder, or the weights are in neither place and could not be downloaded;
            the message says what to put where.
    """
    own = os.environ.get(VARIABLE)
    if own and (Path(own) / name).is_dir():
        return _complete(Path(own) / name, files, name)
    return _snapshot(name, repository, files)


def require_weights(part: str, weights: Iterable[Weights]) -> None:
    """Refuse a part, such as "encoder 'mert'", whose weights are not on this machine; nothing is downloaded.

    Raises:
        WeightsError: weights are missing; the message says which, and how to get them.
    """
    for needed in weights:
        folder = weights_folder(needed)
        lacking = lacking_files(folder, needed.files) if folder else ["files"]
        if lacking:
            where = f" (in {folder}: no {', '.join(lacking)})" if folder else ""
            first = f"accept its licence at https://huggingface.co/{needed.source}, then " if needed.gated else ""
            own = f", or copy them to a folder '{needed.folder}' and set {VARIABLE} to the folder above it"
            raise WeightsError(
                f"{part} needs the weights {needed.source}, which are not on this machine{where}; {first}run "
                f"`{download_command(needed)}` where there is a network{own if needed.folder else ''}; `dragon doctor` "
                "lists all"
            )


def weights_folder(weights: Weights) -> Path | None:
    """Return the folder in which these weights are searched, complete or not; None if no such folder exists yet."""
    own = os.environ.get(VARIABLE)
    if own and weights.folder and (Path(own) / weights.folder).is_dir():
        return Path(own) / weights.folder
    folder = _torch_hub() if "://" in weights.source else _cached_snapshot(weights.source, weights.revision)
    return folder if folder and folder.is_dir() else None


def lacking_files(folder: Path, files: Iterable[str]) -> list[str]:
    """Return the patterns that no file in the folder matches.

    If all patterns match and `model_index.json` is one of them, return the incomplete parts of that diffusers pipeline.
    """
    lacking = [patterns for patterns in files if not any(_matches(folder, patterns))]
    return lacking or (_lacking_parts(folder) if INDEX in files else [])


def download_command(weights: Weights) -> str:
    """Return the shell command that brings these weights to a machine with a network, in the form that is loaded."""
    if weights.convert:
        return weights.convert
    if "://" in weights.source:
        return f"curl -L --create-dirs -o {_torch_hub() / weights.files[0]} {weights.source}"
    patterns = [pattern for patterns in weights.files for pattern in patterns.split("|")]
    wanted = "" if INDEX in patterns else "".join(f" --include '{pattern}'" for pattern in patterns)
    pinned = f" --revision {weights.revision}" if weights.revision else ""
    return f"hf download {weights.source}{pinned}{wanted}"


def commits(weights: Iterable[Weights]) -> dict[str, str]:
    """Return the commit of each repository on the hub whose snapshot is used here, by the repository's name."""
    folders = {needed.source: weights_folder(needed) for needed in weights}
    return {source: folder.name for source, folder in folders.items() if folder and folder.parent.name == SNAPSHOTS}


def shards(part: Path) -> set[str]:
    """Return the names of the weight files that the indices in a folder list; each is a plain file in that folder.

    Raises:
        WeightsError: an index cannot be read, or lists anything else, as an index from a stranger may.
    """
    named: set[str] = set()
    for path in sorted(part.glob("*.safetensors.index.json")):
        listing = read_json(path, dict[str, Any], "get the file again")
        found = listing.get("weight_map")
        if not isinstance(found, dict) or not all(
            isinstance(name, str) and SHARD.fullmatch(name) for name in found.values()
        ):
            raise WeightsError(f"'{path}' names weights that are no safetensors beside it; get the file again")
        named |= set(found.values())
    return named


def fingerprint_files(name: str, files: Iterable[Path]) -> str:
    """Return an encoder's identity: `name` and a short hash of the contents of its files.

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
    missing = lacking_files(folder, files)
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


def _cached_snapshot(repository: str, revision: str | None) -> Path | None:
    """Return the snapshot of a revision, or the newest one, in the hub's cache; None if there is none."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # the snapshot is not there, or the name is no name on the hub
        return None


def _torch_hub() -> Path:
    """Return the folder where torch.hub keeps its downloads, without importing torch."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TORCH_HOME") or caches / "torch").expanduser() / "hub" / "checkpoints"


def _lacking_parts(folder: Path) -> list[str]:
    """Return the incomplete parts of a saved pipeline: the folder is missing, or the weights of its network are."""
    try:
        index = read_json(folder / INDEX, dict[str, Any], "download it again")
        names = [name for name, kind in index.items() if isinstance(kind, list) and kind and kind[0]]
        return [name for name in names if not _is_whole(folder / name)]
    except DragonError as error:
        return [f"{INDEX} that can be read ({error})"]


def _is_whole(part: Path) -> bool:
    wanted = shards(part)
    if wanted:
        return all((part / shard).is_file() for shard in wanted)
    network = (part / "config.json").is_file()  # tokenizers and schedulers have another file
    return part.is_dir() and (not network or any(part.glob("*.safetensors")))
