"""Decide what the pairs of a run are made from, and check it before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError, TooFewClipsError, UnknownNameError
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.scoring import build_parts
from dragon_rewards.terminal.printable import counted
from dragon_rewards.weights import require_weights
from dragon_train.embedded.prompts import prompts as embedded_prompts
from dragon_train.judges import judges_of
from dragon_train.loop.rollout import Stream, seeds, suggested
from dragon_train.loop.run_folder import kept_prompts
from dragon_train.loop.start import load_reference, start_of
from dragon_train.prompts import EMBEDDED, prompts_for
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from dragon_rewards.rewards import Reward
    from dragon_train.bench.report.source import Results, TrainedRun
    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.protocols import Policy


@dataclass(frozen=True)
class Generation:
    """What the untuned and the tuned model are both given to generate clips from.

    Attributes:
        info: the pipeline.
        run: the folder of the run, which knows what it started from: this is the untuned model.
        start: a fingerprint of what it started from; empty for the pipeline as it is.
        prompts: one for each pair.
        origin: of the prompts, in words.
        seeds: one for each pair.
        steps: diffusion steps; 0 is what the pipeline suggests.
        guidance: classifier-free guidance, 1 is none; 0 is what the pipeline suggests.
    """

    info: PipelineInfo
    run: Path
    start: str
    prompts: tuple[str, ...]
    origin: str
    seeds: tuple[int, ...]
    steps: int
    guidance: float

    @property
    def key(self) -> tuple[object, ...]:
        """The values that the untuned model's clips depend on: runs with the same values share the clips."""
        return self.info.name, self.start, self.prompts, self.seeds, self.steps, self.guidance

    def load(self, weights: Path | None, device: torch.device) -> Policy:
        """Load the model whose weights are in the folder of a run, or the untuned one.

        Raises:
            DragonError: it cannot be loaded.
        """
        from dragon_train.loop.tuning import load_policy

        if weights is None:
            return load_reference(self.info, self.run, device, self.prompts)
        return load_policy(self.info, weights, device, self.prompts)

    def settings(self, policy: Policy) -> tuple[int, float]:
        """Return diffusion steps and guidance, where 0 stands for what the policy suggests."""
        return suggested(policy, self.steps, self.guidance)

    def require_weights(self) -> None:
        """Refuse a pipeline whose weights are not on this machine.

        Raises:
            WeightsError: says how to get them.
        """
        require_weights(f"pipeline '{self.info.name}'", self.info.weights)


@dataclass(frozen=True)
class PairedComparison:
    """The comparison of one run's tuned model with the untuned one, before the pairs are made.

    Attributes:
        run: whose tuned model makes one clip of each pair.
        rewards: what judges the pairs.
        generation: what the pairs are made from.
    """

    run: TrainedRun
    rewards: tuple[Reward, ...]
    generation: Generation


def paired_comparisons(
    results: Results, count: int, rewards: Sequence[str], file: Path | None, device: torch.device
) -> list[PairedComparison]:
    """Decide the comparisons of the runs that are named, or of all whose weights are there; none if `count` is 0.

    Args:
        results: what the folder holds.
        count: pairs of each run.
        rewards: names of runs; none means all that have weights.
        file: of prompts; None takes held-out ones.
        device: where the encoders of the rewards are built.

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
    return [paired_comparison(results, run, count, file, device) for run in wanted] if count else []


def remedy(results: Results) -> str:
    """Say what to do to get the weights that a folder of results lacks."""
    if results.benchmark:
        return "run `dragon bench` with the same preset and seed into a folder of yours, and report that"
    return f"finish the run with `dragon train --out {results.folder}`"


def paired_comparison(
    results: Results, run: TrainedRun, count: int, file: Path | None, device: torch.device
) -> PairedComparison:
    """Decide the comparison of one run, by its rewards and by judges that it was not tuned toward.

    Arguments and errors are the same as for `paired_comparisons`.
    """
    generation = generation_of(results, run, count, file)
    generation.require_weights()
    judging = [*compose_mixture(run.config.reward).parts, *judges_of(run.config)]
    for reward in judging:
        reward.require_weights()
        check_pairs(reward, count)
        build_parts(reward, device)
    return PairedComparison(run, tuple(judging), generation)


def check_pairs(reward: Reward, count: int) -> None:
    """Refuse fewer pairs than it takes to tell what each is worth under a reward of sets.

    Raises:
        TooFewClipsError: says how many it takes.
    """
    least = 1 if reward.kind.per_clip else reward.reduction.minimum_clips + 1
    if count < least:
        raise TooFewClipsError(
            f"--pairs {count}: '{reward.name}' judges sets of {least - 1} clips and more, and a pair by what its set "
            f"loses without it: give --pairs {least} or more, or --pairs 0 for a page without players"
        )


def generation_of(results: Results, run: TrainedRun, count: int, file: Path | None) -> Generation:
    """Decide what the pairs of one run are made from; the runs of a benchmark are heard as it compared them.

    Args:
        results: what the folder holds.
        run: one of its runs.
        count: pairs.
        file: of prompts; None takes held-out ones.

    Raises:
        ConfigError: there are fewer prompts than pairs, or what the run started from is not there any more.
        UnknownNameError: the pipeline is not installed.
    """
    config = run.config
    info = load_train_registry().pipeline(config.pipeline)
    texts, origin = heldout_prompts(run.folder, config, file)
    if len(texts) < count:
        raise ConfigError(f"--pairs {count}, of only {counted(len(texts), 'prompt')} ({origin}); ask for fewer pairs")
    preset = results.benchmark.settings.thoroughness if results.benchmark else None
    numbers = seeds(Stream.HELDOUT, config.seed, count=count)
    steps = preset.inference_steps if preset else config.demonstration_steps
    guidance = preset.guidance if preset else config.guidance  # 1 in benchmarks from before they kept it
    start = start_of(run.folder)
    return Generation(
        info, run.folder, start.identity if start else "", tuple(texts[:count]), origin, tuple(numbers), steps, guidance
    )


def heldout_prompts(folder: Path, config: TrainConfig, file: Path | None) -> tuple[Sequence[str], str]:
    """Return prompts that training did not see, or its own where it left none out, and their origin in words.

    Args:
        folder: of the run.
        config: of the run.
        file: of prompts, which are then taken in any case.
    """
    if file:
        return prompts_for(config.pipeline, file), f"prompts of {file.name}"
    kept = kept_prompts(folder)
    if config.pipeline == EMBEDDED and kept.train == tuple(embedded_prompts("train")):
        return embedded_prompts("exam"), "exam prompts of the embedded pipeline"
    if kept.heldout:
        return kept.heldout, "prompts that the run kept from training"
    return kept.train, "prompts of the training"
