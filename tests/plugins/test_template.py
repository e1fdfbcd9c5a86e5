"""The template's README is typed as it stands: in an empty folder, in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import shlex
import site
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from support.readme import ROOT, blocks

pytestmark = pytest.mark.slow

PAGE = (ROOT / "plugins" / "dragon-reward-template" / "README.md").read_text(encoding="utf-8")
# What pip writes as a package's command, for packages that are installed outside of the environment.
COMMAND = "import sys; from importlib.metadata import entry_points as points; sys.argv[0] = {name!r}; "
COMMAND += "[entry] = points(group='console_scripts', name={name!r}); sys.exit(entry.load()())"


def make_environment(folder: Path) -> Path:
    """A virtual environment that sees what is installed in the current one; its folder of commands."""
    venv.create(folder, with_pip=False)
    commands = Path(sysconfig.get_path("scripts", "venv", {"base": str(folder), "installed_base": str(folder)}))
    packages = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    # addsitedir follows the .pth files of editable installs, which a bare path in a .pth file does not.
    lines = [f"import site; site.addsitedir({seen!r})" for seen in site.getsitepackages()]
    (Path(packages) / "current.pth").write_text("\n".join(lines), encoding="utf-8")
    for name in ("dragon", "pip", "pytest"):
        line = shlex.join([str(commands / "python"), "-c", COMMAND.format(name=name)])
        (commands / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n', encoding="utf-8")
        (commands / name).chmod(0o755)
    return commands


def variables(commands: Path) -> dict[str, str]:
    """The environment's commands first; pip reaches no index and builds with what is installed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DRAGON_")}
    return inherited | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as "without isolation"
    }


def run(text: str, folder: Path, environment: dict[str, str]) -> str:
    shell = ["bash", "-euo", "pipefail", "-c", text]
    done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newcomer's folder, in which the clone lies."""
    path = tmp_path_factory.mktemp("newcomer")
    (path / "dragon-rewards").symlink_to(ROOT)
    return path


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return variables(make_environment(folder / ".venv"))


@pytest.fixture(scope="module")
def printed(folder: Path, environment: dict[str, str]) -> list[str]:
    """What each command block printed, all blocks taken in order."""
    outputs = []
    for block in blocks(PAGE):
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.is_run:
            outputs.append(run(block.text, folder, environment))
    return outputs


def test_the_template_is_listed_under_its_new_name(printed: list[str]) -> None:
    _, listed, *_ = printed
    assert "dragon-reward-mine" in listed
    assert "octaves" in listed
    assert "variation" in listed


def test_rewards_of_the_template_score_every_clip(printed: list[str]) -> None:
    _, _, scored, _ = printed
    assert scored.count("variation:octaves") == 3
    assert scored.count("variation:clap") == 3
    assert scored.count("vendi:octaves") == 1


def test_the_tests_of_the_copy_pass_and_its_encoder_scores(printed: list[str]) -> None:
    *_, tested = printed
    assert " passed" in tested
    assert "vendi:cepstrum" in tested


def test_the_page_shows_the_entry_point_that_renaming_leaves(folder: Path, printed: list[str]) -> None:
    assert printed
    [shown] = [block.text for block in blocks(PAGE) if block.language == "toml"]
    assert shown in (folder / "dragon-reward-mine" / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("printed")
def test_what_is_edited_takes_effect_at_once(folder: Path, environment: dict[str, str]) -> None:
    names = {row["name"] for row in json.loads(run("dragon list encoders --json", folder, environment))}
    assert "cepstrum" in names
    assert "octaves" not in names


def test_the_template_itself_conforms(tmp_path: Path) -> None:
    environment = variables(make_environment(tmp_path / ".venv"))
    template = tmp_path / "dragon-reward-template"
    run(f"cp -r {shlex.quote(str(ROOT / 'plugins' / template.name))} {template.name}", tmp_path, environment)
    run(f"pip install ./{template.name}", tmp_path, environment)
    tested = run(f"pytest -v {template.name}/tests", tmp_path, environment)
    assert "test_conformance[encoder octaves: order-equivariant] PASSED" in tested
    assert "test_conformance[reduction variation: locality] PASSED" in tested
