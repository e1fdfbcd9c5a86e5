"""Distributions: the core's wheel holds what the packages read, and all are installed from an index by their names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from support.environments import Environment
from support.installation import PACKAGES, ROOT, installed
from support.wheels import build_all, environment_without_us

from dragon_rewards.packages import BROUGHT

pytestmark = pytest.mark.slow  # ten sdists and ten wheels are built

FOLDERS = {  # folder of the repository -> its place in the wheel
    "dragon_rewards": "dragon_rewards",
    "dragon_train": "dragon_train",
    "exemplar_sets": "dragon_rewards/exemplar_sets",
}
MOST_BYTES = 25_000_000  # of all weights together
NEEDED = [
    "dragon_rewards/py.typed",
    "dragon_rewards/suites.toml",
    "dragon_rewards/embedded/weights/aesthetics.safetensors",
    "dragon_rewards/embedded/weights/autoencoder/diffusion_pytorch_model.safetensors",
    "dragon_rewards/embedded/weights/clap/model.safetensors",
    "dragon_rewards/embedded/weights/spr/model.safetensors",
    "dragon_rewards/embedded/statistics/spr/airs.safetensors",
    "dragon_rewards/exemplar_sets/airs/captions.txt",
    "dragon_rewards/exemplar_sets/airs/clap.safetensors",
    "dragon_rewards/exemplar_sets/descriptions/manifest.json",
    "dragon_train/py.typed",
    "dragon_train/bench/presets.toml",
    "dragon_train/embedded/adherence.safetensors",
    "dragon_train/embedded/real_latents.safetensors",
    "dragon_train/embedded/real_latents_airs.safetensors",
    "dragon_train/embedded/real_music.csv",
    "dragon_train/embedded/prompts/exam.txt",
    "dragon_train/embedded/weights/transformer/diffusion_pytorch_model.safetensors",
]
ENCODERS = {"clap", "spr", "logmel", "octaves", "clip", *(name for names in BROUGHT.values() for name in names)}


def project(folder: Path) -> Any:
    """The metadata that a package declares."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def sources() -> dict[str, Path]:
    """Place in the wheel -> file of the repository, of everything in the packages but compiled code."""
    return {
        f"{place}/{file.relative_to(ROOT / folder).as_posix()}": file
        for folder, place in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of distributions, which pip takes for an index."""
    folder = tmp_path_factory.mktemp("index")
    build_all(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(index: Path) -> Path:
    return next(index.glob("dragon_rewards-*.whl"))


def test_every_package_has_an_sdist_and_a_wheel_of_its_one_version(index: Path) -> None:
    built = {f"{each['name'].replace('-', '_')}-{each['version']}" for each in map(project, [ROOT, *PACKAGES])}
    assert {path.name for path in index.iterdir()} == {
        name for each in built for name in (f"{each}.tar.gz", f"{each}-py3-none-any.whl")
    }


def test_every_distribution_is_fit_for_an_index(index: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(index.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_the_packages_is_inside(wheel: Path) -> None:
    assert set(sources()) - set(ZipFile(wheel).namelist()) == set()


@pytest.mark.parametrize("name", NEEDED)
def test_what_running_needs_is_inside(wheel: Path, name: str) -> None:
    assert name in ZipFile(wheel).namelist()


def test_the_weights_stay_small(wheel: Path) -> None:
    sizes = [info.file_size for info in ZipFile(wheel).infolist() if "/weights/" in info.filename]
    assert 0 < sum(sizes) <= MOST_BYTES


def run(environment: Environment, *arguments: str) -> str:
    """What a command of the environment prints, run where the clone is not on the path."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [environment.python, *arguments]
    done = subprocess.run(command, cwd=environment.folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installation(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Every plugin by its name; pip finds the core by the name that they require it by.

    Those whose own networks are not installed here (laion-clap, torchvggish) are installed without their requirements.
    """
    environment = environment_without_us(tmp_path_factory.mktemp("elsewhere") / "environment")
    pip = ("-m", "pip", "install", "--quiet", "--no-compile", "--no-index", f"--find-links={index}")
    whole: list[str] = []
    parts: list[str] = []
    for package in map(project, PACKAGES):
        required = [Requirement(line) for line in package["dependencies"]]
        there = all(installed(each) for each in required if each.name != "dragon-rewards")
        (whole if there else parts).append(package["name"])
    run(environment, *pip, *whole)
    run(environment, *pip, "--no-deps", *parts)
    return environment


def test_the_core_came_with_them_from_the_index(installation: Environment) -> None:
    [place] = run(installation, "-c", "import dragon_rewards; print(dragon_rewards.__file__)").splitlines()
    assert Path(place).is_relative_to(installation.site_packages)


def test_dragon_shows_every_plugin(installation: Environment) -> None:
    command = str(installation.folder / "bin" / "dragon")
    shown = run(installation, command, "plugins")
    assert [package.name for package in PACKAGES if package.name not in shown] == []


def test_dragon_lists_encoders_of_every_plugin(installation: Environment) -> None:
    command = str(installation.folder / "bin" / "dragon")
    listed = {row["name"] for row in json.loads(run(installation, command, "list", "encoders", "--json"))}
    assert ENCODERS - listed == set()
    sets = {row["name"] for row in json.loads(run(installation, command, "list", "exemplar-sets", "--json"))}
    assert "airs" in sets
