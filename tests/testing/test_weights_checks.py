"""Every check of weights catches an encoder that breaks its promise; one that keeps all of them passes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import snapshot_download
from safetensors.torch import save_file
from support.faulty_parts import Ear, TwoTower, checks_of, encoder, registry_of

from dragon_rewards import Weights, WeightsError, find_weights, fingerprint_files
from dragon_rewards.testing import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dragon_rewards.protocols import EncoderInfo

REPOSITORY, ADDRESS = "someone/ear", "https://example.com/ear.pth"
FILES = ("config.json", "model.safetensors|pytorch_model.bin")
HUB = Weights(REPOSITORY, FILES, "ear")
PINNED = Weights(REPOSITORY, FILES, "ear", revision="v1.0")
FILE = Weights(ADDRESS, ("ear.pth",), "ear")


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, with weights in every form."""
    folder = tmp_path / "ear"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    save_file({"gain": torch.ones(1)}, folder / "model.safetensors")
    torch.save({"gain": torch.ones(1)}, folder / "ear.pth")
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    torch_home = os.environ.get("TORCH_HOME")
    yield folder
    assert (os.environ["DRAGON_WEIGHTS"], os.environ.get("TORCH_HOME")) == (str(tmp_path), torch_home)


def load(path: Path, *, careful: bool = True) -> Ear:
    """An encoder whose weights are in a file, which may be read without care."""
    built = TwoTower()
    if path.suffix != ".safetensors":
        torch.load(path, weights_only=careful)
    built.identity = fingerprint_files("ear", [path])
    return built


def of_hub(*, careful: bool = True) -> Ear:
    folder = find_weights("ear", REPOSITORY, FILES)
    return load(next(folder / name for name in FILES[1].split("|") if (folder / name).is_file()), careful=careful)


def pinned() -> Ear:
    own = os.environ.get("DRAGON_WEIGHTS")
    try:
        folder = f"{own}/ear" if own else snapshot_download(REPOSITORY, revision="v1.0")
    except OSError as error:
        raise WeightsError(f"get {REPOSITORY}: {' and '.join(FILES)}, and set DRAGON_WEIGHTS") from error
    return load(Path(folder, "model.safetensors"))


def of_file(*, careful: bool = True) -> Ear:
    places = os.environ.get("DRAGON_WEIGHTS", ""), os.environ.get("TORCH_HOME", "")
    for path in (Path(places[0], "ear", "ear.pth"), Path(places[1], "hub", "checkpoints", "ear.pth")):
        if path.is_file():
            return load(path, careful=careful)
    raise WeightsError(f"download {ADDRESS} to a folder 'ear' and set DRAGON_WEIGHTS to the folder above it")


def nameless() -> Ear:
    try:
        return of_file()
    except WeightsError as error:
        raise WeightsError("there are no weights; set DRAGON_WEIGHTS") from error


def of_own_folder() -> Ear:
    own = os.environ.get("DRAGON_WEIGHTS")
    if not own:
        raise WeightsError(f"get {ADDRESS}, and set DRAGON_WEIGHTS")
    return load(Path(own, "ear", "ear.pth"))


def placed() -> Ear:
    built = of_file()
    built.identity = os.environ.get("DRAGON_WEIGHTS", "elsewhere")
    return built


def needing(weights: Weights, factory: Callable[..., Ear], **changes: Any) -> EncoderInfo:
    return encoder(factory, weights=(weights,), **changes)


WRONG = [
    ("missing weights", "an encoder without weights", needing(FILE, Ear)),
    ("missing weights", "there are no weights", needing(FILE, nameless)),
    ("cached weights", "find_weights", needing(FILE, of_own_folder)),
    ("cached weights", "then 'elsewhere'", needing(FILE, placed)),
    ("weights run no code", "code that ran", needing(FILE, partial(of_file, careful=False))),
    ("weights run no code", "code that was let through", needing(FILE, Ear)),
    ("weights run no code", "code that ran", needing(HUB, partial(of_hub, careful=False))),
]


@pytest.mark.parametrize(("check", "message", "info"), WRONG)
def test_a_wrong_encoder_is_caught(check: str, message: str, info: EncoderInfo) -> None:
    with pytest.raises(AssertionError) as caught:
        checks_of("encoder", registry_of([info]))[check].run()
    assert message in str(caught.value)


def test_every_check_has_a_wrong_encoder() -> None:
    assert {check for check, _, _ in WRONG} == set(WEIGHTS)


@pytest.mark.parametrize("info", [needing(HUB, of_hub), needing(PINNED, pinned), needing(FILE, of_file)])
def test_a_right_encoder_passes_every_check(info: EncoderInfo) -> None:
    found = checks_of("encoder", registry_of([info]))
    for check in WEIGHTS:
        found[check].run()


def test_weights_that_are_not_here_cannot_be_checked(own: Path) -> None:
    (own / "ear.pth").unlink()
    with pytest.raises(AssertionError, match=r"curl -L .*ear\.pth"):
        checks_of("encoder", registry_of([needing(FILE, of_file)]))["weights run no code"].run()


def test_an_encoder_without_weights_has_no_such_checks() -> None:
    assert not set(WEIGHTS) & set(checks_of("encoder", registry_of([encoder(Ear)])))
