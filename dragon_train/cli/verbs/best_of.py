"""The verb `dragon best-of`: generate several clips for each prompt, and keep the best by any reward."""

from __future__ import annotations

from typing import Annotated

import typer

from dragon_rewards.rewards import compose
from dragon_rewards.storage.files import check_folder
from dragon_rewards.terminal.printable import json_text
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.completion import rewards
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


def best_of(
    n: Annotated[int, typer.Argument(min=2, help="Clips that are generated for each prompt.")],
    prompts: Texts = None,
    *,
    reward: Annotated[
        str, typer.Option(help="Name of the reward that chooses, of clips or of whole sets.", autocompletion=rewards)
    ],
    out: Out,
    overwrite: Overwrite = False,
    append: Append = False,
    file: PromptFile = None,
    pipeline: Source = None,
    run: TunedBy = None,
    diffusion_steps: DiffusionSteps = None,
    former_steps: FormerSteps = None,
    guidance: Guided = None,
    seed: Annotated[int, seed_option("What the seeds of all clips are drawn from.")] = 0,
    device: Device = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Generate several clips for each prompt and keep the one, or the set of one each, that a reward likes best."""
    info, composed = chosen_pipeline(pipeline, run), compose(reward)
    texts = given_prompts(prompts or [], file, info.name)
    check_folder(out, "--out")
    composed.require_weights()
    composed.check_count(len(texts))
    with held_folder(out, overwrite=overwrite, append=append) as folder:
        folder.check_free(texts, folder.numbers(len(texts)))
        steps, guided = how_sampled(run, diffusion_steps, former_steps, guidance)
        where = chosen_device(device)
        from dragon_train.loop.tuning import load_policy
        from dragon_train.sampling.best_of import best_of as choose
        from dragon_train.sampling.best_of import write_best

        with progress(reward, "sets", n) as bar:
            policy = load_policy(info, run, where, texts)
            best = choose(n, policy, composed, texts, steps=steps, guidance=guided, seed=seed, on_set=bar.advance)
        rows = write_best(policy, best, folder)
    verdict = {"reward": reward, "better": str(composed.direction), "before": best.before, "after": best.after}
    if as_json:
        print(json_text({**verdict, "clips": rows}))
    else:
        print_rows(rows, as_json=False, wide=wide, main=("value", "path", "prompt", "seed"))
        print(f"{reward} ({composed.direction} is better): {best.before:.5g} first of {n}, {best.after:.5g} chosen")
