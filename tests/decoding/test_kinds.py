"""Every kind of file that is read back, mutated: its reader answers with a value of its type, or refuses it by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors.torch import save_file
from support.json_mutations import CHANGES, Change, flipped

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.listening.plan import Clip, Pair, Plan
from dragon_rewards.evaluation.listening.results import read_votes
from dragon_rewards.evaluation.listening.votes import Choice, Vote, VoteFile
from dragon_rewards.evaluation.score_tables import COLUMNS
from dragon_rewards.exemplars.facets import Description, Facet, describe_facets, load_facets, write_facets
from dragon_rewards.exemplars.item import pack_items, read_items, text_item
from dragon_rewards.exemplars.reading import FORM as READING
from dragon_rewards.exemplars.reading import Read
from dragon_rewards.exemplars.sets import read_manifest
from dragon_rewards.exemplars.statistics import Kept, read_kept, write_kept
from dragon_rewards.exemplars.window_encoder import FORM as MOMENTS
from dragon_rewards.media.cache import CacheKey, EmbeddingCache
from dragon_rewards.metrics import Facets, Gaussian
from dragon_rewards.metrics.gaussian import Moments
from dragon_rewards.remote.config import load_remotes
from dragon_rewards.sharded import FORM as SCORES_OF_FILES
from dragon_rewards.sharded import Part
from dragon_rewards.storage.shards import RESULT
from dragon_rewards.storage.tensor_files import read_tensors, write_tensors
from dragon_rewards.suites import load_suite
from dragon_rewards.weights import INDEX
from dragon_train.bench.ablation.grid import load_grid
from dragon_train.bench.collateral import read_figures
from dragon_train.bench.evaluate import ORIGIN, read_scores
from dragon_train.bench.permutation import read_embeddings, read_test
from dragon_train.bench.presets import load_preset
from dragon_train.bench.real_clips import read_real
from dragon_train.bench.record import read_record
from dragon_train.bench.report.source import CROSS, WINS, read_benchmark, read_run
from dragon_train.bench.result_files import EMBEDDINGS, FIGURES, REAL_MUSIC, SCORES, TEST
from dragon_train.config import TrainConfig
from dragon_train.embedded.adherence import Probe
from dragon_train.embedded.real_music import RealLatents
from dragon_train.loop.run import load_checkpoint, save_checkpoint
from dragon_train.loop.run_folder import CONFIG, METRICS, PROMPTS, Claim, kept_prompts, stored_config
from dragon_train.pipelines.pretrained import adapter_for, check_components, check_packages, read_index
from dragon_train.registry import load_train_registry

Kind = tuple[Callable[[Path], Path], Callable[[Path], object]]  # what makes one in a folder, and what reads it
HASH = "ab" * 32


def manifest(folder: Path) -> Path:
    values = {"name": "mine", "modality": "text", "count": 2, "licence": "", "summary": "", "provenance": ""}
    return written(folder / "manifest.json", json.dumps({**values, "sha256": HASH}))


def items(folder: Path) -> Path:
    path = folder / "items.jsonl"
    path.write_bytes(pack_items([text_item("a jig"), text_item("a reel")]))
    return path


def statistics(folder: Path) -> Path:
    frames = torch.tensor([[0.0, 1.0], [1.0, 3.0], [2.0, 0.0]], dtype=torch.float64)
    write_kept(folder / "ear.safetensors", Kept(Gaussian.fit(frames), "ear-1", frozenset({b"k" * 32})))
    return folder / "ear.safetensors"


def read_shard(folder: Path) -> Path:
    READING.write(folder / "read" / RESULT, Read([text_item("a jig")], ["'a.wav' is silent"]))
    return folder / "read" / RESULT


def moments_shard(folder: Path) -> Path:
    MOMENTS.write(folder / "moments" / RESULT, Moments.of(torch.tensor([[0.0, 1.0], [1.0, 3.0]])))
    return folder / "moments" / RESULT


def score_shard(folder: Path) -> Path:
    SCORES_OF_FILES.write(folder / "scores" / RESULT, Part([0, 2], ["'b' is silent"], {"values": torch.ones(2)}))
    return folder / "scores" / RESULT


def facets(folder: Path) -> Path:
    found = Facets.fit(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), count=2)
    described = [Facet(share, 0.5, ("a jig",), (HASH,)) for share in (0.75, 0.25)]
    write_facets(folder / "ear.facets", found, Description("ear-1", HASH, tuple(described)))
    return folder / "ear.facets"


def remotes(folder: Path) -> Path:
    facts = {"name": "far", "modalities": ["audio"], "dim": 4, "sample_rate": 16_000, "identity": "far-1"}
    texts = {"licence": "MIT", "summary": "hears", "package": "far", "version": "1"}
    server = {"url": "http://127.0.0.1:9", "token": "env:NONE", "prefix": "", "encoders": [facts | texts]}
    return written(folder / "remotes.json", json.dumps([server]))


def read_remotes(path: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_REMOTES", str(path))
        return load_remotes()


def plan() -> Plan:
    pairs = tuple(Pair("a jig", Clip(f"{i}.wav", "a", 1.0), Clip(f"{i}.wav", "b", 0.5, 2.0)) for i in range(3))
    return Plan(7, 1, 1, pairs)


def votes(folder: Path) -> Path:
    """All in the file itself: a mutation of the journal beside it would go unseen."""
    file = VoteFile(folder / "votes.sqlite")
    file.begin(plan())
    rater = file.enter("Ann")
    for number, trial in enumerate(plan().trials(rater.seat)):
        file.add(Vote("Ann", number, trial, Choice.LEFT, 3.0))
    with file._open() as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    return file.path


def downloaded(folder: Path) -> Path:
    cast = [{"choice": "left", "seconds": 2.5}, {"choice": "tie", "seconds": 3}]
    return written(folder / "ann.json", json.dumps({"plan": plan().digest, "rater": "Bob", "seat": 4, "votes": cast}))


def read_downloaded(path: Path) -> object:
    database = path.parent / "votes.sqlite"
    return read_votes([database if database.exists() else votes(path.parent), path])


def suite(folder: Path) -> Path:
    return written(folder / "mine.toml", '[mine]\nsummary = "two"\nslots = ["vendi:clap", { reward = "a:b" }]\n')


def preset(folder: Path) -> Path:
    text = "heldout_prompts = 8\ninference_steps = 2\nsubset_size = 4\nrounds = 1\n[train]\nsteps = 2\n"
    return written(folder / "small.toml", text)


def grid(folder: Path) -> Path:
    text = 'question = "Which?"\n[axes]\nseed = [0, 1]\nreward = ["vendi:clap"]\n[settings]\nsteps = 2\n[[tables]]\n'
    return written(folder / "which.toml", f'{text}name = "gain"\nrows = ["seed"]\nvalue = "gain"\n')


def entry(folder: Path) -> Path:
    EmbeddingCache(folder, 10**9).store({HASH: torch.ones(3, 2)}, CacheKey("ear", "ear-1", 16_000, 2, "far", "1"))
    return folder / HASH[:2] / f"{HASH}.safetensors"


def read_entry(path: Path) -> object:
    found = EmbeddingCache(path.parents[1], 10**9).load(HASH)
    assert found is None or torch.equal(found, torch.ones(3, 2))  # computed again, or what was kept
    return found


def run(folder: Path, name: str) -> Path:
    config = TrainConfig("vendi:clap", steps=2, heldout=("vendi:vae",), heldout_prompts=2)
    Claim(config, ["a jig", "a reel"], ["an air"]).write(folder, {"python": "3.11"})
    rows = [{"step": step, "reward": 0.5, "loss": 0.1, "learning_s": 2.0} for step in (1, 2)]
    pd.DataFrame(rows).to_csv(folder / METRICS, index=False)
    return folder / name


def scores(folder: Path) -> Path:
    row = {"run": "baseline", "model": "embedded", "prompt_id": "p0", "seed": 1, "reward": "no:body", "value": 0.5}
    pd.DataFrame([row], columns=COLUMNS).assign(**{ORIGIN: "x"}).to_parquet(folder / "scores.parquet")
    return folder / "scores.parquet"


def embeddings(folder: Path) -> Path:
    tensors = {"frames ear": torch.ones(3, 2), "lengths ear": torch.tensor([1, 2]), "prompts ear": torch.ones(2, 2)}
    write_tensors(folder / EMBEDDINGS, tensors, {})
    return folder / EMBEDDINGS


def permutation(folder: Path) -> Path:
    metric = {side: {"mean": 1.5, "low": 1.25, "high": 1.75} for side in ("before", "after", "change")}
    record = {"difference": 0.1, "p_value": 0.02, "permutations": 999, "metric": metric}
    return written(folder / TEST, json.dumps(record))


def figures(folder: Path) -> Path:
    return written(folder / FIGURES, json.dumps({"instrument": 0.5, "vendi": 3.25}))


def real_music(folder: Path) -> Path:
    values = {"clips": 8, "value": 1.5, "low": 1.0, "high": 2.0, "origin": "ear-1"}
    rows = [{"reward": "vendi:ear", "music": "airs", "model": model, **values} for model in ("real", "codec")]
    pd.DataFrame(rows).to_csv(folder / REAL_MUSIC, index=False)
    return folder / REAL_MUSIC


def real_latents(folder: Path) -> Path:
    RealLatents(torch.ones(2, 3, 4), ("a jig", "a reel"), "ear-1").save(folder / "latents.safetensors")
    return folder / "latents.safetensors"


def probe(folder: Path) -> Path:
    Probe.load().save(folder / "probe.safetensors")
    return folder / "probe.safetensors"


def benchmark(folder: Path) -> Path:
    made = asdict(load_preset(str(preset(folder))))
    settings_ = {"preset": made, "seed": 0, "rewards": ["vendi:clap"], "pipeline": "embedded", "prompts": "ab"}
    return written(folder / "benchmark.json", json.dumps({**settings_, "provenance": {}}))


def tables(folder: Path, name: str) -> Path:
    """A finished benchmark of one run."""
    won = {"run": "vendi:clap", "served": "vendi:clap", "direction": "higher", "before": 1.5, "after": 2.0}
    rates = {"win_rate": 0.75, "lower": 0.5, "p_value": 0.25, "permutation_p": None, "holm": 0.25, "trials": 4}
    pd.DataFrame([{**won, **rates}]).to_csv(folder / WINS, index=False)
    pd.DataFrame([{"run": "vendi:clap", "vendi:clap": 0.75}]).to_csv(folder / CROSS, index=False)
    row = {"model": "embedded", "prompt_id": "all", "seed": 1, "reward": "vendi:clap", "value": 0.5}
    rows = [{"run": name, **row} for name in ("baseline", "vendi:clap")]
    pd.DataFrame(rows, columns=COLUMNS).to_parquet(folder / SCORES)
    benchmark(folder)
    return folder / name


def index(folder: Path) -> Path:
    parts = {"vae": ["diffusers", "AutoencoderOobleck"], "scheduler": [None, None]}
    return written(folder / INDEX, json.dumps({"_class_name": "StableAudioPipeline", **parts}))


def read_parts(path: Path) -> object:
    """All that is asked of an index before anything is loaded."""
    found = read_index(str(path.parent))
    adapter_for(str(path), found, load_train_registry().adapters)
    check_components(str(path), found)
    check_packages(str(path), found)
    return found


def checkpoint(folder: Path) -> Path:
    state: dict[str, Any] = {"rows": [{"step": 1, "reward": 0.5}], "weights": {"a": torch.ones(2)}, "scaler": None}
    save_checkpoint(folder / "checkpoint.pt", {**state, "optimiser": {"state": {}, "param_groups": []}, "pool": []})
    return folder / "checkpoint.pt"


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


KINDS: dict[str, Kind] = {
    "manifest": (manifest, lambda path: read_manifest(path.parent)),
    "items": (items, read_items),
    "statistics": (statistics, read_kept),
    "shard of reading": (read_shard, READING.read),
    "shard of moments": (moments_shard, MOMENTS.read),
    "shard of scores": (score_shard, SCORES_OF_FILES.read),
    "facets": (facets, load_facets),
    "facets, described": (facets, describe_facets),
    "remotes": (remotes, read_remotes),
    "votes": (votes, lambda path: read_votes([path])),
    "downloaded votes": (downloaded, read_downloaded),
    "suite": (suite, load_suite),
    "preset": (preset, lambda path: load_preset(str(path))),
    "grid": (grid, lambda path: load_grid(str(path))),
    "cache entry": (entry, read_entry),
    "configuration": (partial(run, name=CONFIG), lambda path: stored_config(path.parent)),
    "metrics": (partial(run, name=METRICS), lambda path: read_run(path.parent)),
    "prompts": (partial(run, name=PROMPTS), lambda path: kept_prompts(path.parent)),
    "scores": (scores, lambda path: read_scores(path.parent)),
    "embeddings": (embeddings, lambda path: read_embeddings(path.parent, ["a", "b"], torch.device("cpu")).known),
    "permutation test": (permutation, lambda path: read_test(path.parent)),
    "collateral": (figures, lambda path: read_figures(path.parent)),
    "real music": (real_music, lambda path: read_real(path, "measure again")),
    "real latents": (real_latents, RealLatents.load),
    "probe": (probe, Probe.load),
    "benchmark": (benchmark, lambda path: read_record(path.parent)),
    "win rates": (partial(tables, name=WINS), lambda path: read_benchmark(path.parent)),
    "cross effects": (partial(tables, name=CROSS), lambda path: read_benchmark(path.parent)),
    "all scores": (partial(tables, name=SCORES), lambda path: read_benchmark(path.parent)),
    "pipeline": (index, read_parts),
    "checkpoint": (checkpoint, load_checkpoint),
}
CHECKSUMMED = [
    "statistics",
    "shard of moments",
    "shard of scores",
    "facets",
    "checkpoint",
    "embeddings",
    "real latents",
]


def kept(make: Callable[[Path], Path], folder: Path) -> tuple[Path, bytes]:
    """A file, made once for all changes of a test, and what was in it then."""
    where, content = folder / "where.txt", folder / "content.bin"
    if not where.exists():
        path = make(folder)
        content.write_bytes(path.read_bytes())
        where.write_text(str(path), encoding="utf-8")
    path = Path(where.read_text(encoding="utf-8"))
    for journal in path.parent.glob(f"{path.name}-*"):
        journal.unlink()
    return path, content.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_file_is_read_as_it_was_written(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    assert read(make(tmp_path)) is not None


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(change=CHANGES)
def test_a_mutated_file_is_read_or_refused_by_name(kind: str, change: Change, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    path, content = kept(make, tmp_path)
    path.write_bytes(change(content))
    try:
        read(path)
    except DragonError as refusal:
        said = str(refusal)
    else:
        said = path.name
    assert path.name in said or path.stem in said
    assert "\n" not in said


@pytest.mark.parametrize("kind", CHECKSUMMED)
def test_a_flipped_bit_is_a_refusal_or_changes_nothing(kind: str, tmp_path: Path) -> None:
    make, read = KINDS[kind]
    path, content = kept(make, tmp_path)
    whole, refused, flips = repr(read(path)), 0, 400
    for number in range(flips):
        path.write_bytes(flipped((number + 0.5) / flips, number % 8)(content))
        try:
            found = repr(read(path))
        except DragonError:
            refused += 1
        else:
            assert found == whole
    assert refused > flips // 4  # the rest are in padding, names of zip members and times


def test_files_without_a_checksum_are_still_read(tmp_path: Path) -> None:
    path = statistics(tmp_path)
    tensors, metadata = read_tensors(path, "make it again")
    save_file(tensors, path, metadata)
    assert torch.equal(read_kept(path).gaussian.mean, tensors["mean"])
