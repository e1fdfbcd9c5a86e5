"""`dragon export-reward`: modules that are imported and called as each trainer does."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.parts import RATE, noise
from support.trainers import Sample, call_as_flow_factory, call_as_flow_grpo, call_as_trl, flow_factory
from typer.testing import CliRunner

from dragon_rewards import AudioError, Clips, ComposeError, DragonError, TooFewClipsError, compose
from dragon_rewards.export import FlowGrpoReward, TrlReward, flow_factory_reward
from dragon_rewards.ranking import credits_of
from dragon_train.cli.app import app
from dragon_train.cli.verbs import export_reward, listing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor
    from typer.testing import Result

pytestmark = pytest.mark.usefixtures("encoder")
FAD, SET_FAD, VENDI, CLAP_SCORE = "per-song-fad:two@tunes", "dataset-fad:two@tunes", "vendi:two", "clap-score:two"
REWARDS = (FAD, SET_FAD, VENDI, CLAP_SCORE)
PROMPTS = ["slow jig", "fast jig", "slow air", "fast air"]
VERBS = (listing, export_reward)  # their imports add them to the app, which takes no lone verb's name


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export-reward", *map(str, arguments)])


@pytest.fixture(name="written")
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module where it can be imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, trainer: str, module: str) -> Any:
        result = run(name, "--for", trainer, "--out", tmp_path / f"{module}.py")
        assert (result.exit_code, result.stdout) == (0, ""), result.stderr
        monkeypatch.delitem(sys.modules, module, raising=False)
        return import_module(module)

    return write


@pytest.fixture(name="installed")
def flow_factory_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in flow_factory().items():
        monkeypatch.setitem(sys.modules, name, module)


def expected(name: str, audio: Tensor, prompts: list[str] = PROMPTS) -> Any:
    return pytest.approx(credits_of(compose(name), Clips(audio, RATE, prompts)).tolist(), rel=1e-4, abs=1e-6)


def decode(completion_ids: Sequence[Sequence[int]]) -> list[Tensor]:
    """Token n is the n-th of some noises."""
    return [noise(8)[ids[0]] for ids in completion_ids]


@pytest.mark.parametrize("name", REWARDS)
def test_flow_grpo_is_given_scores_by_a_plain_function(name: str, written: Any) -> None:
    module = written(name, "flow-grpo", "for_flow_grpo")
    (variable,) = (key for key in vars(module) if key.endswith(("tunes", "two")))
    assert f'"{variable}": {variable},' in module.__doc__
    module.SAMPLE_RATE = RATE
    audio = noise(4)
    assert call_as_flow_grpo(getattr(module, variable), audio, PROMPTS) == expected(name, audio)
    stereo = audio[:, None].expand(-1, 2, -1).numpy()
    assert call_as_flow_grpo(getattr(module, variable), stereo, PROMPTS) == expected(name, audio)


@pytest.mark.parametrize("name", REWARDS)
def test_trl_is_given_a_number_per_completion(name: str, written: Any) -> None:
    module = written(name, "trl", "for_trl")
    (reward,) = (value for value in vars(module).values() if isinstance(value, TrlReward))
    with pytest.raises(NotImplementedError):
        reward.decode([[1]])
    reward.decode, reward.sample_rate = decode, RATE
    ids = [[3, 9], [0], [5, 1, 1], [3]]
    audio = torch.stack(decode(ids))
    assert call_as_trl(reward, list(PROMPTS), ids, {"level": [1, 2, 3, 4]}) == expected(name, audio)
    assert reward.__name__ == name.replace(":", "+")


def test_the_prompt_of_a_conversation_is_its_last_message() -> None:
    reward, ids = TrlReward(CLAP_SCORE, decode, RATE), [[0], [1]]
    texts = call_as_trl(reward, ["slow jig", "fast air"], ids, {})
    parts = [{"type": "image"}, {"type": "text", "text": "fast"}, {"type": "text", "text": "air"}]
    talks = [
        [{"role": "system", "content": "compose"}, {"role": "user", "content": "slow jig"}],
        [{"role": "user", "content": parts}],
    ]
    assert call_as_trl(reward, talks, ids, {}) == texts
    assert texts[0] != texts[1]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", REWARDS)
def test_flow_factory_judges_clips_alone_and_sets_by_group(name: str, written: Any) -> None:
    written(name, "flow-factory", "for_flow_factory")
    audio, prompts = noise(8), PROMPTS[:1] * 4 + PROMPTS[1:2] * 4
    samples = [Sample(prompt, clip[None], RATE) for prompt, clip in zip(prompts, audio, strict=True)]
    rewards = call_as_flow_factory("for_flow_factory.Reward", samples, group=4)
    assert rewards[:4] == expected(name, audio[:4], prompts[:4])
    assert rewards[4:] == expected(name, audio[4:], prompts[4:])


@pytest.mark.usefixtures("installed")
def test_flow_factory_may_hand_over_clips_of_different_lengths(written: Any) -> None:
    written(FAD, "flow-factory", "for_flow_factory")
    clips = [noise(1)[0], noise(1, seed=3)[0, :4000]]
    samples = [Sample("jig", clip[None], RATE) for clip in clips]
    rewards = call_as_flow_factory("for_flow_factory.Reward", samples, group=2)
    assert rewards == pytest.approx(compose(FAD).score(clips, RATE).tolist(), rel=1e-4)


@pytest.mark.usefixtures("installed")
def test_samples_without_audio_are_refused(written: Any) -> None:
    written(FAD, "flow-factory", "for_flow_factory")
    with pytest.raises(AudioError, match="the samples have none"):
        call_as_flow_factory("for_flow_factory.Reward", [Sample("jig", image=object())], group=1)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(AudioError, match=r"\(3, 8, 8\)"):
        FlowGrpoReward(FAD, RATE)(torch.rand(4, 3, 8, 8), PROMPTS, {})
    with pytest.raises(TooFewClipsError, match="takes at least 3, and there are 2"):
        FlowGrpoReward(SET_FAD, RATE)(noise(2), PROMPTS[:2], {})
    with pytest.raises(AudioError, match="silent"):
        FlowGrpoReward(FAD, RATE)(torch.zeros(1, RATE), PROMPTS[:1], {})
    with pytest.raises(ComposeError):
        FlowGrpoReward("vendi:two@tunes", RATE)
    with pytest.raises(DragonError, match="flow_factory': import this where Flow-Factory is installed"):
        flow_factory_reward(FAD)


def test_no_gradient_is_kept() -> None:
    audio = noise(4).requires_grad_()
    scores, metadata = FlowGrpoReward(SET_FAD, RATE)(audio, PROMPTS, {})
    assert (audio.grad, metadata) == (None, {})
    assert all(type(score) is float for score in scores)


def test_the_module_is_printed_where_no_file_is_named() -> None:
    result = run(FAD, "--for", "flow-factory")
    assert 'reward_model: "per_song_fad_two_tunes.Reward"' in result.stdout
    compile(result.stdout, "printed", "exec")


@pytest.mark.parametrize("out", ["reward.txt", "my-reward.py", "1.py"])
def test_files_that_cannot_be_imported_are_refused(out: str, tmp_path: Path) -> None:
    result = run(FAD, "--for", "trl", "--out", tmp_path / out)
    assert result.exit_code == 2
    assert "give --out one such as per_song_fad_two_tunes.py" in " ".join(result.stderr.split())
    assert list(tmp_path.glob("*.py")) == []
    assert "did you mean" in run("per-song-fat:two@tunes", "--for", "trl").stderr
