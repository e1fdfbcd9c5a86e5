"""Selection at inference, with the embedded model: what is chosen, what it is worth, what is written and refused."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from dragon_rewards import compose
from dragon_rewards.errors import TooFewClipsError
from dragon_rewards.media.audio import read_audio
from dragon_rewards.media.media import Media
from dragon_train.cli.app import app
from dragon_train.loop.rollout import Stream, generate, seeds
from dragon_train.sampling.best_of import Best, best_of

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from dragon_rewards.rewards import Reward
    from dragon_train.pipelines.stable_audio import StableAudioPolicy

SONG, CLAP_SCORE, SET, VENDI = "per-song-fad:logmel@airs", "clap-score:clap", "dataset-fad:logmel@airs", "vendi:logmel"
PROMPTS = ["a slow hymn on organ", "a fast jig on fiddle", "a sad waltz for clarinet", "a march on trumpet"]
N, STEPS = 3, 2


def chosen_of(name: str, policy: StableAudioPolicy) -> Best:
    settings: dict[str, Any] = {"steps": STEPS, "guidance": 1.0, "seed": 4}
    return best_of(N, policy, compose(name), PROMPTS, **settings, on_set=lambda: None)


@pytest.fixture(scope="module")
def candidates(frozen_policy: StableAudioPolicy) -> Media:
    """All clips, set after set."""
    sets = [seeds(Stream.HELDOUT, 4, side=number, count=len(PROMPTS)) for number in range(N)]
    return Media.concatenate([generate(frozen_policy, PROMPTS, own, STEPS, 1.0).clips for own in sets])


def seeds_of(choice: list[int]) -> list[int]:
    """The seeds of the clips that set choice[p] has for each prompt p."""
    sets = [seeds(Stream.HELDOUT, 4, side=number, count=len(PROMPTS)) for number in range(N)]
    return [sets[number][prompt] for prompt, number in enumerate(choice)]


@pytest.mark.parametrize("name", [SONG, CLAP_SCORE])
def test_under_a_reward_of_clips_the_best_of_each_prompt(
    name: str, frozen_policy: StableAudioPolicy, candidates: Media
) -> None:
    best, reward = chosen_of(name, frozen_policy), compose(name)
    values = reward.value(candidates).view(N, len(PROMPTS))
    assert list(best.chosen.seeds) == seeds_of(values.argmax(0).tolist())
    assert list(best.chosen.prompts) == PROMPTS
    sign = reward.direction.sign
    assert best.metric.tolist() == pytest.approx((sign * values.amax(0)).tolist(), rel=1e-3)
    assert best.before == pytest.approx(float(sign * values[0].mean()), rel=1e-3)
    assert best.after == pytest.approx(float(sign * values.amax(0).mean()), rel=1e-3)


@pytest.mark.parametrize("name", [SET, VENDI])
def test_under_a_reward_of_sets_one_set_better_than_the_first(
    name: str, frozen_policy: StableAudioPolicy, candidates: Media
) -> None:
    """No exchange of one prompt's clip with the last set's raises what was chosen; the first set is no better."""
    best, reward = chosen_of(name, frozen_policy), compose(name)
    sign, value = reward.direction.sign, reward.subsets(candidates)
    rows = torch.tensor([_row(choice) for choice in product(range(N), repeat=len(PROMPTS))])
    values = dict(zip(map(tuple, rows.tolist()), value(rows).tolist(), strict=True))
    sets = [seeds_of([number] * len(PROMPTS)) for number in range(N)]
    choice = [[own[prompt] for own in sets].index(seed) for prompt, seed in enumerate(best.chosen.seeds)]
    found = values[tuple(_row(choice))]
    assert sign * best.after == pytest.approx(found, rel=1e-3)
    assert sign * best.before == pytest.approx(values[tuple(_row([0] * len(PROMPTS)))], rel=1e-3)
    assert sign * best.after > sign * best.before
    swaps = [[*choice[:prompt], N - 1, *choice[prompt + 1 :]] for prompt in range(len(PROMPTS))]
    assert all(values[tuple(_row(swap))] <= found + 1e-3 * abs(found) for swap in swaps)
    assert best.metric.shape == (1,)


def _row(choice: tuple[int, ...] | list[int]) -> list[int]:
    """Of all clips, those of set choice[p] for prompt p."""
    return [number * len(PROMPTS) + prompt for prompt, number in enumerate(choice)]


def test_each_clip_is_encoded_once_and_no_audio_is_kept(
    frozen_policy: StableAudioPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward: Reward = compose(SET)
    encoder: Any = reward.registry.build_encoder("logmel")
    encode, counts = encoder.encode_audio, []

    def counted(audio: torch.Tensor) -> torch.Tensor:
        counts.append(len(audio))
        frames: torch.Tensor = encode(audio)
        return frames

    monkeypatch.setattr(encoder, "encode_audio", counted)
    best = chosen_of(SET, frozen_policy)
    assert sum(counts) == N * len(PROMPTS)
    assert best.chosen.clips.media == ()


def test_too_few_prompts_are_refused_before_anything_is_sampled(frozen_policy: StableAudioPolicy) -> None:
    settings: dict[str, Any] = {"steps": STEPS, "guidance": 1.0, "seed": 0}
    with pytest.raises(TooFewClipsError, match="at least 2 clips"):
        best_of(N, frozen_policy, compose(SET), PROMPTS[:1], **settings, on_set=lambda: pytest.fail("sampled"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["best-of", *map(str, arguments)])


def test_the_verb_writes_a_folder_that_can_be_scored(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join([*PROMPTS[:2], ""]))
    options = ["--reward", CLAP_SCORE, "--diffusion-steps", STEPS, "--guidance", 1, "--seed", 4]
    out = tmp_path / "best"
    result = run(2, "--prompts", tmp_path / "prompts.txt", *options, "--out", out, "--json")
    report = json.loads(result.stdout)
    table = pd.read_csv(out / "prompts.csv")
    assert table.columns.tolist() == ["path", "prompt", "seed", "value"]
    assert table["prompt"].tolist() == PROMPTS[:2]
    assert report["after"] == pytest.approx(table["value"].mean(), rel=1e-6)
    assert report["after"] >= report["before"]
    assert [clip["path"] for clip in report["clips"]] == [str(out / name) for name in table["path"]]
    scored = CliRunner().invoke(app, ["score", CLAP_SCORE, str(out), "--json"])
    written = [row["value"] for row in json.loads(scored.stdout)]
    assert written == pytest.approx(table["value"].tolist(), abs=2e-3)  # 16 bits
    assert read_audio(out / table["path"][0])[1] == 16_000
    again = run(2, *PROMPTS[:2], *options, "--out", tmp_path / "again")
    assert f"{report['before']:.5g} first of 2, {report['after']:.5g} chosen" in again.stdout
    assert (tmp_path / "again" / "prompts.csv").read_text() == (out / "prompts.csv").read_text()


def test_what_is_refused(tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        result = run(*arguments, "--out", tmp_path / "out")
        assert (result.exit_code, result.stdout) == (2, "")
        return " ".join(result.stderr.split())

    assert "give prompts, or --prompts" in refused(2, "--reward", SONG)
    assert "cannot be read" in refused(2, "--prompts", tmp_path / "gone.txt", "--reward", SONG)
    assert "a prompt is empty" in refused(2, " ", "--reward", SONG)
    assert "at least 2 clips" in refused(2, "jig", "--reward", SET)
    assert "did you mean" in refused(2, "jig", "--reward", "per-song-fat:logmel@airs")
    assert "unknown pipeline" in refused(2, "jig", "--reward", SONG, "--pipeline", "nothing")
    assert not (tmp_path / "out").exists()
