"""The first things that somebody types: the version, wrong names, a file of settings, a suite of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dragon_rewards import compose, packages
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.registry import load_registry
from dragon_rewards.suites import EXAMPLE, load_suite, serve
from dragon_train.bench.presets import load_preset
from dragon_train.cli.app import app
from dragon_train.config import TrainConfig, train_config
from dragon_train.config_text import as_toml

PLUGINS = Path(__file__).parents[2] / "plugins"
REFUSED: dict[str, str] = {
    "train --reward nonsense": "'nonsense' is no reward",
    "train --reward vendi:clap --objective nope": "unknown objective 'nope'",
    "train --reward vendi:clap --pairing unpaired": "compares clips of the same prompt",
    "train --reward vendi:clap --prompts nope.txt --out runs/x": "give a table or a list as TXT",
    "train --reward vendi:clap --pipeline nope": "unknown pipeline 'nope'",
    "train --reward vendi:clap --pipeline ace-step": "which are not on this machine",
    "train nope.toml": "nope.toml",
    "sample jig --pipeline nope --out o": "unknown pipeline 'nope'",
    "sample jig --run nope --out o": "no finished run",
    "sample jig --diffusion-steps 2 --steps 2 --out o": "the former name of --diffusion-steps",
    "sample jig --out full": "--overwrite replaces its clips, --append adds to them",
    "best-of 2 jig --reward nope --out o": "'nope' is no reward",
    "best-of 2 jig --reward vendi:clap --out o": "at least 2 clips",
    "score nope clips": "'nope' is no reward",
    "score vendi:clap nope.wav": "'nope.wav' does not exist",
    "rank clips --reward vendi:nope": "unknown encoder 'nope'",
    "compare a b --rewards nope": "'nope' is no reward",
    "compare a b": "'a' does not exist",
    "bench --suite nope": "unknown suite 'nope'",
    "bench --preset nope": "unknown preset 'nope'",
    "bench --rewards nope": "unknown reward of suite",
    "bench --launcher nope": "unknown launcher 'nope'",
    "bench --pipeline nope": "unknown pipeline 'nope'",
    "ablate nope": "unknown ablation 'nope'",
    "estimate --card nope": "unknown card 'nope'",
    "estimate --card h100 --device cpu": "leave out --device",
    "estimate --reward nope": "'nope' is no reward",
    "report nope": "holds neither config.json nor benchmark.json",
    "listen page nope --out o.html --db v.sqlite": "is no folder of a `dragon train` run",
    "fit-ratings nope.csv --encoder clap": "'nope.csv'",
    "fit-ratings my(1).csv --encoder clap": "'my(1).csv' gives its reward no name",
    "fit-ratings nope.csv --encoder nope": "unknown encoder 'nope'",
    "fit-preferences nope.csv --encoder clap": "'nope.csv'",
    "rate-next full --reward vendi:nope": "unknown encoder 'nope'",
    "rate-next full --reward vendi:clap": "'vendi:clap' is no reward of `dragon fit-ratings`",
    "exemplars add x nope": "'nope' does not exist",
    "export-reward nope --for trl": "'nope' is no reward",
    "sample jig --guidance inf --out o": "Invalid value for '--guidance'",
    "exemplars add x full --window inf": "Invalid value for '--window'",
    f"sample jig --seed {2**63} --out o": "Invalid value for '--seed'",
    f"best-of 2 jig --reward vendi:clap --seed {2**63} --out o": "Invalid value for '--seed'",
    f"bench --seed {2**63}": "Invalid value for '--seed'",
    f"fit-ratings nope.csv --encoder clap --seed {2**63}": "Invalid value for '--seed'",
    f"exemplars judge airs --seed {2**63}": "Invalid value for '--seed'",
    f"exemplars facets airs --encoder clap --seed {2**63}": "Invalid value for '--seed'",
    f"listen serve full full --seed {2**63}": "Invalid value for '--seed'",
}
TRY = """
import json, sys
from typer.testing import CliRunner
from dragon_train.cli.app import app
said = {}
for line in json.load(sys.stdin):
    done = CliRunner().invoke(app, line.split())
    said[line] = [done.exit_code, done.stdout, " ".join(done.stderr.split()), "torch" in sys.modules]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """What each line led to, and what is in the folder afterwards."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "full").mkdir()
    (folder / "full" / "mine.wav").touch()
    command, asked = [sys.executable, "-c", TRY], json.dumps(list(REFUSED))
    done = subprocess.run(command, cwd=folder, input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return json.loads(done.stdout), left


@pytest.mark.parametrize("line", REFUSED)
def test_a_refusal_that_needs_no_model_waits_for_no_library(
    line: str, refusals: tuple[dict[str, Any], list[str]]
) -> None:
    """Torch takes 1.4 s to import, the libraries of pipelines 5 s: what is refused without them comes in half a one."""
    code, printed, said, imported = refusals[0][line]
    assert (code, printed) == (2, "")
    assert REFUSED[line] in said
    assert not imported


def test_refusals_leave_nothing_behind(refusals: tuple[dict[str, Any], list[str]]) -> None:
    assert refusals[1] == ["full", "full/mine.wav"]


def test_the_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, "dragon-rewards 0.1.0\n")


def test_a_printed_configuration_is_complete_and_gives_the_same_run(tmp_path: Path) -> None:
    options = ["--reward", "vendi:clap + 0.5 * clap-score:clap", "--objective", "raft", "--learning-rate", "2e-5"]
    printed = CliRunner().invoke(
        app, ["train", "--print-config", "--heldout", "vendi:vae", "--heldout-prompts", "4", *options]
    )
    assert printed.exit_code == 0, printed.stderr
    values = tomllib.loads(printed.stdout)
    assert set(values) == set(TrainConfig.__dataclass_fields__)
    config = train_config(values, "printed")
    assert (config.learning_rate, config.heldout, config.options["samples"]) == (2e-5, ("vendi:vae",), 4)
    (tmp_path / "run.toml").write_text(printed.stdout)
    again = CliRunner().invoke(app, ["train", str(tmp_path / "run.toml"), "--print-config"])
    assert again.stdout == printed.stdout


def test_without_a_reward_an_example_is_printed() -> None:
    printed = CliRunner().invoke(app, ["train", "--print-config"])
    assert tomllib.loads(printed.stdout)["reward"] == "vendi:clap"
    assert (
        "# The number of on-policy steps; each samples two sets of clips for the same prompts.\nsteps = 10\n"
        in printed.stdout
    )


def test_texts_of_any_kind_survive_as_toml() -> None:
    odd = 'a "folder" with \\ and\nnewline, \x7f, é and 🎻'
    config = replace(TrainConfig("vendi:clap"), pipeline=odd, lora_targets=(odd, "to_q"))
    assert train_config(tomllib.loads(as_toml(config, None)), "printed") == config


def test_help_of_train_shows_defaults_and_ranges() -> None:
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).stdout
    lines = {line.split()[1]: line for line in shown.splitlines() if line.startswith("│ --")}
    assert "1<=x<=1000000" in lines["--steps"]
    assert "2<=x<=1000000" in lines["--prompts-per-step"]
    assert "default: (10)" in shown
    wanted = {f"--{name.replace('_', '-')}" for name in TrainConfig.__dataclass_fields__} - {"--options"}
    assert wanted <= set(lines)


def test_the_example_of_a_suite_is_one(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["list", "suites"]).stdout
    assert shown.endswith(EXAMPLE)
    (tmp_path / "mine.toml").write_text(EXAMPLE)
    served = serve(load_suite(tmp_path / "mine.toml"), load_registry())
    assert [serving.served for serving in served] == ["dataset-fad:clap@airs", "vendi:clap"]
    assert served[1].note == (
        "vendi:clap stands in for vendi:clap-music: encoder 'clap-music' is not installed; "
        "pip install ./plugins/dragon-reward-clap"
    )


def test_notes_of_stand_ins_are_a_line_that_names_a_package() -> None:
    notes = [serving.note for serving in serve(load_suite("dragon20"), load_registry()) if serving.note]
    assert len(notes) == 4
    assert not any("\n" in note for note in notes)
    assert sum("pip install ./plugins/dragon-reward-" in note for note in notes) == 3


@pytest.mark.parametrize("package", packages.BROUGHT)
def test_packages_bring_what_is_said_of_them(package: str) -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (PLUGINS / package).glob("*.py"))
    for encoder in packages.BROUGHT[package]:
        assert f'"{encoder.rstrip("0123456789").rstrip("-")}' in source


def test_a_preset_gives_what_neither_file_nor_options_name(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('reward = "vendi:clap"\nlearning_rate = 2e-4\n')
    options = ["train", str(tmp_path / "run.toml"), "--preset", "quick", "--steps", "3", "--print-config"]
    printed = tomllib.loads(CliRunner().invoke(app, options).stdout)
    quick = load_preset("quick").config(compose("vendi:clap"), seed=0)
    assert (printed["steps"], printed["learning_rate"]) == (3, 2e-4)
    for name in ("reward", "objective", "minibatch", "prompts_per_step"):
        assert printed[name] == getattr(quick, name)
    assert quick.options.items() <= printed["options"].items()
    assert printed["reward"].startswith("3 * vendi:clap + 1.25 * dataset-fad:clap@tunebook + ")
    refused = CliRunner().invoke(app, ["train", "--reward", "vendi:clap", "--preset", "quik"])
    assert refused.exit_code == 2
    assert "did you mean quick" in refused.stderr


def test_a_mixture_keeps_its_weights_within_a_preset() -> None:
    mixture = compose_mixture("vendi:clap + 0.5 * dataset-fad:clap@tunebook")
    found = load_preset("quick").config(mixture, seed=0).reward
    assert found == (
        "3 * vendi:clap + 1.5 * dataset-fad:clap@tunebook + 1.25 * dataset-fad:logmel@tunebook "
        "+ 1.25 * dataset-fad:vae@tunebook"
    )
