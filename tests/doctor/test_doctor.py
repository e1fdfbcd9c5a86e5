"""What `dragon doctor` says of this machine, and that nothing broken breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.hub import cached
from typer.testing import CliRunner

from dragon_rewards.heads import Figure, HeadRecord, save_head
from dragon_train.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

    from support.parts import Site

Doctor = Callable[[], dict[str, list[dict[str, Any]]]]
EAR = """
from dragon_rewards import EncoderInfo, Modality, Weights, hookimpl

FILES = ("config.json", "model.safetensors|pytorch_model.bin")
FILE = Weights("https://example.com/ear.pth", ("ear.pth",), "far", 288_000_000, gated=False)

@hookimpl
def register_encoders(register):
    audio = frozenset({Modality.AUDIO})
    near = Weights("someone/ear", FILES, "ear", gated=True)
    register(EncoderInfo("ear", audio, 4, 16000, "MIT", "an ear", object, weights=(near,)))
    register(EncoderInfo("far", audio, 4, 16000, "MIT", "another", object, weights=(FILE,)))
"""


def part(sections: dict[str, list[dict[str, Any]]], name: str) -> dict[str, Any]:
    return next(row for row in sections["weights"] if row["part"] == name)


def test_versions_devices_and_plugins_are_those_of_this_process(doctor: Doctor) -> None:
    sections = doctor()
    assert list(sections) == ["versions", "devices", "plugins", "weights", "fitted and made", "caches"]
    versions = {row["package"]: row["version"] for row in sections["versions"]}
    assert versions["torch"] == torch.__version__
    assert versions["dragon-rewards"]
    (cpu,) = [row for row in sections["devices"] if row["device"] == "cpu"]
    assert (cpu["float64"], cpu["fp16"]) == (True, False)
    assert 0 < cpu["free"] <= cpu["total"]
    assert {row["plugin"] for row in sections["plugins"]} >= {"dragon_rewards.builtin", "dragon_train.builtin"}
    assert not any(row.get("fault") for rows in sections.values() for row in rows)


@pytest.mark.usefixtures("second")
def test_every_device_is_told_with_its_memory(doctor: Doctor) -> None:
    devices = {row["device"]: row for row in doctor()["devices"]}
    assert {"cpu", "second:0", "second:1"} <= devices.keys()
    assert devices["second:0"]["total"] >= devices["second:0"]["free"] > 0
    assert devices["second:0"]["float64"]
    assert not devices["second:0"]["default"]


@pytest.mark.usefixtures("no_float64")
def test_a_device_without_float64_is_told(doctor: Doctor) -> None:
    assert [row["float64"] for row in doctor()["devices"] if row["device"] == "second:0"] == [False]


def test_weights_that_are_missing_come_with_the_command_that_brings_them(site: Site, doctor: Doctor) -> None:
    site.install("dragon-reward-ear", EAR)
    sections = doctor()
    assert part(sections, "encoder ear") == {
        "part": "encoder ear",
        "weights": "someone/ear",
        "state": "missing",
        "folder": None,
        "lacking": ["config.json", "model.safetensors|pytorch_model.bin"],
        "download": "hf download someone/ear --include 'config.json' --include 'model.safetensors' "
        "--include 'pytorch_model.bin'",
        "size": None,
        "gated": True,
    }
    far = part(sections, "encoder far")
    assert far["download"].startswith("curl -L --create-dirs -o ")
    assert far["download"].endswith("/torch/hub/checkpoints/ear.pth https://example.com/ear.pth")
    assert (far["size"], far["gated"]) == (288_000_000, False)
    assert part(sections, "encoder logmel")["weights"] is None
    assert part(sections, "pipeline stable-audio-open")["download"] == "hf download stabilityai/stable-audio-open-1.0"
    assert part(sections, "pipeline stable-audio-open")["gated"]


def test_weights_are_found_in_each_place(
    site: Site, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    site.install("dragon-reward-ear", EAR)
    snapshot = cached(hub, "someone/ear", "config.json")
    half = part(doctor(), "encoder ear")
    assert (half["state"], half["lacking"]) == ("missing", ["model.safetensors|pytorch_model.bin"])
    cached(hub, "someone/ear", "pytorch_model.bin")
    whole = part(doctor(), "encoder ear")
    assert (whole["state"], whole["folder"], whole["download"]) == ("found", str(snapshot), None)
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "ear.pth").write_text("weights")
    assert part(doctor(), "encoder far")["state"] == "found"
    own = tmp_path / "own" / "ear"
    own.mkdir(parents=True)
    monkeypatch.setenv("DRAGON_WEIGHTS", str(own.parent))
    mine = part(doctor(), "encoder ear")  # the user's folder comes first, and counts alone
    assert (mine["state"], mine["folder"]) == ("missing", str(own))


def test_a_pipeline_counts_as_there_when_all_its_parts_are(hub: Path, doctor: Doctor) -> None:
    name = "stabilityai/stable-audio-open-1.0"
    snapshot = cached(
        hub, name, "vae/config.json", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json"
    )
    parts = {"vae": ["diffusers", "A"], "transformer": ["diffusers", "B"], "tokenizer": ["transformers", "C"]}
    index = {"_class_name": "P", **parts, "scheduler": ["diffusers", "D"], "image_encoder": [None, None]}
    (snapshot / "model_index.json").write_text(json.dumps(index))
    assert part(doctor(), "pipeline stable-audio-open")["lacking"] == ["vae", "transformer"]
    cached(hub, name, "vae/diffusion_pytorch_model.safetensors", "transformer/config.json", "transformer/a.safetensors")
    listing = snapshot / "transformer" / "model.safetensors.index.json"
    listing.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert part(doctor(), "pipeline stable-audio-open")["lacking"] == ["transformer"]
    cached(hub, name, "transformer/b.safetensors")
    assert part(doctor(), "pipeline stable-audio-open")["state"] == "found"
    (snapshot / "model_index.json").write_text("{")
    assert "model_index.json that can be read" in part(doctor(), "pipeline stable-audio-open")["lacking"][0]


def test_what_is_broken_is_told_in_its_line(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doctor: Doctor
) -> None:
    site.install("dragon-reward-bad", "import no_such_module")
    (tmp_path / "sets" / "mine").mkdir(parents=True)
    (tmp_path / "sets" / "mine" / "manifest.json").write_text("{")
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DRAGON_CACHE_LIMIT", "much")
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path / "nowhere"))
    sections = doctor()
    (bad,) = [row for row in sections["plugins"] if row["plugin"] == "bad"]
    assert "failed (import): ModuleNotFoundError: No module named 'no_such_module'" in bad["state"]
    faults = {row["cache"]: row["fault"] for row in sections["caches"]}
    assert "DRAGON_CACHE_LIMIT='much'" in faults["embeddings"]
    assert "manifest.json is no manifest" in faults["exemplar sets"]
    assert faults["weights of $DRAGON_WEIGHTS"] == "there is no such folder"
    assert faults["hub"] is None


def test_a_section_keeps_what_was_found_before_a_failure(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> str:
        raise RuntimeError("a driver\nthat is too old")

    monkeypatch.setattr("dragon_rewards.compute.devices.device_name", broken)
    (row,) = [row for row in doctor()["devices"] if row["device"] == "cpu"]
    assert row["fault"] == "RuntimeError: a driver that is too old"


def test_the_page_is_for_people() -> None:
    page = CliRunner().invoke(app, ["doctor"]).stdout
    assert "accept it first: https://huggingface.co/stabilityai/stable-audio-open-1.0" in page
    assert "hf download cvssp/audioldm2-music" in page
    assert "GiB" in page


def test_heads_and_made_statistics_are_told_with_their_places(tmp_path: Path, doctor: Doctor) -> None:
    assert doctor()["fitted and made"] == []
    record = HeadRecord(
        name="taste",
        encoder="logmel",
        identity="any",
        sha256="0" * 64,
        table="taste.csv",
        fitted_to="ratings",
        clips=10,
        answers=10,
        held_out_by="clip",
        held_out=10,
        raters=1,
        figures={"srcc": Figure(0.5, 0.1, 0.9)},
        rater_agreement=None,
        head_agreement=None,
        ridge=1.0,
        seed=0,
        provenance={},
    )
    save_head(record, b"")
    broken = tmp_path / "heads" / "broken" / "head.json"
    broken.parent.mkdir()
    broken.write_text("{}", encoding="utf-8")
    made = tmp_path / "sets" / ".installed" / "airs" / "chroma.safetensors"
    made.parent.mkdir(parents=True)
    made.touch()
    head, fault, statistics = doctor()["fitted and made"]
    assert (head["part"], head["encoder"]) == ("head taste", "logmel")
    assert head["file"] == str(tmp_path / "heads" / "taste" / f"{'0' * 64}.safetensors")
    assert fault["part"] == "head broken"
    assert "head.json" in fault["fault"]
    told = {"part": "statistics of airs", "encoder": "chroma", "file": str(made), "fault": None}
    assert statistics == told
