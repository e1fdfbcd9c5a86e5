"""The options and arguments that verbs share: the name, the bounds and the meaning of each stand here, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dragon_train.cli.completion import launchers, own_sets, pipelines, rewards
from dragon_train.config import LAST_SEED, MOST_GUIDANCE

PROMPTS = "Prompts: a list or a table, as TXT, CSV, JSON, JSONL or parquet"
REWARD = "Name of the reward, see `dragon list rewards`."


def seed_option(meaning: str) -> Any:
    """Return the option of a seed: a whole number that generators of random numbers take."""
    return typer.Option(min=0, max=LAST_SEED, help=meaning)


# Of most verbs
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to compute, as in cuda:1; default: the accelerator that torch has, else cpu."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Wide = Annotated[bool, typer.Option("--wide", help="Show every column, as wide as it takes.")]
RewardArgument = Annotated[str, typer.Argument(help=REWARD, autocompletion=rewards)]
RewardOption = Annotated[str, typer.Option(help=REWARD, autocompletion=rewards)]

# Of verbs that score files
Paths = Annotated[list[Path], typer.Argument(help="Audio or image files, or folders that are searched for them.")]
Prompts = Annotated[Path | None, typer.Option(help=f"{PROMPTS}, that names the files; default: what lies beside them.")]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="List what cannot be used, and go on without; every file is read once before."),
]
Csv = Annotated[Path | None, typer.Option(help="Write the rows to this CSV file too.")]

# Of verbs that train or generate
ConfigFile = Annotated[Path | None, typer.Argument(help="TOML file of settings; options override it.")]
PromptFile = Annotated[Path | None, typer.Option("--prompts", help=PROMPTS)]

# Of verbs that generate clips
Texts = Annotated[list[str] | None, typer.Argument(help="One clip for each prompt.")]
Out = Annotated[Path, typer.Option(help="Folder for the media files and prompts.csv.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the clips of the folder.")]
Append = Annotated[bool, typer.Option("--append", help="Add to the clips of the folder.")]
Source = Annotated[
    str | None,
    typer.Option(
        "--pipeline", help="A name, a folder, or owner/name[@revision]; default the run's.", autocompletion=pipelines
    ),
]
TunedBy = Annotated[Path | None, typer.Option("--run", help="Folder of a finished `dragon train`: its tuned model.")]
DiffusionSteps = Annotated[
    int | None, typer.Option(min=2, help="Diffusion steps of a clip; default: the run's, or 40.")
]
FormerSteps = Annotated[int | None, typer.Option("--steps", min=2, hidden=True)]
Guided = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        min=1.0,
        max=MOST_GUIDANCE,
        help="Classifier-free guidance, 1 is none; default: the run's, or 3.",
    ),
]

# Of verbs that spread work on many files
FilesLauncher = Annotated[
    str | None,
    typer.Option(
        "--launcher",
        help="Encode in shards of files, in processes (local) or on a cluster (ray); default: in this process.",
        autocompletion=launchers,
    ),
]

# Of verbs that make many runs
Launcher = Annotated[
    str, typer.Option("--launcher", help="Where runs take place: local, or ray (a cluster).", autocompletion=launchers)
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Runs, or shards, at a time, one thread each; default as there is room for."),
]
Cpus = Annotated[float, typer.Option("--cpus", help="CPUs of each run or shard, for launcher ray.")]
Gpus = Annotated[
    float, typer.Option("--gpus", help="GPUs of each run or shard, for launcher ray; 0.5 puts two on one.")
]
Memory = Annotated[float | None, typer.Option("--memory", help="GiB of memory of each run or shard, for launcher ray.")]
PresetPipeline = Annotated[
    str | None,
    typer.Option(
        help="What is tuned: as for `dragon train`; default what the preset says, or embedded.",
        autocompletion=pipelines,
    ),
]
PresetPrompts = Annotated[Path | None, typer.Option(help=f"{PROMPTS}; as many as the preset says are held out.")]

# Of `dragon exemplars`
SetName = Annotated[str, typer.Argument(help="Name of the set.", autocompletion=own_sets)]

# Of verbs that serve over HTTP
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
