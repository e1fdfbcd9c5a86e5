"""Folders of clips: what stands in one is neither joined nor lost by a command that does not say so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from support.cli import dragon
from support.pipelines import build
from support.tiny import CONFIG, tiny_policy, tiny_run

from dragon_rewards.errors import ConfigError
from dragon_train.sampling.clip_folder import clip_folder, listed
from dragon_train.sampling.sampling import sampled

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
PROMPTS = ["a hymn", "a jig"]


@pytest.fixture(scope="module", name="pipeline")
def saved_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    build("stable-audio").save_pretrained(folder)
    return folder


def make(out: Path, prompts: list[str], seed: int = 0, *, overwrite: bool = False, append: bool = False) -> None:
    """Sample as the command does, with a tiny policy."""
    folder, seeds, policy = clip_folder(out, overwrite=overwrite, append=append), range(seed, seed + 2), tiny_policy()
    folder.check_free(prompts, seeds)
    rows = [{"prompt": prompt, "seed": number} for prompt, number in zip(prompts, seeds, strict=True)]
    folder.write(policy, sampled(policy, prompts, seeds, 2, 1.0, lambda: None), rows, seeds)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_clips_beside_others_are_asked_for(tmp_path: Path, pipeline: Path) -> None:
    """As the command: the second call is refused, with what to say, and nothing is touched."""
    options = ("--pipeline", pipeline, "--diffusion-steps", 2, "--guidance", 1, "--out", tmp_path / "o")
    assert dragon("sample", *PROMPTS, *options).exit_code == 0
    before = content(tmp_path / "o")
    refused = dragon("sample", "a waltz", *options)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--overwrite replaces its clips, --append adds to them" in refused.stderr
    assert content(tmp_path / "o") == before
    assert dragon("sample", "a waltz", *options, "--append").exit_code == 0
    assert len(listed(tmp_path / "o")) == 3
    assert dragon("sample", "a reel", *options, "--overwrite").exit_code == 0
    assert set(content(tmp_path / "o")) == {"0000-a-reel.wav", "prompts.csv"}


def test_appended_clips_leave_the_others_as_they_are(tmp_path: Path) -> None:
    make(tmp_path / "o", PROMPTS)
    before = content(tmp_path / "o")
    make(tmp_path / "o", ["a reel", "a waltz"], append=True)
    after = content(tmp_path / "o")
    assert {name: after[name] for name in before if name != "prompts.csv"} == {
        name: held for name, held in before.items() if name != "prompts.csv"
    }
    table = pd.read_csv(tmp_path / "o" / "prompts.csv")
    assert table["path"].tolist() == ["0000-a-hymn.wav", "0001-a-jig.wav", "0000-a-reel.wav", "0001-a-waltz.wav"]
    assert table["seed"].tolist() == [0, 1, 0, 1]


def test_an_appended_clip_takes_no_others_place(tmp_path: Path) -> None:
    make(tmp_path / "o", PROMPTS)
    with pytest.raises(ConfigError, match=r"holds '0001-a-jig\.wav' already: give another --seed"):
        make(tmp_path / "o", ["a waltz", "a jig"], append=True)
    (tmp_path / "o" / "0004-a-waltz.wav").touch()  # which the table does not list
    with pytest.raises(ConfigError, match=r"holds '0004-a-waltz\.wav' already"):
        make(tmp_path / "o", ["a waltz", "a jig"], seed=4, append=True)
    (tmp_path / "o" / "0004-a-waltz.wav").unlink()
    make(tmp_path / "o", ["a waltz", "a jig"], seed=4, append=True)
    assert len(listed(tmp_path / "o")) == 4
    kept = clip_folder(tmp_path / "o", overwrite=False, append=True)
    assert kept.numbers(2) == range(4, 6)  # as `best-of` numbers its clips


def test_only_what_the_table_lists_is_replaced(tmp_path: Path) -> None:
    make(tmp_path / "o", PROMPTS)
    (tmp_path / "o" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"holds 'mine\.wav', which its prompts\.csv does not list"):
        make(tmp_path / "o", PROMPTS, overwrite=True)
    (tmp_path / "o" / "mine.wav").unlink()
    (tmp_path / "o" / "prompts.csv").write_text("path,prompt\n../secret.wav,a jig\n")
    with pytest.raises(ConfigError, match="lists other things than files of this folder"):
        make(tmp_path / "o", PROMPTS, overwrite=True)


class FullDisk(Exception):  # noqa: N818
    """What a write raises here."""


def test_what_is_to_be_replaced_stays_until_all_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "o", PROMPTS)
    before, write, calls = content(tmp_path / "o"), type(tiny_policy()).write, []

    def failing(*arguments: Any) -> Path:
        calls.append(arguments)
        if len(calls) == 2:
            raise FullDisk
        made: Path = write(*arguments)
        return made

    monkeypatch.setattr(type(tiny_policy()), "write", failing)
    with pytest.raises(FullDisk):
        make(tmp_path / "o", ["a reel", "a waltz"], overwrite=True)
    assert content(tmp_path / "o") == before


def test_what_is_no_clip_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "pipeline").mkdir()
    assert not clip_folder(tmp_path, overwrite=False, append=False).kept
    (tmp_path / "pipeline" / "a.m4a").touch()
    with pytest.raises(ConfigError, match=r"holds 'pipeline/a\.m4a', and new clips"):
        clip_folder(tmp_path, overwrite=False, append=False)


def test_one_of_both_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        clip_folder(tmp_path, overwrite=True, append=True)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        clip_folder(tmp_path / "file", overwrite=False, append=False)


def test_a_run_is_heard_with_its_own_steps_and_guidance(tmp_path: Path, pipeline: Path) -> None:
    """And by the former name of the option, which is warned of: the same clips."""
    run = tmp_path / "run"
    tiny_run(CONFIG, run)
    stored = json.loads((run / "config.json").read_text())["config"]
    steps, guidance = stored["demonstration_steps"], stored["guidance"]
    made, said = {}, {}
    for name, more in {
        "own": (),
        "given": ("--diffusion-steps", steps, "--guidance", guidance),
        "former": ("--steps", steps),
        "other": ("--diffusion-steps", steps + 1),
    }.items():
        done = dragon("sample", *PROMPTS, "--pipeline", pipeline, "--run", run, "--out", tmp_path / name, *more)
        assert done.exit_code == 0, done.stderr
        made[name], said[name] = content(tmp_path / name), done.stderr
    assert made["own"] == made["given"] == made["former"] != made["other"]
    assert said["own"].splitlines()[0] == f"{steps} diffusion steps, guidance {guidance:g}"
    assert "--steps of this command is now --diffusion-steps" in said["former"]
