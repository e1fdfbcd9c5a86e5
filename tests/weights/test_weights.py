"""Weights come from the user's folder or from the hub's cache, and what is missing is named with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hub import cached

from dragon_rewards import WeightsError, find_weights, fingerprint_files

FILES = ["config.json", "model.safetensors|pytorch_model.bin"]
REPOSITORY = "someone/ear"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache of its own that nothing is downloaded to; returns it."""
    monkeypatch.delenv("DRAGON_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def written(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(name, encoding="utf-8")
    return folder


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_the_users_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    own = written(tmp_path / "mine" / "ear", "config.json", weights)
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path / "mine"))
    assert find_weights("ear", REPOSITORY, FILES) == own


def test_a_file_that_the_users_folder_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = written(tmp_path / "mine" / "ear", "config.json")
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(WeightsError, match=r"has no model\.safetensors\|pytorch_model\.bin") as refusal:
        find_weights("ear", REPOSITORY, FILES)
    assert str(own) in str(refusal.value)


def test_the_hubs_cache_is_read_without_a_network(offline: Path) -> None:
    snapshot = cached(offline, REPOSITORY, "config.json", "model.safetensors")
    assert find_weights("ear", REPOSITORY, FILES) == snapshot


def test_missing_weights_are_refused_with_the_remedy() -> None:
    with pytest.raises(WeightsError, match=r"hf download someone/ear --include 'config\.json'") as refusal:
        find_weights("ear", REPOSITORY, FILES)
    assert "DRAGON_WEIGHTS" in str(refusal.value)


def test_a_fingerprint_is_of_contents_alone(tmp_path: Path) -> None:
    here, there = (written(tmp_path / place, "a", "b") for place in ("here", "there"))
    first = fingerprint_files("ear", here.iterdir())
    assert first == fingerprint_files("ear", there.iterdir())
    (there / "b").write_text("other", encoding="utf-8")
    assert first != fingerprint_files("ear", there.iterdir())
