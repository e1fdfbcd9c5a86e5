"""The wheel holds every file that the packages read when they run, and its weights stay small."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {  # folder of the repository -> its place in the wheel
    "dragon_rewards": "dragon_rewards",
    "dragon_train": "dragon_train",
    "exemplar_sets": "dragon_rewards/exemplar_sets",
}
MOST_BYTES = 20_000_000  # of all weights together
NEEDED = [
    "dragon_rewards/py.typed",
    "dragon_rewards/suites.toml",
    "dragon_rewards/embedded/weights/aesthetics.safetensors",
    "dragon_rewards/embedded/weights/autoencoder/diffusion_pytorch_model.safetensors",
    "dragon_rewards/embedded/weights/clap/model.safetensors",
    "dragon_rewards/exemplar_sets/airs/captions.txt",
    "dragon_rewards/exemplar_sets/airs/clap.safetensors",
    "dragon_rewards/exemplar_sets/descriptions/manifest.json",
    "dragon_train/py.typed",
    "dragon_train/bench/presets.toml",
    "dragon_train/embedded/prompts/heldout.txt",
    "dragon_train/embedded/weights/transformer/diffusion_pytorch_model.safetensors",
]


def sources() -> dict[str, Path]:
    """Place in the wheel -> file of the repository, of everything in the packages but compiled code."""
    return {
        f"{place}/{file.relative_to(ROOT / folder).as_posix()}": file
        for folder, place in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because building leaves a folder of intermediate files in the source tree."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(out),
        str(copy),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_every_file_of_the_packages_is_inside(wheel: Path) -> None:
    assert set(sources()) - set(ZipFile(wheel).namelist()) == set()


@pytest.mark.parametrize("name", NEEDED)
def test_what_running_needs_is_inside(wheel: Path, name: str) -> None:
    assert name in ZipFile(wheel).namelist()


def test_the_weights_stay_small(wheel: Path) -> None:
    sizes = [info.file_size for info in ZipFile(wheel).infolist() if "/weights/" in info.filename]
    assert 0 < sum(sizes) <= MOST_BYTES
