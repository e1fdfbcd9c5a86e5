"""Clips of the untuned and the tuned model from the same prompts and seeds, and what a reward says of each pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_rewards.clips import Clips
from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_rewards.mixture import compose_mixture, parts_of
from dragon_rewards.ranking import LEFT_OUT, VALUE, check_credits, credits_of
from dragon_rewards.scoring import build_parts
from dragon_train.config import train_config
from dragon_train.demonstrations import generate
from dragon_train.embedded.prompts import prompts as embedded_prompts
from dragon_train.page.media import PageClip, page_clip
from dragon_train.prompt_lists import read_prompts, split
from dragon_train.registry import load_train_registry
from dragon_train.run import CONFIG, load_policy
from dragon_train.seeds import Stream, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.catalogue import PipelineInfo
    from dragon_train.config import TrainConfig
    from dragon_train.page.source import Results, TrainedRun


@dataclass(frozen=True)
class Judgement:
    """What a reward says of a pair.

    Attributes:
        reward: its name.
        of: `metric`, the clip's own value, or `leave-one-out`, that of the set less that of the set without the clip.
        before: of the untuned model's clip; raw.
        after: of the tuned model's.
        improvement: from one to the other, higher is better.
    """

    reward: str
    of: str
    before: float
    after: float
    improvement: float


@dataclass(frozen=True)
class Pair:
    """Two clips of one prompt and seed."""

    prompt: str
    seed: int
    before: PageClip
    after: PageClip
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class Plan:
    """The pairs of one run, before they are made; everything in it is checked.

    Attributes:
        run: whose weights are heard.
        info: the pipeline.
        rewards: what judges the pairs.
        prompts: one for each pair.
        origin: of the prompts, in words.
        seeds: one for each pair.
        steps: diffusion steps; 0 is what the pipeline suggests.
        guidance: likewise.
    """

    run: TrainedRun
    info: PipelineInfo
    rewards: tuple[Reward, ...]
    prompts: tuple[str, ...]
    origin: str
    seeds: tuple[int, ...]
    steps: int
    guidance: float

    @property
    def generation(self) -> tuple[object, ...]:
        """What the untuned model's clips depend on: runs that share it share the clips."""
        return self.info.name, self.prompts, self.seeds, self.steps, self.guidance


def plan_pairs(results: Results, count: int, rewards: Sequence[str], file: Path | None) -> list[Plan]:
    """Pairs of the runs that are named, or of all whose weights are there; none if there are none.

    Raises:
        UnknownNameError: no run has that name.
        ConfigError: a run that is named has no weights, or there are fewer prompts than pairs.
        TooFewClipsError: too few pairs for a reward of sets.
        DragonError: a reward or a pipeline is not installed.
    """
    by_name = {run.name: run for run in results.runs}
    for name in rewards:
        if name not in by_name:
            raise UnknownNameError(f"run of {results.folder}", name, by_name)
        if not by_name[name].finished:
            raise ConfigError(f"{by_name[name].folder} holds no finished weights to hear; {remedy(results)}")
    wanted = [by_name[name] for name in rewards] or [run for run in results.runs if run.finished]
    return [plan(results, run, count, file) for run in wanted] if count else []


def remedy(results: Results) -> str:
    """How to get weights."""
    if results.benchmark:
        return "run `dragon bench` with the same preset and seed into a folder of yours, and report that"
    return f"finish the run with `dragon train --out {results.folder}`"


def plan(results: Results, run: TrainedRun, count: int, file: Path | None) -> Plan:
    """The pairs of one run."""
    config = train_config(run.config, str(run.folder / CONFIG))
    info, judging = load_train_registry().pipeline(config.pipeline), parts_of(compose_mixture(config.reward))
    for reward in judging:
        check_credits(reward, count)
        build_parts(reward)
    texts, origin = heldout_prompts(config, file)
    if len(texts) < count:
        raise ConfigError(
            f"--pairs {count}: there are only {len(texts)} prompts ({origin}); lower it, or give --prompts"
        )
    preset = results.benchmark.settings["preset"] if results.benchmark else {}
    numbers = seeds(Stream.HELDOUT, config.seed, count=count)
    steps, guidance = preset.get("inference_steps", config.demonstration_steps), 1.0 if preset else config.guidance
    return Plan(run, info, tuple(judging), tuple(texts[:count]), origin, tuple(numbers), steps, guidance)


def heldout_prompts(config: TrainConfig, file: Path | None) -> tuple[Sequence[str], str]:
    """Prompts that training did not see where there are such, and their origin in words."""
    if file:
        return read_prompts(file), f"those of {file.name}"
    if config.pipeline == "embedded":
        return embedded_prompts("heldout"), "held-out prompts of the embedded pipeline"
    trained, heldout = split(config, None)
    return (heldout, "prompts that the run kept from training") if heldout else (trained, "prompts of the training")


def make_pairs(plans: Sequence[Plan], on_set: Callable[[], None]) -> dict[str, list[Pair]]:
    """Run -> its pairs. `on_set` is called after each set of clips that a model made."""
    untuned: dict[tuple[object, ...], Clips] = {}
    for each in plans:
        if each.generation not in untuned:
            untuned[each.generation] = sampled(each, None)
            on_set()
    made = {}
    for each in plans:
        made[each.run.name] = judged(each, untuned[each.generation], sampled(each, each.run.folder))
        on_set()
    return made


def sampled(plan: Plan, weights: Path | None) -> Clips:
    """The clips of the untuned model, or of the one with these weights.

    Raises:
        ConfigError: the pipeline makes no audio.
    """
    policy = load_policy(plan.info, weights)
    steps, guidance = plan.steps or policy.steps, plan.guidance or policy.guidance
    clips = generate(policy, plan.prompts, plan.seeds, steps, guidance).clips
    if not isinstance(clips, Clips):
        raise ConfigError(f"pipeline '{plan.info.name}' makes {clips.noun}s, and players are for audio; add --pairs 0")
    return clips


def judged(plan: Plan, before: Clips, after: Clips) -> list[Pair]:
    """The pairs in the order of the prompts."""
    judgements = [judge(reward, before, after) for reward in plan.rewards]
    carried = [[page_clip(audio, clips.sample_rate) for audio in clips.audio] for clips in (before, after)]
    rows = zip(plan.prompts, plan.seeds, *carried, zip(*judgements, strict=True), strict=True)
    return [Pair(*row) for row in rows]


def judge(reward: Reward, before: Clips, after: Clips) -> list[Judgement]:
    """One for each pair."""
    of, sign = VALUE if reward.kind.per_clip else LEFT_OUT, reward.direction.sign
    values: list[Tensor] = [credits_of(reward, clips).double().cpu() for clips in (before, after)]
    rows = zip(*(value.tolist() for value in values), strict=True)
    return [Judgement(reward.name, of, sign * old, sign * new, new - old) for old, new in rows]
