"""Prompts with lyrics, tempo, length and negative prompts: read from a table, sampled, learnt from and recorded."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from support.cli import dragon
from support.pipelines import BUILDERS, folder_of, load

from dragon_rewards.errors import DragonError, TableError
from dragon_rewards.media.audio import read_audio
from dragon_train.builtin import ADAPTERS
from dragon_train.loop.run_folder import kept_prompts
from dragon_train.pipelines.lengths import set_length
from dragon_train.prompt_table import COLUMNS, Prompt, columns_of, read_prompts
from dragon_train.protocols import Draw
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.pipelines.recorded import AudioPolicy

NAMES = list(BUILDERS)
SAID: dict[str, Any] = {"lyrics": "la la", "bpm": 90, "key": "C major", "time_signature": 3, "language": "fr"}
SONGS = [{"prompt": f"song {number}", "lyrics": f"la {number}", "bpm": 80 + number} for number in range(6)]


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A CSV file of rows."""
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def told(policy: AudioPolicy, prompt: str) -> dict[str, Any]:
    """What the denoiser is told of one prompt."""
    condition = policy.condition([prompt])
    return dict(condition["each"][0] if "each" in condition else condition)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two conditions have the same tensors."""
    pairs = [(one[name], other[name]) for name in one if isinstance(one[name], torch.Tensor)]
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def test_adapters_declare_columns_that_can_be_read_and_their_policies_take(saved: Path) -> None:
    for adapter in ADAPTERS:
        assert set(adapter.columns) == set(load(adapter.name, saved).columns) <= set(COLUMNS)
        assert load_train_registry().columns(str(folder_of(adapter.name, saved))) == adapter.columns
    assert "negative_prompt" in load_train_registry().columns("embedded")


@pytest.mark.parametrize("column", SAID)
def test_what_a_table_says_reaches_ace_step_in_sampling_and_in_losses(column: str, saved: Path) -> None:
    policy, said = load("ace-step", saved), Prompt("a jig", {column: SAID[column]})
    assert not same(told(policy, said), told(policy, "a jig"))
    latents = policy.sample([said, "a jig"], [3, 3], 2, 1.0)
    assert not torch.equal(latents[0], latents[1])
    assert torch.equal(latents[1], policy.sample(["a jig"], [3], 2, 1.0)[0])
    draw = policy.draw(latents[:1], torch.Generator().manual_seed(0))
    with torch.no_grad():
        errors = [policy.denoising_error(latents[:1], policy.condition([text]), draw) for text in (said, "a jig")]
    assert not torch.equal(*errors)


def test_ace_step_is_told_what_its_own_call_would_be(saved: Path) -> None:
    """Against the pipeline called by its own names."""
    policy = load("ace-step", saved)
    arguments = policy.call_arguments(["a jig"], [3], 2, 1.0)
    own = {"lyrics": "la la", "bpm": 90, "keyscale": "C major", "timesignature": "3", "vocal_language": "fr"}
    called = policy.pipeline(**arguments | own)[0]
    assert torch.equal(policy.sample([Prompt("a jig", SAID)], [3], 2, 1.0), called)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ace-step"])
def test_a_negative_prompt_changes_guided_clips_and_no_condition(name: str, saved: Path) -> None:
    policy, wary = load(name, saved), Prompt("a jig", {"negative_prompt": "a drum"})
    assert same(told(policy, wary), told(policy, "a jig"))
    guided, plain = (policy.sample([text], [3], 2, 4.0) for text in (wary, "a jig"))
    assert not torch.equal(guided, plain)
    assert torch.equal(policy.sample([wary], [3], 2, 1.0), policy.sample(["a jig"], [3], 2, 1.0))
    arguments = policy.call_arguments(["a jig"], [3], 2, 4.0)
    if name != "musicldm":  # which is given embeddings
        assert torch.allclose(guided, policy.latents(policy.pipeline, [wary], [3], 2, 4.0))
        assert policy.call_arguments([wary], [3], 2, 4.0) | {"generator": 0} == arguments | {
            "negative_prompt": ["a drum"],
            "generator": 0,
        }


@pytest.mark.parametrize("name", NAMES)
def test_clips_of_a_batch_do_not_depend_on_what_is_said_of_their_neighbours(name: str, saved: Path) -> None:
    policy = load(name, saved)
    column = "lyrics" if name == "ace-step" else "negative_prompt"
    texts = ["a jig", Prompt("a hymn", {column: "a drum"}), Prompt("a reel", {column: "a drum"}), "a march"]
    together = policy.sample(texts, [1, 2, 3, 4], 2, 3.0)
    for row, text in enumerate(texts):
        assert torch.allclose(together[row], policy.sample([text], [row + 1], 2, 3.0)[0], atol=1e-4)
    draw = policy.draw(together, torch.Generator().manual_seed(0))
    with torch.no_grad():
        errors = policy.denoising_error(together, policy.condition(texts), draw)
        alone = policy.denoising_error(
            together[1:2], policy.condition(texts[1:2]), Draw(draw.noise[1:2], draw.level[1:2])
        )
    assert torch.allclose(errors[1:2], alone, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_as_long_as_the_table_says(name: str, saved: Path) -> None:
    """Against the pipeline asked for sound of that length; where it goes by whole latents, the length is one."""
    policy, seconds = load(name, saved), 0.4
    prompt = Prompt("a jig", {"duration": seconds})
    with pytest.raises(DragonError, match=r"prompts ask for 0\.4 s"):
        policy.sample([prompt], [3], 2, 1.0)
    before = policy.decode(policy.sample(["a jig"], [3], 2, 1.0))
    set_length(policy, [prompt])
    audio = policy.decode(policy.sample([prompt], [3], 2, 1.0))
    own = policy.pipeline(**policy.call_arguments([prompt], [3], 2, 1.0) | {"output_type": "pt"})[0]
    assert torch.allclose(audio, own.reshape(audio.shape), atol=1e-5)
    assert abs(audio.shape[-1] / policy.sample_rate - seconds) < 0.05
    assert audio.shape[-1] != before.shape[-1]
    if policy.longest < 1e6:
        with pytest.raises(DragonError, match="at most"):
            set_length(policy, [Prompt("a jig", {"duration": 1e6})])


def test_a_prompt_is_a_text_that_keeps_its_columns_when_it_is_sent() -> None:
    prompt = Prompt("a jig", {"bpm": 90})
    sent = pickle.loads(pickle.dumps(prompt))  # noqa: S301  as accelerate sends it to other processes
    assert (sent, columns_of(sent)) == ("a jig", {"bpm": 90})
    assert type(str(prompt)) is str


def test_lists_and_tables_of_prompts_alone_are_read_as_texts(tmp_path: Path) -> None:
    """Nobody is asked what the pipeline takes."""
    (tmp_path / "songs.txt").write_text("a jig\na hymn\n")
    plain = table(tmp_path / "songs.csv", [{"path": "a.wav", "prompt": "a jig", "seed": 1, "value": 0.5}])
    assert read_prompts(tmp_path / "songs.txt", pytest.fail) == ["a jig", "a hymn"]
    assert [type(text) for text in read_prompts(plain, pytest.fail)] == [str]


def test_columns_are_read_by_their_kind_and_empty_cells_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "songs.jsonl"
    rows = [{"Prompt": "a jig", "Lyrics": "la\nla", "BPM": 90, "duration": 8}, {"prompt": "a hymn", "duration": 8.0}]
    path.write_text("\n".join(map(json.dumps, rows)))
    jig, hymn = read_prompts(path, lambda: list(COLUMNS))
    assert columns_of(jig) == {"lyrics": "la\nla", "bpm": 90, "duration": 8}
    assert columns_of(hymn) == {"duration": 8}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "a jig", "mood": "sad"}], "'mood'.*it takes: bpm, duration, lyrics;"),
        ([{"prompt": "a jig", "key": "C"}], "'key'.*it takes: bpm, duration, lyrics;"),
        ([{"prompt": "a jig", "bpm": "fast"}], "row 1: bpm 'fast' is no finite number"),
        ([{"prompt": "a jig", "bpm": 0}], "row 1: bpm = 0; it must be more than 0"),
        (
            [{"prompt": "a jig", "duration": 8}, {"prompt": "a hymn", "duration": 9}],
            "row 2: duration = 9.*8",
        ),
        ([{"prompt": "a jig", "duration": 8}, {"prompt": "a hymn"}], "row 2: duration = none"),
    ],
)
def test_what_a_pipeline_does_not_take_is_refused_by_name(tmp_path: Path, rows: Any, said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_prompts(table(tmp_path / "songs.csv", rows), lambda: ["lyrics", "bpm", "duration"])


def test_dragon_sample_writes_what_the_table_said_and_reads_it_again(saved: Path, tmp_path: Path) -> None:
    songs = table(tmp_path / "songs.csv", [{**row, "duration": 0.4} for row in SONGS[:2]])
    own = ("--pipeline", folder_of("ace-step", saved), "--diffusion-steps", "2", "--guidance", "1")
    for out, prompts in (("one", songs), ("two", tmp_path / "one" / "prompts.csv")):
        done = dragon("sample", "--prompts", prompts, "--out", tmp_path / out, *own)
        assert done.exit_code == 0, done.output
    for out in ("one", "two"):
        rows = pd.read_csv(tmp_path / out / "prompts.csv")
        assert rows[["lyrics", "bpm", "duration"]].to_numpy().tolist() == [["la 0", 80, 0.4], ["la 1", 81, 0.4]]
        assert read_audio(tmp_path / out / rows["path"][0])[0].shape[-1] == 640
    compared = dragon("compare", tmp_path / "one", tmp_path / "two", "--rewards", "vendi:logmel", "--json")
    assert compared.exit_code == 0, compared.output
    refused = dragon("sample", "--prompts", songs, "--out", tmp_path / "three")
    assert refused.exit_code == 2
    assert "'lyrics', which this pipeline does not take" in " ".join(refused.stderr.split())


def test_columns_belong_to_a_run_and_are_resumed_with(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = (
        "--epochs",
        1,
        "--prompts-per-step",
        2,
        "--demonstration-steps",
        2,
        "--lora-rank",
        2,
        "--heldout-prompts",
        2,
    )
    given = ("--reward", "vendi:logmel", "--pipeline", folder_of("ace-step", saved), "--out", out, *settings)

    def train(songs: Path, steps: int) -> Any:
        return dragon("train", *given, "--prompts", songs, "--steps", steps)

    songs = table(tmp_path / "songs.csv", SONGS)
    done = train(songs, 1)
    assert done.exit_code == 0, done.output
    kept = kept_prompts(out)
    assert {columns_of(text)["lyrics"] for text in (*kept.train, *kept.heldout)} == {row["lyrics"] for row in SONGS}
    assert train(songs, 1).exit_code == 0
    other = train(table(tmp_path / "others.csv", [{**row, "lyrics": "lo"} for row in SONGS]), 1)
    assert other.exit_code == 2
    assert "on other prompts (by prompts, their columns" in " ".join(other.stderr.split())
