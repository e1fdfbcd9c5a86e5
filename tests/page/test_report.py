"""What `dragon report` refuses, before any model is loaded, and what clips become."""

from __future__ import annotations

import io
import json
import shutil
from base64 import b64decode
from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest
import soundfile
import torch
from PIL import Image
from support.cli import dragon
from support.report_pages import QUICK

from dragon_rewards.errors import DragonError
from dragon_train.bench.report.media import page_clip
from dragon_train.bench.report.paired_comparisons import Generation, generation_of
from dragon_train.bench.report.source import read_results
from dragon_train.loop.run_folder import PROMPTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reports"], "neither config.json nor benchmark.json"),
        ([QUICK, "--reward", "vendi:clop"], "did you mean vendi:clap"),
        ([QUICK, "--reward", "vendi:clap"], "holds no finished weights to hear; run `dragon bench`"),
    ],
)
def test_refusals(arguments: list[str], said: str) -> None:
    result = dragon("report", *arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(Generation, "load", refuse)


@pytest.mark.usefixtures("no_models")
def test_refusals_of_a_run_come_before_its_models(run: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("a jig")
    refused = dragon("report", run, "--prompts", few)
    assert "of only 1 prompt (prompts of few.txt)" in refused.output
    for count in (1, 2):  # Vendi without a pair needs two others
        said = " ".join(dragon("report", run, "--pairs", count).output.split())
        assert "judges sets of 2 clips and more" in said
        assert "give --pairs 3 or more, or --pairs 0 for a page without players" in said


@pytest.mark.usefixtures("no_models")
def test_without_pairs_no_model_is_loaded(run: Path, tmp_path: Path) -> None:
    assert dragon("report", run, "--pairs", 0, "--out", tmp_path / "page.html").exit_code == 0
    assert "made without players" in (tmp_path / "page.html").read_text()


def test_an_unfinished_benchmark_is_refused(tmp_path: Path) -> None:
    shutil.copy(QUICK / "benchmark.json", tmp_path)
    assert "the same `dragon bench` command resumes it" in dragon("report", tmp_path).output


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    shutil.copytree(QUICK, tmp_path / "bench")
    (tmp_path / "bench" / "benchmark.json").write_text("{")
    refused = dragon("report", tmp_path / "bench")
    assert refused.exit_code == 2
    assert "benchmark.json' cannot be read" in refused.output


def test_the_prompts_of_a_benchmark_are_those_that_it_compared_on(tmp_path: Path) -> None:
    shutil.copytree(QUICK, tmp_path / "bench")
    settings = json.loads((QUICK / "benchmark.json").read_text())
    settings["preset"] |= {"heldout_prompts": 16, "guidance": 3.0, "inference_steps": 0}
    (tmp_path / "bench" / "benchmark.json").write_text(json.dumps(settings))
    results = read_results(tmp_path / "bench")
    run = replace(results.runs[0], config=replace(results.runs[0].config, pipeline="ace-step"))
    with pytest.raises(DragonError, match=r"prompts\.json' cannot be read"):
        generation_of(results, run, 4, None)
    kept = {"train": ["a song", "another"], "heldout": [f"song {index}" for index in range(16)]}
    (run.folder / PROMPTS).write_text(json.dumps(kept))
    given = generation_of(results, run, 4, None)
    assert given.prompts == ("song 0", "song 1", "song 2", "song 3")
    assert given.origin == "prompts that the run kept from training"
    assert (given.steps, given.guidance) == (0, 3.0)


def test_a_run_that_kept_no_prompts_from_training_is_heard_on_those_of_the_training(tmp_path: Path) -> None:
    shutil.copytree(QUICK, tmp_path / "bench")
    results = read_results(tmp_path / "bench")
    run = replace(results.runs[0], config=replace(results.runs[0].config, pipeline="ace-step"))
    (run.folder / PROMPTS).write_text(json.dumps({"train": ["a song", "another"], "heldout": []}))
    assert generation_of(results, run, 2, None).prompts == ("a song", "another")


def test_a_folder_is_no_page(tmp_path: Path) -> None:
    assert "is a folder; give --out the path of a file" in dragon("report", QUICK, "--out", tmp_path).output


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dragon_train.bench.report.write.find_spec", lambda name: None if name == "altair" else util.find_spec(name)
    )
    assert "neither config.json nor" in dragon("report", "reports").output  # the folder comes first
    refused = dragon("report", QUICK)
    assert refused.exit_code == 2
    assert 'needs altair: pip install "dragon-rewards[reports]"' in refused.output


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (7_350, 1)])
def test_a_clip_keeps_its_sound(rate: int, channels: int) -> None:
    """A tone of 440 Hz stays one, at any rate."""
    time = torch.arange(2 * rate) / rate
    clip = page_clip(0.5 * torch.sin(2 * torch.pi * 440 * time).expand(channels, -1), rate)
    heard, heard_rate = soundfile.read(io.BytesIO(b64decode(clip.audio.partition(",")[2])), always_2d=True)
    middle = torch.from_numpy(heard)[heard_rate // 2 : -heard_rate // 2, 0]
    spectrum = torch.fft.rfft(middle).abs()
    assert int(spectrum.argmax()) * heard_rate / len(middle) == pytest.approx(440, abs=3)
    assert float(middle.abs().max()) == pytest.approx(0.5, abs=0.03)
    assert clip.seconds == 2
    assert clip.bytes == len(b64decode(clip.audio.partition(",")[2]))


def test_a_spectrogram_shows_pitch_and_loudness() -> None:
    """The brightest row of a higher tone lies higher, and silence is dark."""
    time = torch.arange(16_000) / 16_000
    brightest = []
    for tone in (200, 2_000):
        picture = spectrogram(torch.sin(2 * torch.pi * tone * time))
        brightest.append(int(picture.mean(1).argmax()))
    assert brightest[1] < brightest[0]  # rows count from the top
    assert spectrogram(torch.zeros(16_000)).max() < 20


def test_a_clip_shorter_than_a_window_has_a_spectrogram() -> None:
    assert spectrogram(torch.rand(100)).shape[1] == 1


def spectrogram(audio: torch.Tensor) -> torch.Tensor:
    """Luminance (rows, columns)."""
    with Image.open(io.BytesIO(b64decode(page_clip(audio[None], 16_000).spectrogram.partition(",")[2]))) as picture:
        grey = picture.convert("L")
        return torch.frombuffer(bytearray(grey.tobytes()), dtype=torch.uint8).reshape(grey.height, grey.width).float()
