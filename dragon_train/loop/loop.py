"""Tune a pipeline toward a reward: the training loop of DRAGON (arXiv 2504.15217, algorithm 1), for any objective.

`dragon_train.session` builds the parts and calls `train`, which repeats `Training.step`. To follow one step, read on in
this order:

1. `objectives.preference` (or `raft`, `direct`): the objective's `collect` asks a `StepRollout` for clips of the step's
   prompts. Of an objective that learns from preferences, the reward splits them into D+ and D-.
2. `loop.rollout`: the policy samples and decodes these clips, and the encoders of the reward embed them; one that is
   the pipeline's own autoencoder reads latents instead.
3. `loop.learner`: `PolicyLearner.learn` takes gradient steps on what `collect` returned, each of which minimises the
   objective's `losses`.

After that `loop.diagnostics` may look at the denoiser, and `loop.heldout` may compare the policy with the untuned
model; `loop.run` records the step.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards import compose
from dragon_rewards.compute.devices import is_out_of_memory
from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.guard import reason_of
from dragon_rewards.media.media import Media
from dragon_rewards.metrics import vendi_score
from dragon_rewards.metrics.frames import clip_means
from dragon_rewards.mixture import Mixture, mean_and_spread
from dragon_rewards.rewards import warn_of_cut_prompts
from dragon_rewards.terminal.printable import counted
from dragon_train.loop import diagnostics, heldout
from dragon_train.loop.clips import Listening
from dragon_train.loop.feasible import ClipConstraints, check_judges_clips
from dragon_train.loop.learner import PolicyLearner, check_layers
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import Clock, Context, StepRollout, latent_encoder, suggested
from dragon_train.loop.run import Run, load_pool, pool_state
from dragon_train.loop.run_folder import Claim
from dragon_train.loop.shares import ShareConstraints
from dragon_train.loop.start import check_start, find_start, take_start
from dragon_train.loop.tuning import load_tuned, save_tuned
from dragon_train.pipelines.lengths import set_length
from dragon_train.pipelines.loading import check_checkpointing, prepared
from dragon_train.protocols import Following

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward, Reward
    from dragon_train.config import TrainConfig
    from dragon_train.loop.run import Checkpoint
    from dragon_train.protocols import Generations, Objective, Policy

    Row = dict[str, float]

RATE = 2.0  # half a spread below its level for one step, and a constraint counts as much as the reward


def train(
    config: TrainConfig,
    policy: Policy,
    reward: AnyReward,
    objective: Objective[Any],
    prompts: Sequence[str],
    out: Path,
    on_step: Callable[[Row], None],
    heldout_prompts: Sequence[str] = (),
    device: torch.device | None = None,
    *,
    unseen: Sequence[str] = (),
) -> None:
    """Tune `policy` in place toward `reward`; continue from the checkpoint in `out` if there is one.

    Every random draw is a function of (seed, step), so a resumed run equals an uninterrupted one. A run may be resumed
    on another device. If the run in `out` is finished, the policy is given its result; with more steps than it had it
    goes on, to the result of a run of so many.

    With `start_from` the untuned model, which is the reference, is the policy with these weights.

    Args:
        config: the settings of the run.
        policy: the pipeline that is tuned.
        reward: the reward that is maximised.
        objective: what the policy learns from its generations, and by which loss.
        prompts: the texts that the policy is tuned on; at least as many as a step takes.
        out: the folder of the run.
        on_step: is called with the figures of each step, once they are on disk.
        heldout_prompts: the texts on which the policy is compared with the untuned model while it runs.
        device: where it computes; None is the accelerator that torch has.
        unseen: further texts that the run never sees; the folder records them beside the held-out ones.

    Raises:
        ConfigError: fewer prompts than a step takes, a tracker that is not there, gradient checkpointing of a denoiser
            that cannot do it, or another run is in the folder.
        DragonError: a reward failed, the loss is not finite, memory or disk ran out; the last step's checkpoint stays.
    """
    if len(prompts) < config.prompts_per_step:
        raise ConfigError(f"prompts_per_step = {config.prompts_per_step}, of only {counted(len(prompts), 'prompt')}")
    set_length(policy, [*prompts, *heldout_prompts])
    config = resolved(config, policy)
    check_checkpointing(policy, config)
    check_start(config, out)
    processes = Processes(config.precision, config.trackers, out, device, recomputes=config.gradient_checkpointing)
    run = Run(Claim(config, prompts, [*heldout_prompts, *unseen]), out, processes.device, writes=processes.leads)
    if run.finished:
        load_tuned(policy, out)
        return
    if processes.leads:
        judging = [*reward.parts, *map(compose, [*config.heldout, *config.at_least])]
        warn_of_cut_prompts(judging, [*prompts, *heldout_prompts], processes.device)
    context = Context(config, policy, prompts, processes, Clock(processes.device))
    training = Training(context, reward, objective, run)
    training.compare_on(heldout_prompts)
    training.listen_to([*heldout_prompts, *prompts])
    for step in range(training.finished_steps, config.steps):
        if training.stale():
            break
        on_step(training.step(step))
    training.finish()


class Training:
    """The state of one run between its steps, and the step itself.

    Attributes:
        learner: the policy, its reference and the optimiser.
        pool: the last `2 * config.pool` sets of clips, as embeddings without their media.
        constraints: the rewards that are to stay at a level, with their multipliers.
        best: the best weights so far, their win rate and the comparisons since, if the run may stop early.
        heldout: the comparison with the untuned model, if there is one.
        diagnostics: what is looked at in the denoiser after each step, if the run asks for it.
        listening: the clips by which the run can be heard, if it asks for them.
    """

    def __init__(self, context: Context, reward: AnyReward, objective: Objective[Any], run: Run) -> None:
        config, processes = context.config, context.processes
        self.context, self.reward, self.objective, self.run = context, reward, objective, run
        self.config, self.processes = config, processes
        torch.manual_seed(config.seed)  # initial values of LoRA adapters
        begun = take_start(context.policy, config)
        self.learner = PolicyLearner(prepared(context.policy, config, processes.device), config, processes, begun)
        self.pool: deque[Media] = load_pool([], 2 * config.pool, processes.device)
        self.constraints = make_constraints(config, reward)
        run.latent_encoders = self.latent_encoders()
        start = find_start(config)
        run.start = start.identity if start else ""
        self.best: dict[str, Any] = {}
        state = run.resume()
        if state is not None:
            self.restore(state)
        self.heldout: heldout.Heldout | None = None
        self.listening: Listening | None = None
        self.diagnostics = diagnostics.start(self.learner, context.prompts) if config.diagnostics else None
        processes.start_trackers({key: getattr(config, key) for key in config.__dataclass_fields__})

    def restore(self, state: Checkpoint) -> None:
        """Restore the state of the learner, the pool, the constraints and the best weights from a checkpoint.

        Raises:
            DragonError: it is the checkpoint of another pipeline or another trainer.
        """
        try:
            self.learner.load(state)
            self.pool = load_pool(state.pool, 2 * self.config.pool, self.processes.device)
            self.constraints.load(state.constraints)
            if state.best:
                check_layers(state.best["weights"], self.learner.tuning)
                self.best = {**state.best, "rate": float(state.best["rate"]), "waited": int(state.best["waited"])}
        except (DragonError, ValueError, LookupError, TypeError, RuntimeError, AttributeError) as error:
            raise DragonError(
                f"'{self.run.checkpoint}' does not fit this run ({error}); delete it to start again"
            ) from error

    @property
    def finished_steps(self) -> int:
        """The number of steps that are done and on disk."""
        return len(self.run.rows)

    def latent_encoders(self) -> list[str]:
        """Return the names of the encoders that read latents of what is maximised or kept at a level."""
        policy, device = self.learner.policy, self.processes.device
        judging = [*self.reward.parts, *self.constraints.rewards]
        return sorted({part.encoder.name for part in judging if latent_encoder(part, policy, device) is not None})

    def compare_on(self, prompts: Sequence[str]) -> None:
        """Generate with the untuned model on these prompts, and compare the policy with it from now on."""
        if prompts:
            watched = [compose(name) for name in self.config.heldout]
            self.heldout = heldout.start(self.learner, prompts, watched, self.reward.parts)

    def listen_to(self, prompts: Sequence[str]) -> None:
        """Make clips of the first of these prompts from now on, every few steps, if the run asks for it."""
        if self.config.clips_every:
            self.listening = Listening(self.learner, prompts[: self.config.clips], self.run.folder)

    def step(self, step: int) -> Row:
        """Take one step: generate and judge, learn, compare, record; return its figures, which are on disk by then."""
        target = self.constraints.around(self.reward)
        rollout = StepRollout(self.context, target, step, self.pool, self.learner)
        with self.explained(step):
            untuned = self.untuned(rollout)
            experience = self.objective.collect(rollout)
            with self.context.clock.phase("learning"):
                learnt = self.learner.learn(self.objective, experience, rollout.generator)
                if isinstance(self.objective, Following):
                    self.objective.after(self.learner, step + 1)
            clips = Media.concatenate([made.clips for made in rollout.made])
            row = {"step": step + 1, **experience.figures, **learnt, "vendi": self.diversity(clips)}
            row |= parts(target, clips)
            row |= self.constraints.update(rollout.made[0].clips, untuned.clips) if untuned else {}
            row |= self.diagnosis()
            row |= self.comparison(step)
            if self.listening:
                with self.context.clock.phase("comparing"):
                    self.listening.after(step + 1)
        self.pool.extend(made.clips for made in rollout.made)
        row |= self.context.clock.row()
        self.run.record(row, self.state())
        self.processes.log(row)
        return row

    @contextmanager
    def explained(self, step: int) -> Iterator[None]:
        """Turn a failure inside the block into one that says what it was, what is kept, and what to do."""
        kept = f"steps 1 to {step} are kept in {self.run.folder}" if step else "no step was finished"
        try:
            yield
        except DragonError as error:
            raise DragonError(f"step {step + 1}: {error} ({kept})") from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DragonError(
                f"step {step + 1}: out of memory ({error}); lower sampling_batch or microbatch, or set "
                f'gradient_checkpointing = true or precision = "bf16" ({kept})'
            ) from error
        except SystemExit as error:  # of a pipeline or an objective: a reward's is told by its name
            parts = f"pipeline '{self.config.pipeline}' or objective '{self.config.objective}'"
            raise DragonError(f"step {step + 1}: {parts} failed: {reason_of(error)} ({kept})") from error

    def untuned(self, rollout: StepRollout) -> Generations | None:
        """Return what the untuned model makes of the step's prompts from the seeds of its first set of clips.

        Levels of constraints are taken from it, as the chance of other prompts is greater than what a step changes.
        Without constraints it is not made.
        """
        if not self.constraints.rewards:
            return None
        with torch.no_grad(), self.learner.tuning.reference():
            untuned = rollout.generated(0)
        self.constraints.begin(untuned.clips)
        return untuned

    def diversity(self, clips: Media) -> float:
        """Return the Vendi score of the step's clips, in the space of the first encoder of the reward."""
        frames = self.reward.parts[0].embeddings(clips).frames
        return float(vendi_score(clip_means(frames, frames[0].shape[1])))

    def diagnosis(self) -> Row:
        """Return the figures of the denoiser after the step, if the run asks for them."""
        if self.diagnostics is None:
            return {}
        with self.context.clock.phase("comparing"):
            return self.diagnostics.row()

    def comparison(self, step: int) -> Row:
        """Compare on the held-out prompts, if this step is to; a new best win rate keeps its weights."""
        last = step + 1 == self.config.steps
        if self.heldout is None or not (last or (step + 1) % self.config.heldout_every == 0):
            return {}
        with self.context.clock.phase("comparing"):
            figures = self.heldout.compare(self.learner)
        rate = figures.get("heldout_win_rate")
        if self.config.patience and rate is not None:
            waited = self.best.get("waited", 0) + 1
            better = rate > self.best.get("rate", -1.0)
            with self.learner.averaged():
                fresh = {"rate": rate, "waited": 0, "weights": copied(self.learner.tuning.weights())}
            self.best = fresh if better else {**self.best, "waited": waited}
        return figures

    def stale(self) -> bool:
        """Return whether the held-out win rate has not improved for `patience` comparisons."""
        waited: int = self.best.get("waited", 0)
        return 0 < self.config.patience <= waited

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint needs to continue from here."""
        return {
            **self.learner.state(),
            "pool": pool_state(self.pool),
            "constraints": self.constraints.state(),
            "best": self.best,
        }

    def finish(self) -> None:
        """Give the policy its result and store it: the best weights or the average, if the run has one, or the last."""
        if self.best:
            self.learner.tuning.load(self.best["weights"])
        elif self.learner.average:
            self.learner.average.copy_to(self.learner.tuning.parameters)
        if self.processes.leads:
            save_tuned(self.learner.tuning, self.run.folder)
            self.run.finish()
        self.processes.close()


def make_constraints(config: TrainConfig, reward: AnyReward) -> Constraints | ShareConstraints | ClipConstraints:
    """Build the constraints of a run beside what it maximises.

    Raises:
        ConfigError: they are of clips, and one of them judges sets; or they rank clips, and the reward judges sets.
    """
    rewards = [compose(name) for name in config.at_least]
    if not rewards or config.constraint == "mean":
        return Constraints(rewards)
    for each in (*rewards, *([reward] if config.constraint == "clip" else [])):
        check_judges_clips(each, f'constraint = "{config.constraint}"', 'use constraint = "mean"')
    return ShareConstraints(rewards) if config.constraint == "share" else ClipConstraints(rewards)


class Constraints:
    """Lagrange multipliers of rewards that are to stay at or above a level, each in the mixture by a weight of its own.

    The level is the reward of what the untuned model makes of a step's prompts from the same seeds. After each step the
    multiplier of a reward rises by RATE times how far the step's clips fell short of the level, in units of its spread
    then, and falls, never below 0, by how far they exceeded it (dual ascent; Boyd and Vandenberghe, Convex
    Optimization, section 5.4):

        weight <- max(0, weight + RATE (level - mean) / spread)

    Attributes:
        rewards: the rewards under constraint.
        weights: the multiplier of each.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        self.rewards = rewards
        self.weights: list[float] = [0.0] * len(rewards)

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Restore what `state` returned; an empty one, as of runs from before there were constraints, changes nothing.

        Raises:
            ValueError, KeyError: it is the state of other constraints.
        """
        if not state:
            return
        if len(state["weights"]) != len(self.rewards):
            raise ValueError("its constraints are others")
        self.weights = state["weights"]

    def around(self, reward: AnyReward) -> AnyReward:
        """Return what is maximised now: `reward`, and the constraints by their multipliers.

        Constraints of multiplier 0 are in it too: clips are encoded for what is maximised, and `update` judges them by
        all.
        """
        if not self.rewards:
            return reward
        return Mixture((*reward.parts, *self.rewards), (*reward.weights, *self.weights))

    def begin(self, untuned: Media) -> None:
        """Take nothing from the untuned model's clips yet: multipliers are adapted after a step."""

    def update(self, clips: Media, untuned: Media) -> dict[str, float]:
        """Adapt the multipliers to the clips of a step; return the mean, level and multiplier of each constraint.

        Args:
            clips: what the policy made.
            untuned: what the untuned model makes of the same prompts from the same seeds.
        """
        figures: dict[str, float] = {}
        for place, reward in enumerate(self.rewards):
            (mean, spread), (level, _) = mean_and_spread(reward, clips), mean_and_spread(reward, untuned)
            self.weights[place] = max(0.0, self.weights[place] + RATE * (level - mean) / spread)
            named = {"reward": mean, "level": level, "multiplier": self.weights[place]}
            figures |= {f"{key} {reward.name}": value for key, value in named.items()}
        return figures

    def state(self) -> dict[str, list[float]]:
        """Return the multipliers, for a checkpoint."""
        return {"weights": [*self.weights]}


def parts(reward: AnyReward, clips: Media) -> Row:
    """Return the mean of each reward that a mixture adds up, in its own unit; nothing for a single reward."""
    if reward.parts == (reward,):
        return {}
    return {f"reward {part.name}": mean_and_spread(part, clips)[0] for part in reward.parts}


def resolved(config: TrainConfig, policy: Policy) -> TrainConfig:
    """Return the configuration with what the pipeline suggests in place of settings that are 0."""
    steps, guidance = suggested(policy, config.demonstration_steps, config.guidance)
    return replace(
        config,
        demonstration_steps=steps,
        guidance=guidance,
        sampling_batch=config.sampling_batch or policy.batch,
    )


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy weights, as they are now, to the CPU."""
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
