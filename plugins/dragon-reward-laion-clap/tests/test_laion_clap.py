"""The encoder equals laion_clap, and refuses other weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import HUB, in_hub, save_text
from dragon_reward_laion_clap import CHECKPOINT, HOP, WINDOW, LaionClap, cut, load_encoder, quantise, read_checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor

from dragon_rewards import WeightsError, fingerprint_files

ORIGINAL = Path(__file__).with_name("original.py")
TEXTS = ["a slow hymn", "", "very " * 60]


def sounds(clips: int, samples: int) -> Tensor:
    """Noise, a part of it beyond full scale, (clips, samples)."""
    generator = torch.Generator().manual_seed(samples)
    return 0.4 * torch.randn(clips, samples, generator=generator)


@pytest.fixture(scope="module")
def hub(weights: Path) -> Path:
    """The hub's cache with the checkpoint, and all that laion_clap fetches when it is imported and built."""
    from transformers import BertTokenizer, RobertaConfig, RobertaModel

    (in_hub("lukewys/laion_clap") / CHECKPOINT).symlink_to(weights / CHECKPOINT)
    for repository in ("FacebookAI/roberta-base", "roberta-base", "facebook/bart-base"):
        save_text(in_hub(repository))
    snapshot = HUB / "models--roberta-base" / "snapshots" / "abc"
    RobertaModel(RobertaConfig.from_pretrained(snapshot)).save_pretrained(snapshot)
    BertTokenizer(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}).save_pretrained(
        in_hub("bert-base-uncased")
    )
    return HUB


@pytest.fixture(scope="module")
def encoder(hub: Path) -> LaionClap:
    """The encoder as it is loaded from the hub's cache."""
    assert hub.is_dir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DRAGON_WEIGHTS")
        return load_encoder()


@pytest.fixture(scope="module")
def original(weights: Path, hub: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What laion_clap makes of the same checkpoint, sounds and texts."""
    assert hub.is_dir()
    folder = tmp_path_factory.mktemp("original")
    given = {"short": sounds(1, 60_000)[0], "long": sounds(1, WINDOW + HOP + 100)[0]}
    save_file(given, folder / "given.safetensors", metadata={"texts": json.dumps(TEXTS)})
    files = [weights / CHECKPOINT, folder / "given.safetensors", folder / "made.safetensors"]
    command = [sys.executable, *map(str, [ORIGINAL, *files])]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(folder / "made.safetensors")


@pytest.mark.parametrize(("name", "samples", "frames"), [("short", 60_000, 2), ("long", WINDOW + HOP + 100, 12)])
def test_frames_are_those_of_laion_clap(
    encoder: LaionClap, original: dict[str, Tensor], name: str, samples: int, frames: int
) -> None:
    made = encoder.encode_audio(sounds(1, samples))
    assert made.shape == (1, frames, 512)
    assert made[0].std(0).mean() > 1e-3
    torch.testing.assert_close(made[0], original[name], atol=1e-5, rtol=0)


def test_texts_are_those_of_laion_clap(encoder: LaionClap, original: dict[str, Tensor]) -> None:
    assert [count > encoder.token_limit for count in encoder.count_tokens(TEXTS)] == [False, False, True]
    made = encoder.encode_text(TEXTS)
    assert made.std(0).mean() > 1e-3
    torch.testing.assert_close(made, original["texts"], atol=1e-5, rtol=0)


def test_samples_are_those_of_16_bits() -> None:
    audio = torch.cat([sounds(1, 100_000)[0], torch.tensor([-2.0, -1.0, -1e-9, 0.0, 1.0, 2.0])])
    assert audio.abs().max() > 1
    expected = (np.clip(audio.numpy(), -1.0, 1.0) * 32767.0).astype(np.int16) / np.float32(32767)
    assert torch.equal(quantise(audio), torch.from_numpy(expected))


def test_gradients_pass_the_quantisation() -> None:
    audio = sounds(1, 1000).requires_grad_()
    (gradient,) = torch.autograd.grad((quantise(audio) * torch.arange(1000)).sum(), audio)
    assert torch.equal(gradient[0], torch.arange(1000.0))


@pytest.mark.parametrize(("samples", "windows"), [(1, 1), (HOP, 1), (HOP + 1, 2), (WINDOW, 10), (WINDOW + 1, 11)])
def test_a_window_starts_every_second(samples: int, windows: int) -> None:
    audio = torch.arange(1.0, samples + 1)[None]
    made = cut(audio)
    assert made.shape == (1, windows, WINDOW)
    assert torch.equal(made[0, :, 0], torch.arange(windows) * float(HOP) + 1)
    assert made[0, -1].count_nonzero() == samples - (windows - 1) * HOP


def test_the_identity_is_of_the_files_wherever_they_are(encoder: LaionClap, weights: Path) -> None:
    name = fingerprint_files("laion-clap", [weights / CHECKPOINT])
    assert encoder.identity == fingerprint_files(name, [weights / "config.json", weights / "tokenizer.json"])


def test_nothing_is_left_of_the_import(encoder: LaionClap) -> None:
    assert type(encoder.network).__module__ == "_laion_clap.model"
    assert not {"laion_clap", "torchvision.ops.misc", "wandb"} & set(sys.modules)


def test_a_folder_without_the_files_of_the_text_tower_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "laion-clap").mkdir()
    (tmp_path / "laion-clap" / CHECKPOINT).touch()
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"has no config\.json and no tokenizer\.json"):
        load_encoder()


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_text(tmp_path / "laion-clap")
    torch.save({"state_dict": {"module.logit_scale_a": torch.zeros(())}}, tmp_path / "laion-clap" / CHECKPOINT)
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"{CHECKPOINT} is not the checkpoint .*[\s\S]*Missing key"):
        load_encoder()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Not found</html>",
        [1, 2],
        {"weights": torch.zeros(1)},
        {"state_dict": {}, "optimizer": Path()},  # an object that is neither tensor nor number
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / CHECKPOINT
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=f"{CHECKPOINT} is no checkpoint of tensors and numbers .* download"):
        read_checkpoint(path)
