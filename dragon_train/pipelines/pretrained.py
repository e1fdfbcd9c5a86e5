"""Load a pipeline that diffusers saved, from a folder or the hub's cache, and adapt it by its class."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError
from dragon_rewards.protocols import Weights
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.weights import INDEX, download_command, shards
from dragon_train.descriptors import IN_FULL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from dragon_train.descriptors import AdapterInfo, Loading
    from dragon_train.protocols import Policy

CONFIGURATION = ["*.json", "*.txt", "*.model"]  # all but weights: settings, vocabularies, sentencepiece
NEEDS = {"CosineDPMSolverMultistepScheduler": ("torchsde", "stable-audio")}  # class: its package, extra that brings it


def on_hub(source: str, *, gated: bool | None = None) -> Weights:
    """Describe what a pipeline of this name (owner/name or owner/name@revision) downloads: all that its index names."""
    name, revision = repository_of(source)
    return Weights(name, (INDEX,), gated=gated, revision=revision)


def repository_of(source: str) -> tuple[str, str | None]:
    """Split a name on the hub into repository and revision (a commit, tag or branch; None is the newest).

    Example:
        >>> repository_of("owner/name@v1.0"), repository_of("owner/name")
        (('owner/name', 'v1.0'), ('owner/name', None))
    """
    name, _, revision = source.partition("@")
    return name, revision or None


def load_pretrained(source: str, adapters: Mapping[str, AdapterInfo], loading: Loading = IN_FULL) -> Policy:
    """Load the policy over the pipeline in a folder, or of a name (owner/name, or owner/name@revision) on the hub.

    No code of the checkpoint runs: its components must be classes of diffusers and transformers, or classes that the
    adapter names. Its weights must be safetensors, complete, and no others than the pipeline has.

    Args:
        source: the folder or the name.
        adapters: the adapters by name, of which one takes the pipeline's class.
        loading: the precision and the device of the networks.

    Raises:
        DragonError: there is no such pipeline, it cannot be loaded, it needs a package, or no adapter takes its class.
    """
    index = read_index(source)
    adapter = adapter_for(source, index, adapters)
    check_components(source, index, adapter.components)
    check_packages(source, index)
    try:
        return adapter.factory(load_pipeline(source, index, loading, adapter.module))
    except DragonError:
        raise
    except Exception as error:
        from dragon_rewards.compute.devices import is_out_of_memory

        if is_out_of_memory(error):
            raise
        raise DragonError(  # both libraries raise errors of any type for what they cannot read
            f"pipeline '{source}' cannot be loaded: {error}; it must be complete, as `save_pretrained` writes it, and "
            "its weights safetensors"
        ) from error


def load_pipeline(source: str, index: Mapping[str, Any], loading: Loading, module: str = "diffusers") -> Any:
    """Load a pipeline whose networks are loaded one by one; diffusers loads what else there is.

    Args:
        source: its folder, or its name on the hub.
        index: what its index holds.
        loading: the precision and the device of the networks.
        module: what its class is sought in.

    Raises:
        DragonError: weights are pickled, elsewhere, missing or too many.
        Exception: of any kind, where something else is missing or broken.
    """
    from diffusers import DiffusionPipeline
    from torch import nn

    from dragon_train.pipelines.loading import load_network, of_component

    folder = folder_of(source, loading)
    check_weights(folder)
    check_configurations(folder)
    entries = {name: entry for name, entry in index.items() if isinstance(entry, list) and entry[0] is not None}
    kinds = {name: component_class(*entry) for name, entry in entries.items()}
    networks = {
        name: load_network(kind, folder / name, of_component(name, loading))
        for name, kind in kinds.items()
        if issubclass(kind, nn.Module)
    }
    absent = {name: None for name, entry in index.items() if isinstance(entry, list) and entry[0] is None}
    kind = DiffusionPipeline if module == "diffusers" else getattr(import_module(module), index["_class_name"])
    with unsaid("You have passed a non-standard module"):  # which were checked here
        return kind.from_pretrained(folder, **networks, **absent)  # which wants to be told what is not there


@contextmanager
def unsaid(start: str) -> Iterator[None]:
    """Keep diffusers' loader from logging messages inside the block that begin so."""

    def other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(start)

    logger = logging.getLogger("diffusers.pipelines.pipeline_loading_utils")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def check_configurations(folder: Path) -> None:
    """Refuse a component whose configuration is no table: diffusers takes a text for a name, and seeks it on the hub.

    Raises:
        DragonError: there is such a file; the message names it.
    """
    for path in sorted(folder.glob("*/*config.json")):
        read_json(path, dict[str, Any], "save the pipeline again with `save_pretrained` of diffusers")


def folder_of(source: str, loading: Loading) -> Path:
    """Return the pipeline's folder; for a pipeline on the hub its folder in the cache, after the download it needs.

    On the meta device no weights are needed, and none are downloaded.

    Raises:
        OSError: it is not there, and not reachable.
    """
    if Path(source).is_dir():
        return Path(source)
    name, revision = repository_of(source)
    if loading.device is not None and loading.device.type == "meta":
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, revision=revision, allow_patterns=CONFIGURATION))
    from diffusers import DiffusionPipeline

    return Path(DiffusionPipeline.download(name, revision=revision, use_safetensors=True))


