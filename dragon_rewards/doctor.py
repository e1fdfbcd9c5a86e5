"""The report of `dragon doctor`: everything on this machine that the project depends on, and what is wrong with it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.compute.devices import host_memory
from dragon_rewards.exemplars.places import all_made_statistics, sets_folder
from dragon_rewards.exemplars.store import broken_sets, set_folders
from dragon_rewards.heads import found_heads
from dragon_rewards.media.cache import open_cache
from dragon_rewards.weights import VARIABLE, download_command, lacking_files, weights_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch

    from dragon_rewards.plugins import PluginFailure, PluginRecord
    from dragon_rewards.protocols import Weights

Row = dict[str, Any]
Section = list[Row]

PACKAGES = (
    *("dragon-rewards", "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "huggingface-hub"),
    *("numpy", "scipy", "pandas", "soundfile", "soxr", "torchaudio", "torchsde", "ray"),
)
LOST = "not installed"


def section(collect: Callable[[], Iterable[Row]]) -> Section:
    """Collect rows and give all of them the same keys, with None where a row has no value.

    If `collect` raises an error, the rows before it are kept, and a row with the key `fault` describes the error.
    """
    rows: Section = []
    try:
        for row in collect():
            rows.append(row)
    except Exception as error:  # noqa: BLE001  a report of what is broken must not break
        rows.append({"fault": described(error)})
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def attempt(find: Callable[..., Row], *given: Any) -> Row:
    """Return the row that `find` returns, or a row with the key `fault` if it raises an error."""
    try:
        return find(*given)
    except Exception as error:  # noqa: BLE001  as in `section`
        return {"fault": described(error)}


def described(error: Exception) -> str:
    """Return the type and the message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def versions() -> Iterator[Row]:
    """Yield the versions of the interpreter, the platform, the packages, and torch's CUDA."""
    yield {"package": "python", "version": platform.python_version()}
    yield {"package": "platform", "version": platform.platform()}
    for name in PACKAGES:
        yield {"package": name, "version": _version(name)}
    import torch

    yield {"package": "CUDA of torch", "version": torch.version.cuda}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return LOST


def devices() -> Iterator[Row]:
    """Yield every device that torch has here, with its memory in bytes and the precisions that it can compute in."""
    from dragon_rewards.compute.devices import available_devices, default_device

    chosen = default_device()
    for device in available_devices():
        yield {"device": str(device), "default": device == chosen, **attempt(_device, device)}


def _device(device: torch.device) -> Row:
    from dragon_rewards.compute.devices import PRECISIONS, device_memory, device_name, has_float64, trains_in

    memory = device_memory(device)
    free, total = host_memory() if memory is None and device.type == "cpu" else _figures(memory)
    able = {precision: trains_in(precision, device) for precision in PRECISIONS}
    return {"name": device_name(device), "free": free, "total": total, "float64": has_float64(device), **able}


def _figures(memory: Any) -> tuple[int | None, int | None]:
    return (None, None) if memory is None else (memory.free, memory.total)


def plugins(loaded: Iterable[PluginRecord], failures: Iterable[PluginFailure]) -> Iterator[Row]:
    """Yield a row for every plugin that loaded, and for every plugin that did not, with the reason."""
    for plugin in loaded:
        yield {"plugin": plugin.name, "package": plugin.package, "version": plugin.version, "state": "loaded"}
    for failure in failures:
        state = f"failed ({failure.stage}): {failure.reason}"
        yield {"plugin": failure.plugin, "package": failure.package, "version": failure.version, "state": state}


def weights(parts: Iterable[tuple[str, str, tuple[Weights, ...]]]) -> Iterator[Row]:
    """Yield rows of the weights of each part (what, name, weights): whether they are here, and how to get them."""
    for what, name, needed in parts:
        part = f"{what} {name}"
        if not needed:
            yield {"part": part, "weights": None, "state": "needs none beside its package"}
        for each in needed:
            yield {"part": part, "weights": each.source, **attempt(_weights, each)}


def _weights(needed: Weights) -> Row:
    folder = weights_folder(needed)
    lacking = lacking_files(folder, needed.files) if folder else list(needed.files)
    return {
        "state": "missing" if lacking else "found",
        "folder": str(folder) if folder else None,
        "lacking": lacking,
        "download": download_command(needed) if lacking else None,
        "size": needed.size,
        "gated": needed.gated,
    }


def made() -> Iterator[Row]:
    """Yield what the user fitted and made beside exemplar sets: heads, and statistics of installed sets."""
    heads, failures = found_heads()
    for head in heads:
        yield {"part": f"head {head.name}", "encoder": head.encoder, "file": str(head.file)}
    for failure in failures:
        yield {"part": failure.plugin, "fault": failure.reason}
    for path in all_made_statistics():
        yield {"part": f"statistics of {path.parent.name}", "encoder": path.stem, "file": str(path)}


def caches() -> Iterator[Row]:
    """Yield the folders that the project reads and writes, with their numbers of entries and bytes."""
    for name, collect in (("embeddings", _embeddings), ("exemplar sets", _sets), ("hub", _hub)):
        yield {"cache": name, **attempt(collect)}
    own = os.environ.get(VARIABLE)
    if own:
        fault = None if Path(own).is_dir() else "there is no such folder"
        yield {"cache": f"weights of ${VARIABLE}", "folder": own, "fault": fault}


def _embeddings() -> Row:
    cache = open_cache()
    if cache is None:
        return {"folder": "off"}
    entries = cache.entries()
    return {"folder": str(cache.folder), "entries": len(entries), "bytes": sum(entry.size for entry in entries)}


def _sets() -> Row:
    folders = list(set_folders())
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    faults = "; ".join(map(str, broken_sets()))
    return {"folder": str(sets_folder()), "entries": len(folders), "bytes": size, "fault": faults or None}


def _hub() -> Row:
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    folder = constants.HF_HUB_CACHE
    try:
        found = scan_cache_dir(folder)
    except CacheNotFound:
        return {"folder": folder, "entries": 0, "bytes": 0}
    faults = "; ".join(map(str, found.warnings))
    return {"folder": folder, "entries": len(found.repos), "bytes": found.size_on_disk, "fault": faults or None}
