"""Networks are loaded once, in the precision of the run, and the host holds no second copy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from diffusers import ModelMixin
from support.pipelines import BUILDERS, folder_of
from torch import nn

from dragon_train.config import Precision, TrainConfig
from dragon_train.descriptors import IN_FULL, Loading
from dragon_train.pipelines.loading import DECODERS, HOLLOW, cast, frozen_dtype, kept_in_float32
from dragon_train.registry import load_train_registry

NAMES = ["embedded", *sorted(BUILDERS)]
HALVES = [torch.bfloat16, torch.float16]


def networks(name: str, saved: Path, loading: Loading) -> dict[str, nn.Module]:
    """The networks of a pipeline, right after it was loaded."""
    source = name if name == "embedded" else str(folder_of(name, saved))
    policy = load_train_registry().pipeline(source).factory(loading)
    return {key: part for key, part in policy.pipeline.components.items() if isinstance(part, nn.Module)}


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_float32_cast_and_what_makes_sound_is_not_cast(
    name: str, dtype: torch.dtype, saved: Path
) -> None:
    whole, half = networks(name, saved, IN_FULL), networks(name, saved, Loading(dtype))
    assert whole.keys() == half.keys()
    for part, network in whole.items():
        assert {p.dtype for p in network.parameters()} <= {torch.float32}
        if part not in DECODERS:
            cast(network, dtype)
        found = half[part].state_dict()
        for path, value in network.state_dict().items():
            assert found[path].dtype == value.dtype, (part, path)
            assert torch.equal(found[path], value), (part, path)
        assert not half[part].training


def test_modules_that_a_library_keeps_in_float32_stay_there(saved: Path) -> None:
    """T5's `wo` overflows in fp16, and only there."""
    for dtype, kept in zip(HALVES, (torch.bfloat16, torch.float32), strict=True):
        text = networks("stable-audio", saved, Loading(dtype))["text_encoder"]
        assert isinstance(text, transformers.T5EncoderModel)
        assert {p.dtype for path, p in text.named_parameters() if ".wo." in path} == {kept}
        assert bool(kept_in_float32(text, dtype)) == (kept == torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_on_meta_there_are_shapes_and_nothing_else(name: str, saved: Path) -> None:
    whole, hollow = (
        networks(name, saved, Loading(torch.bfloat16)),
        networks(name, saved, Loading(torch.bfloat16, HOLLOW)),
    )
    for part, network in whole.items():
        found = hollow[part].state_dict()
        assert {path: (v.shape, v.dtype) for path, v in network.state_dict().items()} == {
            path: (v.shape, v.dtype) for path, v in found.items()
        }, part
        assert {value.device.type for value in found.values()} == {"meta"}


def test_only_a_lora_run_is_loaded_in_half_precision() -> None:
    expected: dict[Precision, torch.dtype] = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    for precision, dtype in expected.items():
        assert frozen_dtype(TrainConfig("vendi:clap", precision=precision)) == dtype
        assert frozen_dtype(TrainConfig("vendi:clap", precision=precision, tuning="all")) == torch.float32


MEASURE = """
import json, sys, threading, torch
from dragon_train.descriptors import Loading
from dragon_train.registry import load_train_registry

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

small, large, dtype = sys.argv[1:]
load_train_registry().pipeline(small).factory()  # imports
before, seen, done = anonymous(), [], threading.Event()

def watch():
    while not done.wait(0.002):
        seen.append(anonymous())

watcher = threading.Thread(target=watch)
watcher.start()
policy = load_train_registry().pipeline(large).factory(Loading(getattr(torch, dtype)))
done.set()
watcher.join()
seen.append(anonymous())  # what stays, whenever the watcher was let
held = sum(p.nbytes for part in policy.pipeline.components.values() if hasattr(part, "parameters")
           for p in part.parameters())
print(json.dumps({"held": held, "peak": max(seen, default=0) - before, "samples": len(seen)}))
"""


TIMES, ENOUGH = 5, 10  # tries, and samples of the memory while weights are loaded


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory, saved: Path) -> Path:
    """A pipeline of 300 MB in float32, most of it in the denoiser and the text encoder."""
    import diffusers

    pipeline: Any = diffusers.StableAudioPipeline.from_pretrained(folder_of("stable-audio", saved))
    settings = pipeline.transformer.config | {"num_layers": 4, "attention_head_dim": 64, "num_attention_heads": 12}
    pipeline.transformer = diffusers.StableAudioDiTModel(**settings | {"num_key_value_attention_heads": 12})
    text = pipeline.text_encoder.config.to_dict() | {"d_ff": 250_000, "num_layers": 2}
    pipeline.text_encoder = transformers.T5EncoderModel(transformers.T5Config(**text))
    pipeline.register_modules(transformer=pipeline.transformer, text_encoder=pipeline.text_encoder)
    folder = tmp_path_factory.mktemp("medium")
    pipeline.save_pretrained(folder)
    assert isinstance(pipeline.transformer, ModelMixin)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_host_holds_the_weights_once_in_the_precision_of_the_run(dtype: str, medium: Path, saved: Path) -> None:
    """Memory that the file system cannot take back; the mapped file, which it can, is not counted.

    In float32 the weights may stay in the mapped file, and then nothing is held.
    """
    command = [sys.executable, "-c", MEASURE, str(folder_of("stable-audio", saved)), str(medium), dtype]
    found = {"samples": 0}
    for _ in range(TIMES):  # beside other work the watcher may hardly be let
        if found["samples"] <= ENOUGH:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout.splitlines()[-1])
    assert found["samples"] > ENOUGH
    assert found["held"] > 100e6
    assert found["peak"] < 1.2 * found["held"]
    assert dtype == "float32" or found["peak"] > 0.9 * found["held"]
