"""Load a pipeline that diffusers saved, from a folder or the hub's cache, and adapt it by its class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_train.catalogue import AdapterInfo
    from dragon_train.pipelines.base import Policy

INDEX = "model_index.json"


def load_pretrained(source: str, adapters: Mapping[str, AdapterInfo]) -> Policy:
    """The policy over the pipeline in a folder, or of a name (owner/name) on the hub; safetensors only.

    Raises:
        DragonError: there is none, it cannot be loaded, or no adapter takes its class.
    """
    from diffusers import DiffusionPipeline

    try:
        kind = class_of(source)
        if kind not in adapters:
            known = ", ".join(sorted(adapters))
            raise DragonError(f"'{source}' is a {kind}, which no installed adapter takes; there are: {known}")
        pipeline = DiffusionPipeline.from_pretrained(source, use_safetensors=True)
    except (OSError, ValueError, ImportError) as error:
        raise DragonError(
            f"pipeline '{source}' cannot be loaded ({error}); give a folder that `save_pretrained` wrote, or download "
            f"it first: hf download {source}"
        ) from error
    return adapters[kind].factory(pipeline)


def class_of(source: str) -> str:
    """The diffusers class of a saved pipeline, from its index alone."""
    from huggingface_hub import hf_hub_download

    local = Path(source) / INDEX
    path = local if Path(source).is_dir() else Path(hf_hub_download(source, INDEX))
    return str(json.loads(path.read_text(encoding="utf-8"))["_class_name"])