def component_class(library: str, name: str) -> Any:
    """Return the class of a component, as the index names it, of diffusers, one of its pipelines, or transformers.

    Raises:
        AttributeError: there is no such class.
    """
    from diffusers import pipelines

    module = getattr(pipelines, library, None) or import_module(library)
    return getattr(module, name)


def read_index(source: str) -> dict[str, Any]:
    """Read what `save_pretrained` wrote about a pipeline: its class and the classes of its components.

    Raises:
        DragonError: there is none, or it is not readable.
    """
    path = Path(source) / INDEX if Path(source).is_dir() else downloaded_index(source)
    index = read_json(path, dict[str, Any], "save the pipeline again with `save_pretrained` of diffusers")
    for name, entry in index.items():
        if isinstance(entry, list) and not all(part is None or isinstance(part, str) for part in entry):
            raise DragonError(f"{path}: '{name}' is {entry!r:.80}, not a library and a class; get it again")
    if "_class_name" not in index:
        raise DragonError(
            f"{path}: names no '_class_name'; save the pipeline again with `save_pretrained` of diffusers"
        )
    return index


def downloaded_index(source: str) -> Path:
    """Return the path of the index of a pipeline on the hub; it is downloaded where it is not in the cache.

    Raises:
        DragonError: it is neither a name on the hub, nor reachable.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    name, revision = repository_of(source)
    try:
        return Path(hf_hub_download(name, INDEX, revision=revision))
    except HFValidationError:
        raise DragonError(
            f"pipeline '{source}': no such folder, and no name on the hub; give a folder, owner/name or "
            "owner/name@revision"
        ) from None
    except OSError as error:
        raise DragonError(
            f"pipeline '{source}': no such folder, and not in the hub's cache or reachable ({error}); give another "
            f"folder, or download it where there is a network: {download_command(on_hub(source))}"
        ) from error


def adapter_for(source: str, index: Mapping[str, Any], adapters: Mapping[str, AdapterInfo]) -> AdapterInfo:
    """Return the adapter that takes the pipeline's class.

    Raises:
        DragonError: no adapter does, or the class is the checkpoint's own.
    """
    by_class = {adapter.pipeline_class: adapter for adapter in adapters.values()}
    kind = index["_class_name"]
    if not isinstance(kind, str):
        raise DragonError(
            f"pipeline '{source}' is of its own class {kind}, whose code is not run; use one of diffusers"
        )
    if kind not in by_class:
        known = ", ".join(sorted(by_class))
        raise DragonError(
            f"pipeline '{source}' is a {kind}, which no installed adapter takes; there are: {known}; "
            "install a plugin that adapts it"
        )
    return by_class[kind]


def check_components(source: str, index: Mapping[str, Any], further: Collection[str] = ()) -> None:
    """Refuse components that are not classes of diffusers or transformers: they would be the checkpoint's own code.

    The names of components are names of folders, too, which must lie inside the pipeline's.

    Args:
        source: the folder or the name of the pipeline.
        index: what its index holds.
        further: classes that the adapter allows, by module and name.

    Raises:
        DragonError: there is such a component; the message names it.
    """
    from diffusers import pipelines

    for name, entry in index.items():
        library = entry[0] if isinstance(entry, list) and entry else None
        if not name.isidentifier():
            raise DragonError(f"pipeline '{source}': {name!r} is no name of a component; save the pipeline again")
        if library is None or library in {"diffusers", "transformers"} or hasattr(pipelines, library):
            continue
        if ".".join(entry) not in further:
            raise DragonError(
                f"pipeline '{source}': its {name} is {'.'.join(map(str, entry))}, and code of a checkpoint is not run; "
                "use one whose components are of diffusers and transformers"
            )


def check_packages(source: str, index: Mapping[str, Any]) -> None:
    """Refuse components whose packages are missing, before weights are downloaded.

    Raises:
        DragonError: a package is missing; the message says how to install it.
    """
    for name, (package, extra) in NEEDS.items():
        used = any(isinstance(entry, list) and name in entry for entry in index.values())
        if used and find_spec(package) is None:
            raise DragonError(f"pipeline '{source}': {name} needs {package}; pip install 'dragon-rewards[{extra}]'")


def check_weights(folder: Path) -> None:
    """Refuse a component whose weights are pickled only, as loading them could run any code, or lie elsewhere.

    Raises:
        DragonError: there is such a file; the message names it.
    """
    for part in sorted({path.parent for path in folder.glob("*/*.index.json")}):
        shards(part)
    for pickled in sorted(folder.glob("*/*.bin")):
        if not any(pickled.parent.glob("*.safetensors")):
            raise DragonError(
                f"{pickled}: pickled weights are not loaded, and there are no others; convert them where you trust "
                "them, with `save_pretrained` of diffusers and transformers, which writes safetensors"
            )
