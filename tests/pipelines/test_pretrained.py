"""Pipelines by name, folder or hub: what loads, and what is refused with which remedy."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.pipelines import folder_of, load

from dragon_rewards.errors import DragonError, UnknownNameError, WeightsError
from dragon_rewards.provenance import provenance
from dragon_rewards.weights import INDEX, require_weights
from dragon_train.models import models
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMED = tuple(models())
CONVERTED = [name for name, model in models().items() if model.convert]


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


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What diffusers' loader logs."""
    logger, heard = logging.getLogger("diffusers.pipelines.pipeline_loading_utils"), list[str]()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    ear, before = Ear(), logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.WARNING)
    yield heard
    logger.setLevel(before)
    logger.removeHandler(ear)


def test_loading_says_nothing_of_modules_that_were_checked(saved: Path, said: list[str]) -> None:
    """Of a network it would be the whole of it; whatever else diffusers has to say is still said."""
    load("stable-audio", saved)
    assert said == []
    logging.getLogger("diffusers.pipelines.pipeline_loading_utils").warning("a component has no weights")
    assert said == ["a component has no weights"]


def test_public_pipelines_have_names_licences_and_say_where_they_are() -> None:
    pipelines = load_train_registry().pipelines
    assert set(NAMED) < set(pipelines)
    for name in NAMED:
        assert pipelines[name].licence
        assert "/" in pipelines[name].summary.split(":")[0]


@pytest.mark.parametrize("name", [name for name in NAMED if name not in CONVERTED])
def test_a_public_pipeline_that_is_not_downloaded_is_refused_with_the_command_that_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DragonError, match=r"hf download [\w.-]+/[\w.-]+$"):
        load_train_registry().pipeline(name).factory()


@pytest.mark.parametrize("name", CONVERTED)
def test_a_model_of_another_form_is_refused_with_the_commands_that_convert_it(
    name: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And found by its name where these put it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    info, model = load_train_registry().pipeline(name), models()[name]
    with pytest.raises(WeightsError, match=rf"scripts/convert_.* --output_dir \$DRAGON_WEIGHTS/{name}") as caught:
        info.factory()
    assert model.hub in str(caught.value)
    shutil.copytree(folder_of(model.adapter, saved), tmp_path / name)
    require_weights(f"pipeline '{name}'", info.weights)
    assert type(info.factory()) is type(load(model.adapter, saved))
    assert info.base in {"", *NAMED}


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


PARTS = {
    "text_encoder": "model.safetensors",  # transformers
    "transformer": "diffusion_pytorch_model.safetensors",  # diffusers
    "vae": "diffusion_pytorch_model.safetensors",
    "projection_model": "diffusion_pytorch_model.safetensors",  # a class of diffusers' pipeline
}


def change_weights(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> list[str]:
    """Change a file of weights; returns the names that it had."""
    weights = load_file(file)
    names = sorted(weights)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return names


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_a_network_lacks_are_refused(part: str, copy: Path) -> None:
    names = change_weights(copy / part / PARTS[part], lambda weights: weights.pop(max(weights)))
    message = refusal(copy)
    assert f"{copy / part}: its weights do not fit a" in message
    assert "missing " in message
    assert names[-1] in message


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_a_network_does_not_have_are_refused(part: str, copy: Path) -> None:
    change_weights(copy / part / PARTS[part], lambda weights: weights.update(stranger=torch.zeros(2)))
    assert "unexpected stranger" in refusal(copy)


@pytest.mark.parametrize("part", PARTS)
def test_weights_of_another_shape_are_refused(part: str, copy: Path) -> None:
    change_weights(copy / part / PARTS[part], lambda weights: weights.update({max(weights): torch.zeros(3, 5, 7)}))
    assert "cannot be loaded" in refusal(copy)


def test_what_is_counted_may_be_stored_or_not(copy: Path) -> None:
    positions = {"encoder.embeddings.position_ids": torch.arange(4)[None]}
    change_weights(copy / "text_encoder" / "model.safetensors", lambda weights: weights.update(positions))
    policy: Any = load_train_registry().pipeline(str(copy)).factory()
    loaded = policy.pipeline.text_encoder.state_dict()
    stored = load_file(copy / "text_encoder" / "model.safetensors")
    shared = loaded.keys() & stored.keys()
    assert len(shared) > 1
    assert all(torch.equal(loaded[name], stored[name]) for name in shared)


def sharded(folder: Path, shard: str) -> None:
    """Keep a text encoder's weights in the file that its index names."""
    whole = folder / "text_encoder" / "model.safetensors"
    names = list(load_file(whole))
    target = (whole.parent / shard.replace("\\", "/")).resolve()
    target.parent.mkdir(exist_ok=True)
    whole.rename(target)
    listing = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, shard)}
    (whole.parent / "model.safetensors.index.json").write_text(json.dumps(listing), encoding="utf-8")


