"""The verb `dragon sample`, which lets a pipeline be heard."""

from __future__ import annotations

from typing import Annotated

from dragon_rewards.storage.files import check_folder
from dragon_train.cli.device import chosen_device
from dragon_train.cli.generating import chosen_pipeline, given_prompts, how_sampled
from dragon_train.cli.options import (
    Append,
    Device,
    DiffusionSteps,
    FormerSteps,
    Guided,
    Json,
    Out,
    Overwrite,
    PromptFile,
    Source,
    Texts,
    TunedBy,
    Wide,
    seed_option,
)
from dragon_train.cli.printing import print_rows
from dragon_train.sampling.clip_folder import held_folder


def sample(
    prompts: Texts = None,
    *,
    out: Out,
    overwrite: Overwrite = False,
    append: Append = False,
    file: PromptFile = None,
    pipeline: Source = None,
    run: TunedBy = None,
    diffusion_steps: DiffusionSteps = None,
    former_steps: FormerSteps = None,
    guidance: Guided = None,
    seed: Annotated[int, seed_option("Seed of the first clip; the others follow.")] = 0,
    device: Device = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Generate a clip for each prompt and write it to a file."""
    info = chosen_pipeline(pipeline, run)
    texts = given_prompts(prompts or [], file, info.name)
    check_folder(out, "--out")
    with held_folder(out, overwrite=overwrite, append=append) as folder:
        folder.check_free(texts, range(seed, seed + len(texts)))
        steps, guided = how_sampled(run, diffusion_steps, former_steps, guidance)
        where = chosen_device(device)
        from dragon_train.sampling.sampling import sample_to_folder  # imports torch: only now

        rows = sample_to_folder(info, run, texts, folder, where, steps=steps, guidance=guided, seed=seed)
    print_rows(rows, as_json=as_json, wide=wide)
