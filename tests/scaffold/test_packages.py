"""A generated package of every kind works as it stands: its README's commands list it, use it, and pass its tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.parts import Site
from support.readme import ROOT, blocks
from typer.testing import CliRunner

from dragon_rewards.errors import DragonError
from dragon_rewards.media.audio import write_audio
from dragon_rewards.testing.sounds import sounds
from dragon_train.cli.app import app
from dragon_train.scaffold.kinds import FACTS, Kind, Names
from dragon_train.scaffold.package import rendered, write_package

KINDS = pytest.mark.parametrize("kind", list(Kind))
RUFF = (sys.executable, "-m", "ruff")
CONFIG = ("--config", str(ROOT / "pyproject.toml"))
OF_TESTS = ("S101", "INP001", "D1")  # what ruff lets pass in tests, as in those of `plugins/`


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of every kind."""
    folder = tmp_path_factory.mktemp("written")
    for kind in Kind:
        write_package(Names(kind, f"first-{kind}"), folder)
    return folder


def folder_of(kind: Kind, parent: Path) -> Path:
    return parent / f"{FACTS[kind].prefix}first-{kind}"


@KINDS
def test_every_file_of_its_templates_is_filled_in(kind: Kind, written: Path) -> None:
    folder = folder_of(kind, written)
    for place, text in rendered(Names(kind, f"first-{kind}")):
        assert (folder / place).read_text(encoding="utf-8") == text
        if place.suffix == ".py":
            compile(text, str(place), "exec")
    there = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {Path("README.md"), Path("pyproject.toml"), Path(".gitignore"), Path("tests/test_conformance.py")} <= there


@KINDS
def test_ruff_finds_nothing(kind: Kind, written: Path) -> None:
    folder = folder_of(kind, written)
    allowed = [option for rule in OF_TESTS for option in ("--per-file-ignores", f"**/tests/*:{rule}")]
    scripts = ("--per-file-ignores", "**/make_set.py:INP001")
    run(*RUFF, "check", *CONFIG, "--no-cache", *allowed, *scripts, ".", cwd=folder)
    run(*RUFF, "format", "--check", *CONFIG, "--no-cache", ".", cwd=folder)


@pytest.mark.slow
@KINDS
def test_mypy_finds_nothing(kind: Kind, written: Path) -> None:
    folder = folder_of(kind, written)
    options = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(written / ".mypy_cache"))
    run(sys.executable, "-m", "mypy", *options, ".", cwd=folder)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips in it, as a newcomer has it."""
    folder = tmp_path_factory.mktemp("newcomer")
    for number, sound in enumerate(sounds(3, 16_000, 5)):
        write_audio(folder / "clips" / f"{number}.wav", sound[None], 16_000)
    return folder


@pytest.mark.slow
@KINDS
def test_the_commands_of_its_readme_work(kind: Kind, newcomer: Path) -> None:
    folder = write_package(Names(kind, f"first-{kind}"), newcomer)
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert {"pip install", "dragon list", "pytest"} <= {
        " ".join(line.split()[:2]) if line.startswith(("pip", "dragon list")) else line.split()[0]
        for block in blocks(page)
        for line in block.text.splitlines()
    }
    for block in blocks(page):
        block.follow(newcomer)


def test_the_command_says_what_is_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["plugins", "new", "rise-and-fall", "--kind", "reduction"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "pip install -e ./dragon-reward-rise-and-fall"
    module = tmp_path / "dragon-reward-rise-and-fall" / "dragon_reward_rise_and_fall" / "__init__.py"
    assert 'name="rise-and-fall"' in module.read_text(encoding="utf-8")


REFUSED = {
    ("Flux", "encoder"): "'Flux' is no name of a plugin: use lower-case letters and digits",
    ("a--b", "encoder"): "'a--b' is no name of a plugin",
    ("../x", "encoder"): "'../x' is no name of a plugin",
    ("dragon-reward-flux", "encoder"): "give the name of the encoder alone, as in 'mine'; its package is then called "
    "'dragon-reward-mine'",
    ("clap", "encoder"): "encoder 'clap' is there already, of package dragon-rewards; give another name",
    ("vendi", "reduction"): "reduction 'vendi' is there already",
    ("airs", "exemplar-set"): "exemplar-set 'airs' is there already",
    ("kto", "objective"): "objective 'kto' is there already",
    ("musicldm", "adapter"): "adapter 'musicldm' is there already",
    ("encodec-48khz", "encoder"): "encoder 'encodec-48khz' is what package dragon-reward-encodec brings",
    ("vggish", "reduction"): "package 'dragon-reward-vggish' is one of dragon-rewards",
    ("here", "encoder"): "'dragon-reward-here' is there already; give another name, or remove it",
    ("flux", "judge"): "'judge' is not one of",
}


@pytest.mark.parametrize(("name", "kind"), REFUSED)
def test_names_that_cannot_be_used_are_refused(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dragon-reward-here").mkdir()
    done = CliRunner().invoke(app, ["plugins", "new", name, "--kind", kind])
    assert done.exit_code == 2
    assert REFUSED[name, kind] in " ".join(done.stderr.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["dragon-reward-here"]


def test_an_installed_package_is_refused(site: Site, tmp_path: Path) -> None:
    site.install("dragon-reward-installed", "")
    with pytest.raises(DragonError, match=r"package 'dragon-reward-installed' 1.2 is installed; give another name"):
        write_package(Names(Kind.ENCODER, "installed"), tmp_path)
