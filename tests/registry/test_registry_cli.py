"""`dragon list` and `dragon plugins`: what they print, their exit codes, and what they do not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

import dragon_rewards
import dragon_train.cli.verbs.listing
import dragon_train.cli.verbs.plugins
from dragon_rewards.errors import UnknownNameError
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose, valid_names
from dragon_train.cli.app import app

if TYPE_CHECKING:
    from support.parts import Site

GOOD = """
from dragon_rewards import EncoderInfo, Modality, hookimpl
print("a plugin that prints")

@hookimpl
def register_encoders(register):
    both = frozenset({Modality.AUDIO, Modality.TEXT})
    register(EncoderInfo("good", both, 4, 16000, "MIT", "[red]square brackets", object))
"""
HEAVY = "torch numpy scipy pandas diffusers transformers peft pyarrow soundfile"
LIGHT_RUN = f"""
import sys
from dragon_train.cli import main
try:
    main()
finally:
    heavy = set({HEAVY.split()!r}) & set(sys.modules)
    assert not heavy, heavy
"""


def listed(what: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["list", what, "--json"])
    assert result.exit_code == 0
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def test_every_part_is_listed() -> None:
    registry = load_registry()
    assert {"vae", "clap", "spr", "logmel", "chroma"} <= {row["name"] for row in listed("encoders")}
    assert [row["name"] for row in listed("encoders")] == list(registry.encoders)
    assert [row["name"] for row in listed("exemplar-sets")] == list(registry.exemplar_sets)
    assert [row["name"] for row in listed("reductions")] == list(registry.reductions)
    assert [row["name"] for row in listed("rewards")] == list(map(str, valid_names(registry)))
    assert len(next(row for row in listed("suites") if row["name"] == "dragon20")["rewards"]) == 20


def test_listed_rewards_compose() -> None:
    for row in listed("rewards"):
        assert compose(row["name"]).name == row["name"]


def test_plugins_show_up_with_their_package_and_stdout_stays_json(site: Site) -> None:
    site.install("dragon-reward-good", GOOD)
    row = next(row for row in listed("encoders") if row["name"] == "good")
    assert (row["modalities"], row["package"]) == (["audio", "text"], "dragon-reward-good")
    assert {"name": "vendi:good", "kind": "distribution-to-distribution", "metric": "higher"} in listed("rewards")


def test_tables_print_what_plugins_wrote_as_it_is(site: Site) -> None:
    site.install("dragon-reward-good", GOOD)
    assert "[red]square brackets" in CliRunner().invoke(app, ["list", "encoders"]).stdout


def test_a_list_says_that_plugins_failed(site: Site) -> None:
    site.install("dragon-reward-bad", "import no_such_module")
    result = CliRunner().invoke(app, ["list", "encoders"])
    assert result.exit_code == 0
    assert "1 plugin failed to load: see `dragon plugins`" in result.stderr


def test_plugins_exits_with_0_when_all_loaded(site: Site) -> None:
    site.install("dragon-reward-good", GOOD)
    result = CliRunner().invoke(app, ["plugins", "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert {"name": "good", "package": "dragon-reward-good", "version": "1.2"} in shown["plugins"]
    assert shown["failures"] == []


@pytest.mark.parametrize("options", [[], ["--traceback"]])
def test_plugins_exits_with_1_and_names_failures(site: Site, options: list[str]) -> None:
    site.install("dragon-reward-bad", "import no_such_module")
    result = CliRunner().invoke(app, ["plugins", *options])
    assert result.exit_code == 1
    assert "FAILED bad (dragon-reward-bad 1.2), import: ModuleNotFoundError" in result.stdout
    assert ("Traceback (most recent call last)" in result.stdout) == bool(options)


def test_failures_are_json_too(site: Site) -> None:
    site.install("dragon-reward-bad", "import no_such_module")
    (failure,) = json.loads(CliRunner().invoke(app, ["plugins", "--json"]).stdout)["failures"]
    assert (failure["plugin"], failure["stage"]) == ("bad", "import")
    assert "no_such_module" in failure["traceback"]


def test_a_refusal_is_a_message_on_stderr_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise UnknownNameError("suite", "x", ["y"])

    monkeypatch.setattr(dragon_train.cli.verbs.listing, "load_registry", refuse)
    result = CliRunner().invoke(app, ["list", "encoders"])
    assert result.exit_code == 2
    assert result.stderr == "dragon: unknown suite 'x'; did you mean y?\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["list", "rewards", "--json"], ["plugins"]])
def test_help_and_lists_import_nothing_heavy(site: Site, arguments: list[str]) -> None:
    site.install("dragon-reward-good", GOOD)
    command = [sys.executable, "-c", LIGHT_RUN, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(site.folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_public_names_are_importable() -> None:
    for name in dragon_rewards.__all__:
        assert getattr(dragon_rewards, name) is not None
    assert dir(dragon_rewards) == sorted(dragon_rewards.__all__)
    with pytest.raises(AttributeError, match="no attribute 'compse'"):
        _ = dragon_rewards.compse
