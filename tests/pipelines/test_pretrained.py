"""Pipelines by name, folder or hub: what loads, and what is refused with which remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file

from dragon_rewards.errors import DragonError, UnknownNameError
from dragon_rewards.weights import INDEX
from dragon_train.registry import load_train_registry
from pipelines.builders import folder_of

NAMED = ("stable-audio-open", "stable-audio-3", "ace-step", "audioldm2-music", "musicldm", "longcat-audio")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A saved pipeline that a test may spoil."""
    return Path(shutil.copytree(folder_of("stable-audio", saved), tmp_path / "copy"))


def refusal(source: str | Path) -> str:
    with pytest.raises(DragonError) as caught:
        load_train_registry().pipeline(str(source)).factory()
    return str(caught.value)


def change_index(folder: Path, **changes: Any) -> None:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    (folder / INDEX).write_text(json.dumps(index | changes), encoding="utf-8")


def test_public_pipelines_have_names_licences_and_say_where_they_are() -> None:
    pipelines = load_train_registry().pipelines
    assert set(NAMED) < set(pipelines)
    for name in NAMED:
        assert pipelines[name].licence
        assert "/" in pipelines[name].summary.split(":")[0]


@pytest.mark.parametrize("name", NAMED)
def test_a_public_pipeline_that_is_not_downloaded_is_refused_with_the_command_that_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DragonError, match=r"hf download [\w.-]+/[\w.-]+$"):
        load_train_registry().pipeline(name).factory()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "none")
    with pytest.raises(UnknownNameError, match="stable-audio-3"):
        load_train_registry().pipeline("stable-audio-4")


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    assert INDEX in message
    assert "save_pretrained" in message


@pytest.mark.parametrize("index", ["{", "[]", "{}"])
def test_an_unreadable_index_is_refused(tmp_path: Path, index: str) -> None:
    (tmp_path / INDEX).write_text(index, encoding="utf-8")
    message = refusal(tmp_path)
    assert str(tmp_path / INDEX) in message
    assert "save the pipeline again" in message


def test_a_class_that_no_adapter_takes_is_refused_with_those_that_are_taken(copy: Path) -> None:
    change_index(copy, _class_name="FluxPipeline")
    message = refusal(copy)
    assert "FluxPipeline" in message
    assert "StableAudio3Pipeline" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": ["trap", "Trap"]},
        {"transformer": ["trap", "Trap"]},
        {"vae": ["diffusers_modules.local.trap", "Trap"]},
        {"scheduler": ["os", "system"]},
    ],
)
def test_code_of_a_checkpoint_does_not_run(copy: Path, changes: dict[str, list[str]]) -> None:
    sprung = copy / "sprung"
    for folder in (copy, copy / "transformer", copy / "vae"):
        (folder / "trap.py").write_text(f"open({str(sprung)!r}, 'w')\nclass Trap: pass\n", encoding="utf-8")
    change_index(copy, **changes)
    assert "not run" in refusal(copy)
    assert not sprung.exists()


def test_pickled_weights_are_refused(copy: Path) -> None:
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    message = refusal(copy)
    assert str(weights.with_suffix(".bin")) in message
    assert "safetensors" in message


def test_missing_weights_are_refused(copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    message = refusal(copy)
    assert str(copy) in message
    assert "complete" in message


def test_truncated_weights_are_refused(copy: Path) -> None:
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert str(copy) in refusal(copy)


def test_a_component_without_a_known_class_is_refused(copy: Path) -> None:
    change_index(copy, transformer=["diffusers", "NoSuchModel"])
    assert "NoSuchModel" in refusal(copy)