def test_weights_in_parts_are_those_of_the_whole(copy: Path, saved: Path) -> None:
    sharded(copy, "model-00001-of-00001.safetensors")
    found, whole = (
        load_train_registry().pipeline(str(folder)).factory().pipeline.text_encoder.state_dict()
        for folder in (copy, folder_of("stable-audio", saved))
    )
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    "shard", ["../elsewhere.safetensors", "deep/x.safetensors", "weights.bin", "..\\x.safetensors"]
)
def test_an_index_names_safetensors_beside_it_alone(shard: str, copy: Path) -> None:
    sharded(copy, shard)
    message = refusal(copy)
    assert str(copy / "text_encoder" / "model.safetensors.index.json") in message
    assert "no safetensors beside it" in message


@pytest.mark.parametrize("listing", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": [1]}}', "[" * 10_000])
def test_an_index_of_weights_that_is_none_is_refused(listing: str, copy: Path) -> None:
    (copy / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(listing, encoding="utf-8")
    assert "diffusion_pytorch_model.safetensors.index.json" in refusal(copy)


def test_a_component_is_in_a_folder_of_the_pipeline(copy: Path) -> None:
    (copy / "vae").rename(copy.parent / "vae")
    change_index(copy, **{"../vae": ["diffusers", "AutoencoderOobleck"]})
    assert "'../vae' is no name of a component" in refusal(copy)


COMMITS = {"main": "a" * 40, "v1.0": "b" * 40}


@pytest.fixture
def hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with two commits of someone/tunes; the tagged one has a louder decoder."""
    repository = tmp_path / "hub" / "models--someone--tunes"
    (repository / "refs").mkdir(parents=True)
    for revision, commit in COMMITS.items():
        (repository / "refs" / revision).write_text(commit, encoding="utf-8")
        shutil.copytree(folder_of("stable-audio", saved), repository / "snapshots" / commit)
    weights = repository / "snapshots" / COMMITS["v1.0"] / "vae" / PARTS["vae"]
    change_weights(weights, lambda weights: weights.update({name: 2 * each for name, each in weights.items()}))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return repository


@pytest.mark.parametrize("revision", [None, "v1.0", COMMITS["v1.0"]])
def test_a_revision_on_the_hub_is_pinned_and_recorded(revision: str | None, hub: Path) -> None:
    commit = COMMITS["v1.0" if revision else "main"]
    info = load_train_registry().pipeline(f"someone/tunes@{revision}" if revision else "someone/tunes")
    require_weights("pipeline", info.weights)
    assert provenance(weights=info.weights)["commits"] == {"someone/tunes": commit}
    loaded = info.factory().pipeline.vae.state_dict()
    expected = load_file(hub / "snapshots" / commit / "vae" / PARTS["vae"])
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_a_revision_that_is_not_here_is_refused_with_the_command_that_brings_it(hub: Path) -> None:
    assert hub.is_dir()
    info = load_train_registry().pipeline("someone/tunes@v2")
    with pytest.raises(WeightsError, match=r"hf download someone/tunes --revision v2"):
        require_weights("pipeline", info.weights)
    assert "hf download someone/tunes --revision v2" in refusal("someone/tunes@v2")
