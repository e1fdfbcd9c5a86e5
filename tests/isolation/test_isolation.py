"""What a package that pip installed breaks is named, and everything else keeps working."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from support.environments import VERSION, Environment
from support.packages import BROKEN, WORKING

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

    from support.packages import Broken

pytestmark = pytest.mark.slow

BUILT_IN = {"vae", "clap", "spr", "logmel", "chroma"}
LOADED = ["good", "loud", "slow"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """All packages, installed by one call of pip."""
    folder = tmp_path_factory.mktemp("isolation")
    environment = Environment.create(folder / "environment")
    environment.install([*WORKING, *(broken.package for broken in BROKEN)], folder / "sources")
    return environment


@pytest.fixture(autouse=True)
def _unrestricted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRAGON_REWARDS_PLUGINS", raising=False)


@pytest.fixture(scope="session")
def shown(environment: Environment) -> CompletedProcess[str]:
    """What `dragon plugins` says."""
    return environment.dragon("plugins", "--traceback")


def rows(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    parsed: list[dict[str, Any]] = json.loads(done.stdout)
    return parsed


def listed(done: CompletedProcess[str]) -> list[str]:
    """The encoders of installed packages; the built-in ones are there too."""
    encoders = rows(done)
    assert {row["name"] for row in encoders} >= BUILT_IN
    return [row["name"] for row in encoders if row["package"] != "dragon-rewards"]


def named(broken: Broken) -> str:
    return f"{broken.package.plugin} ({broken.package.name} {VERSION}), {broken.stage}: "


def test_plugins_exits_with_1_and_names_only_what_broke(shown: CompletedProcess[str]) -> None:
    failed = [line for line in shown.stdout.splitlines() if line.startswith("FAILED ")]
    assert shown.returncode == 1, shown.stderr
    assert len(failed) == len(BROKEN)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.package.plugin)
def test_a_failure_is_named_with_package_version_stage_and_reason(shown: CompletedProcess[str], broken: Broken) -> None:
    (line,) = [line for line in shown.stdout.splitlines() if line.startswith(f"FAILED {named(broken)}")]
    assert broken.reason in line


def test_tracebacks_are_shown_on_request_alone(environment: Environment, shown: CompletedProcess[str]) -> None:
    assert shown.stdout.count("Traceback (most recent call last):") >= len(BROKEN)
    assert f'{environment.site_packages / "dragon_reward_raising_hook.py"}", line ' in shown.stdout
    assert "Traceback" not in environment.dragon("plugins").stdout


def test_lists_stay_json_and_hold_all_that_works_and_no_more(environment: Environment) -> None:
    done = environment.dragon("list", "encoders", "--json")
    assert listed(done) == LOADED
    assert "importing\nregistering\n" in done.stderr
    assert f"{len(BROKEN)} plugins failed to load: see `dragon plugins`" in done.stderr


def test_rewards_of_the_good_plugins_compose(environment: Environment) -> None:
    composed = {row["name"] for row in rows(environment.dragon("list", "rewards", "--json"))}
    assert {"vendi:good", "vendi:slow", "vendi:clap", "per-song-fad:clap@airs"} <= composed
    assert not any("staged" in name for name in composed)


def test_a_good_plugin_scores_clips(environment: Environment, tmp_path: Path) -> None:
    for seed in (1, 2):
        noise = np.random.default_rng(seed).normal(scale=0.1, size=16_000)
        soundfile.write(tmp_path / f"{seed}.wav", noise, 16_000)
    (row,) = rows(environment.dragon("score", "vendi:good", str(tmp_path), "--json"))
    assert 1 <= row["value"] <= 2


def test_an_unknown_name_is_refused_with_every_plugin_that_may_have_held_it(environment: Environment) -> None:
    done = environment.dragon("score", "vendi:staged", "clip.wav")
    assert done.returncode == 2
    assert "unknown encoder 'staged'" in done.stderr
    group = [broken for broken in BROKEN if broken.package.group == "dragon_rewards"]
    assert [named(broken) for broken in group if named(broken) not in done.stderr] == []


def test_the_environment_variable_leaves_out_what_broke(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAGON_REWARDS_PLUGINS", "good,dragon-reward-loud")
    done = environment.dragon("plugins", "--json")
    assert done.returncode == 0, done.stderr
    plugins = json.loads(done.stdout)["plugins"]
    assert [plugin["name"] for plugin in plugins if plugin["package"] != "dragon-rewards"] == ["good", "loud"]


def test_the_slow_plugin_is_named_with_its_seconds(environment: Environment, shown: CompletedProcess[str]) -> None:
    assert "SLOW slow (dragon-reward-slow 1.2): 2." in shown.stdout
    seconds = json.loads(environment.dragon("plugins", "--json").stdout)["seconds"]
    assert max(seconds, key=seconds.get) == "slow (dragon-reward-slow 1.2)"
    assert seconds["slow (dragon-reward-slow 1.2)"] >= 2
    assert f"same-name (dragon-reward-same-name {VERSION})" in seconds


@pytest.fixture
def damaged(environment: Environment, tmp_path: Path) -> Environment:
    """A copy in which files that pip wrote are broken; `foreign` is no plugin of this project."""
    copy = Environment(shutil.copytree(environment.folder, tmp_path / "damaged", symlinks=True))
    folders = {name: copy.site_packages / f"dragon_reward_{name}-{VERSION}.dist-info" for name in LOADED}
    (folders["good"] / "METADATA").unlink()
    (folders["loud"] / "entry_points.txt").write_text("[dragon_rewards]\nno equals sign\n", encoding="utf-8")
    (folders["slow"] / "entry_points.txt").write_text("[dragon_rewards]\nslow = no module!\n", encoding="utf-8")
    foreign = shutil.copytree(folders["loud"], copy.site_packages / "foreign-1.0.dist-info")
    (foreign / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n", encoding="utf-8")
    (foreign / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n", encoding="utf-8")
    return copy


def test_broken_metadata_is_named_too(damaged: Environment) -> None:
    done = damaged.dragon("plugins")
    assert done.returncode == 1, done.stderr
    folder = damaged.site_packages / "dragon_reward_good-1.2.dist-info"
    assert f"({folder}), find: LookupError: its metadata cannot be read (METADATA names no package" in done.stdout
    assert "dragon-reward-loud (dragon-reward-loud 1.2), find: LookupError: its metadata cannot be read" in done.stdout
    assert "slow (dragon-reward-slow 1.2), import: ValueError: its entry point 'slow = no module!'" in done.stdout
    assert "foreign" not in done.stdout


def test_lists_survive_broken_metadata(damaged: Environment) -> None:
    done = damaged.dragon("list", "encoders", "--json")
    assert listed(done) == ["staged", "good"]  # of same-name, now that the other holder of its name is left out
