"""Packages that need an environment of their own pass their tests there, and serve this one from there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.environments import Environment
from support.installation import ROOT, SEPARATE, run_tests, separate
from support.serving import Server, serve

pytestmark = pytest.mark.slow

LAION_CLAP = ROOT / "plugins" / "dragon-reward-laion-clap"
SAVE = "import sys; from pathlib import Path; import conftest; conftest.save_weights(Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest) -> Path:
    package: Path = request.param
    return package


@pytest.fixture(scope="module")
def environment(package: Path, folder: Path) -> Environment:
    """Made once for all tests of a package: it takes minutes."""
    return separate(package, folder)


@pytest.mark.parametrize("package", SEPARATE, ids=lambda package: package.name, indirect=True)
def test_its_own_tests_pass(environment: Environment, package: Path) -> None:
    run_tests(environment, package)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three sounds of a second at 16 kHz."""
    folder = tmp_path / "clips"
    folder.mkdir()
    time = np.arange(16_000) / 16_000
    sounds = np.sin(440 * time), np.random.default_rng(0).normal(0, 0.3, 16_000), np.sin(4000 * time**2)
    for number, sound in enumerate(sounds):
        soundfile.write(folder / f"{number}.wav", 0.5 * sound, 16_000)
    return folder


@pytest.fixture
def server(
    environment: Environment, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """`dragon serve` in the package's environment, with a checkpoint of its tests' making."""
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path / "weights"))
    made = subprocess.run(
        [environment.python, "-c", SAVE, str(tmp_path / "weights" / "laion-clap")],
        cwd=package / "tests",  # where `conftest` is found
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    server = serve("--encoders", "laion-clap", site=tmp_path, python=environment.python)
    yield server
    server.stop()


def dragon(*arguments: str) -> Any:
    """What a command of this environment prints as JSON, or nothing."""
    command = [sys.executable, "-m", "dragon_train.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null") if "--json" in arguments else None


@pytest.mark.parametrize("package", [LAION_CLAP], ids=lambda package: package.name, indirect=True)
def test_its_encoder_is_scored_with_from_here(
    environment: Environment, server: Server, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = ("score", "vendi:laion-clap", str(clips), "--json")
    own = environment.dragon(*scored)
    assert own.returncode == 0, own.stderr
    monkeypatch.setenv("DRAGON_REMOTES", str(tmp_path / "remotes.json"))
    monkeypatch.setenv("DRAGON_TOKEN", server.token)
    monkeypatch.delenv("DRAGON_WEIGHTS")  # which are there, not here
    dragon("remote", "add", server.url, "--token-env", "DRAGON_TOKEN")
    assert "laion-clap" in [encoder["name"] for encoder in dragon("list", "encoders", "--json")]
    [[there], [here]] = json.loads(own.stdout), dragon(*scored)
    assert there["value"] > 1.001  # random weights tell sounds apart by little
    assert here["value"] == pytest.approx(there["value"], rel=1e-6)
