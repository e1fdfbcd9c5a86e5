"""Write a run as two folders of clips: what the untuned and the tuned model make of the same prompts and seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dragon_rewards.errors import ConfigError
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.storage.files import check_folder, making, write_text
from dragon_rewards.terminal.progress import progress
from dragon_rewards.weights import fingerprint_files
from dragon_train.bench.report.paired_comparisons import generation_of, remedy
from dragon_train.bench.report.source import read_results
from dragon_train.loop.run_folder import ADAPTER, DENOISER
from dragon_train.sampling.clip_folder import ClipFolder
from dragon_train.sampling.sampling import sampled

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from dragon_train.bench.report.paired_comparisons import Generation
    from dragon_train.bench.report.source import Results, TrainedRun

PAIRS, UNTUNED, TUNED = "pairs", "untuned", "tuned"
MADE = "made.json"


class Made(Struct, frozen=True, forbid_unknown_fields=True):
    """The record beside clips that were made, by which they are known again.

    Attributes:
        origin: what the clips depend on.
        files: their names.
    """

    origin: dict[str, Any]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """The clips of one model of a run, untuned or tuned.

    Attributes:
        folder: where they are, or will be.
        generation: what they are made from.
        weights: folder of the run that tuned the model; None for the untuned one.
    """

    folder: Path
    generation: Generation
    weights: Path | None

    @property
    def origin(self) -> dict[str, Any]:
        """The pipeline, weights, prompts, seeds and settings that the clips depend on, as their record has them."""
        given = self.generation
        tuned = self.weights and fingerprint_files(TUNED, result_files(self.weights))
        settings = {"pipeline": given.info.name, "weights": tuned or given.start or UNTUNED}
        drawn = {"prompts": list(given.prompts), "seeds": list(given.seeds)}
        return settings | {"steps": given.steps, "guidance": given.guidance} | drawn

    @property
    def complete(self) -> bool:
        """True if the clips are there and were made from exactly these prompts, seeds, settings and weights.

        Raises:
            DragonError: the folder is there and holds no record of such clips.
        """
        if not self.folder.exists():
            return False
        made = read_json(self.folder / MADE, Made, "the folder is none of this command's clips: move it away")
        return made.origin == self.origin and all((self.folder / name).is_file() for name in made.files)

    def make(self, device: torch.device, on_clip: Callable[[], object]) -> None:
        """Write the clips, `prompts.csv` and the record: all of them, or nothing if it is interrupted.

        Args:
            device: where the clips are generated.
            on_clip: is called after each clip.
        """
        given = self.generation
        policy = given.load(self.weights, device)
        rows = [{"prompt": str(prompt), "seed": seed} for prompt, seed in zip(given.prompts, given.seeds, strict=True)]
        with making(self.folder) as out:  # in place of clips of other prompts, seeds or weights
            latents = sampled(policy, given.prompts, given.seeds, *given.settings(policy), on_clip)
            written = ClipFolder(out).write(policy, latents, rows, range(len(rows)))
            record = {"origin": self.origin, "files": [Path(row["path"]).name for row in written]}
            write_text(out / MADE, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def run_folders(path: Path, count: int, device: torch.device, prompts: Path | None = None) -> tuple[Path, Path]:
    """Return the folders of clips of the untuned and of the tuned model of a run, and make the clips that are missing.

    Args:
        path: folder of the run.
        count: clips of each model.
        device: where clips are generated.
        prompts: file of prompts; None takes held-out ones where there are some (`contents.heldout_prompts`).

    Raises:
        ConfigError: the run is not finished, or one of a benchmark is to be named; it makes no audio; there are fewer
            prompts than clips; or something else is where the clips go. All before any model is loaded.
    """
    results = read_results(path)
    run = audible(results)
    given = generation_of(results, run, count, prompts)
    sides = Side(path / PAIRS / UNTUNED, given, None), Side(path / PAIRS / TUNED, given, path)
    missing = [side for side in sides if not side.complete]
    if missing:
        check_folder(path / PAIRS, "--out")
        given.require_weights()
    with progress("pairs", "clips", count * len(missing)) as bar:
        for side in missing:
            side.make(device, bar.advance)
    return sides[0].folder, sides[1].folder


def audible(results: Results) -> TrainedRun:
    """Return the one run of a folder, if its models can be heard.

    What a pipeline makes is known without loading it: what the encoders of its reward take.

    Raises:
        ConfigError: the folder holds a benchmark, the run is not finished, or it makes no audio.
    """
    run = results.runs[0]
    if results.benchmark:
        raise ConfigError(f"'{results.folder}' is a benchmark: name the folder of one of its runs, as '{run.folder}'")
    if not run.finished:
        raise ConfigError(f"'{run.folder}' holds no finished weights to hear; {remedy(results)}")
    encoders = [part.encoder for part in compose_mixture(run.config.reward).parts]
    if not all(Modality.AUDIO in encoder.modalities for encoder in encoders):
        raise ConfigError(f"'{run.folder}' makes no audio to listen to; `dragon report` shows what it makes")
    return run


def result_files(folder: Path) -> list[Path]:
    """Return the paths of the weights that a finished run has stored."""
    adapter = folder / ADAPTER
    return [adapter] if adapter.is_file() else [path for path in (folder / DENOISER).rglob("*") if path.is_file()]
