"""Every kind of file that is read back: a good one, the command that reads it, and how it is made bad."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from support.faults import containers, material, mutating

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.faults.mutating import Bad


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the kind.
        maker: of the folder that a good file is in (`workshop.MAKERS`).
        file: a pattern of its path there.
        reads: the arguments of `dragon` that read it.
        bad: makes a strategy of bad contents of the good ones.
        tries: how many are tried in every run of the tests.
        sealed: whether it carries a checksum: nothing but the right result will do.
        names: beside the file's own, what a refusal may name.
        how: where the command runs: "here", in this process; "forked", as it takes seconds; or "fresh", with an
            interpreter of its own.
        without: a file that is taken away, so that the command needs the other.
        becomes: the path that the command moves the file to.
        shown: what of stdout is the result.
    """

    name: str
    maker: str
    file: str
    reads: tuple[object, ...]
    bad: Callable[[bytes], Bad]
    tries: int
    sealed: bool = False
    names: tuple[str, ...] = ()
    how: str = "here"
    without: str = ""
    becomes: str = ""
    shown: Callable[[str], str] = str


URL = "{url}"  # stands for that of the server of replies


def without_cached(out: str) -> str:
    """Cells without what says whether they are there: those that are not are computed again."""
    return json.dumps([{**row, "cached": None} for row in json.loads(out)])


