"""Write one blend of a run as the result of a run, which whatever loads a run's result loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.provenance import provenance
from dragon_rewards.storage.files import making, write_bytes
from dragon_rewards.weights import fingerprint_files
from dragon_train.bench.report.folders import result_files
from dragon_train.blend.weights import load_blending
from dragon_train.loop.run_folder import METRICS, Claim, kept_prompts, stored_run
from dragon_train.loop.tuning import save_tuned
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dragon_train.blend.shares import Shares


def write_blend(run: Path, shares: Shares, folder: Path, device: torch.device) -> None:
    """Write a blend to a folder as `dragon train` writes a result, with the settings, prompts and metrics of the run.

    Of a LoRA, B of each adapter is multiplied by the share of its part, and the scale that PEFT keeps stays as it is.
    If the run started from a LoRA, the blend has twice its rank.
    The provenance in config.json says under `blend` what it is a blend of.

    Args:
        run: the folder of the finished run.
        shares: one for each part of the denoiser, or one for all of it.
        folder: where the blend goes; an empty one is replaced.
        device: where the weights are blended.

    Raises:
        DragonError: the result of the run is damaged, there are more shares than blocks, or nothing can be written.
    """
    (config, made), kept, registry = stored_run(run), kept_prompts(run), load_train_registry()
    info = registry.pipeline(config.pipeline)
    blending = load_blending(info, run, len(shares), device)
    blending.become(shares)
    origin = {"run": str(run), "result": fingerprint_files("result", result_files(run)), "shares": list(shares)}
    start = {"start_from": made["start_from"]} if "start_from" in made else {}
    made_with = {**provenance(registry.plugins, device, info.weights), **start, "blend": origin}
    with making(folder) as temporary:
        Claim(config, kept.train, kept.heldout).write(temporary, made_with)
        write_bytes(temporary / METRICS, (run / METRICS).read_bytes())
        save_tuned(blending.tuning, temporary)