REPORT_RUN = ("report", "run", "--pairs", 0, "--out", "page.html")
REPORT_BENCH = ("report", "bench", "--pairs", 0, "--out", "page.html")
SHOW = ("exemplars", "show", "mine", "--json")
SAMPLE = ("sample", "a hymn", "--run", "run", "--steps", 2, "--guidance", 1, "--out", "clips")
CELLS = ("ablate", "losses.toml", "--out", "ablations", "--dry-run", "--json")
VOTES = ("listen", "report", "votes.sqlite", "votes.json", "--json")
HEARD = ("score", "aesthetics-taste:logmel", "music", "--json")
SET_KINDS = [
    Kind("manifest", "sets", "sets/mine/manifest.json", SHOW, mutating.of_json, 160, names=("mine",)),
    Kind("items", "sets", "sets/mine/items-*.jsonl", SHOW, mutating.of_lines, 160, names=("mine",)),
    Kind(
        "statistics",
        "sets",
        "sets/mine/logmel.safetensors",
        ("score", "per-song-fad:logmel@mine", "music", "--json"),
        mutating.of_safetensors,
        120,
        sealed=True,
    ),
    Kind(
        "facets",
        "sets",
        "sets/mine/logmel.facets",
        ("score", "facet-coverage:logmel@mine", "music", "--json"),
        mutating.of_safetensors,
        120,
        sealed=True,
    ),
    Kind(
        "points",
        "sets",
        "sets/mine/logmel.points",
        ("score", "kad:logmel@mine", "music", "--json"),
        mutating.of_safetensors,
        120,
        sealed=True,
    ),
    Kind("head", "sets", "heads/taste/head.json", HEARD, mutating.of_json, 160, names=("taste",)),
    Kind(
        "tensors of a head",
        "sets",
        "heads/taste/*.safetensors",
        HEARD,
        mutating.of_safetensors,
        120,
        sealed=True,
        names=("taste",),
    ),
    Kind(
        "archive",
        "sets",
        "mine.dragon",
        ("exemplars", "import", "mine.dragon", "--name", "other", "--json"),
        containers.of_archive,
        160,
    ),
    Kind(
        "cache",
        "sets",
        "cache/*/*.safetensors",
        ("score", "per-song-fad:logmel@airs", "music", "--json"),
        mutating.of_safetensors,
        120,
        sealed=True,
    ),
    Kind("votes", "votes", "votes.sqlite", VOTES, containers.of_votes, 160, names=("votes.json", "SQLite file")),
    Kind("votes of a page", "votes", "votes.json", VOTES, mutating.of_json, 160),
]
RUN_KINDS = [
    Kind("configuration", "runs", "run/config.json", REPORT_RUN, mutating.of_json, 80),
    Kind("metrics", "runs", "run/metrics.csv", REPORT_RUN, mutating.of_table, 60),
    Kind("prompts", "runs", "run/prompts.json", material.TRAIN, mutating.of_json, 80, names=("run",)),
    Kind(
        "checkpoint",
        "runs",
        "stopped/checkpoint.pt",
        ("train", "run.toml", "--out", "stopped"),
        containers.of_checkpoint,
        16,
        sealed=True,
        how="forked",
        becomes="stopped/final_checkpoint.pt",
    ),
    Kind(
        "adapter",
        "runs",
        "run/adapter_model.safetensors",
        SAMPLE,
        mutating.of_safetensors,
        16,
        names=("run",),
        how="forked",
    ),
    Kind(
        "adapter's configuration",
        "runs",
        "run/adapter_config.json",
        SAMPLE,
        mutating.of_json,
        16,
        names=("run",),
        how="forked",
    ),
]
STUDY_KINDS = [
    Kind("preset", "studies", "preset.toml", material.BENCH, mutating.of_toml, 100, names=("bench",)),
    Kind("suite", "studies", "suite.toml", material.BENCH, mutating.of_toml, 100, names=("bench",)),
    Kind("grid", "studies", "losses.toml", CELLS, mutating.of_toml, 160, names=("losses",)),
    Kind("benchmark", "studies", "bench/benchmark.json", REPORT_BENCH, mutating.of_json, 60),
    Kind(
        "settings of a benchmark",
        "studies",
        "bench/benchmark.json",
        material.BENCH,
        mutating.of_json,
        100,
        names=("bench",),
    ),
    Kind("all scores", "studies", "bench/scores.parquet", REPORT_BENCH, containers.of_parquet, 40),
    Kind("win rates", "studies", "bench/win_rates.csv", REPORT_BENCH, mutating.of_table, 40),
    Kind("facets of a benchmark", "studies", "bench/facets.csv", REPORT_BENCH, mutating.of_table, 40),
    Kind(
        "scores",
        "studies",
        "ablations/models/*/evaluations/*/scores.parquet",
        CELLS,
        containers.of_parquet,
        120,
        shown=without_cached,
    ),
    Kind(
        "confounders",
        "studies",
        "bench/vendi+logmel/confounders.parquet",
        material.BENCH,
        containers.of_parquet,
        40,
        names=("bench",),
    ),
    Kind(
        "permutation test",
        "studies",
        "bench/vendi+logmel/permutation.json",
        material.BENCH,
        mutating.of_json,
        40,
        names=("bench",),
    ),
    Kind(
        "embeddings",
        "studies",
        "bench/vendi+logmel/embeddings.safetensors",
        material.BENCH,
        mutating.of_safetensors,
        12,
        how="forked",
        without="bench/vendi+logmel/permutation.json",
    ),
]
RESULT_KINDS = [
    Kind("exam", "results", "run/exam.json", REPORT_RUN, mutating.of_json, 60),
    Kind("exam that is taken again", "results", "run/exam.json", material.EXAM, mutating.of_json, 8, how="forked"),
    Kind("metrics of an exam", "results", "run/metrics.csv", material.EXAM, mutating.of_table, 8, how="forked"),
    Kind("blends", "results", "run/blend/blend.json", material.BLEND, mutating.of_json, 60, names=("run/blend",)),
    Kind(
        "adapter of a blend",
        "results",
        "run/adapter_model.safetensors",
        ("blend", "run", "--save", 0.5, "--to", "blended"),
        mutating.of_safetensors,
        12,
        names=("run",),
        how="forked",
    ),
]
GENERATE = ("sample", "a hymn", "--pipeline", "tiny", "--steps", 2, "--guidance", 1, "--out", "clips")
PIPELINE_KINDS = [
    Kind("pipeline's index", "pipeline", "tiny/model_index.json", GENERATE, mutating.of_json, 80, names=("tiny",)),
    Kind("denoiser", "pipeline", "tiny/transformer/config.json", GENERATE, mutating.of_json, 40, names=("tiny",)),
    Kind("autoencoder", "pipeline", "tiny/vae/config.json", GENERATE, mutating.of_json, 40, names=("tiny",)),
    Kind(
        "scheduler", "pipeline", "tiny/scheduler/scheduler_config.json", GENERATE, mutating.of_json, 40, names=("tiny",)
    ),
    Kind("text encoder", "pipeline", "tiny/text_encoder/config.json", GENERATE, mutating.of_json, 40, names=("tiny",)),
    Kind(
        "weights", "pipeline", "tiny/text_encoder/*.safetensors", GENERATE, mutating.of_safetensors, 40, names=("tiny",)
    ),
]
PROCESS_KINDS = [replace(kind, name=f"{kind.name}, process", tries=15, how="fresh") for kind in SET_KINDS[:2]]
REMOTE_KINDS = [
    Kind("remotes", "replies", "remotes.json", ("remote", "list", "--json"), mutating.of_json, 160),
    Kind(
        "server's encoders",
        "replies",
        "encoders",
        ("remote", "add", URL, "--token-env", "DRAGON_TOKEN", "--prefix", "other-"),
        mutating.of_json,
        160,
        names=("http://",),
    ),
    Kind(
        "server's frames",
        "replies",
        "frames",
        ("score", "per-song-fad:far-logmel@airs", "music", "--json"),
        mutating.of_safetensors,
        120,
        names=("far-logmel", "encoder 'logmel'"),
    ),
]
