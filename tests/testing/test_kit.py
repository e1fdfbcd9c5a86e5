"""The kit finds what a package registers, fails for what it does not, and passes on the built-in parts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dragon_rewards.registry import load_registry
from dragon_rewards.testing import Check, checks, conformance

if TYPE_CHECKING:
    from pathlib import Path

    from support.parts import Site

HEAD = """
from dragon_rewards import Direction, EncoderInfo, Modality, ReductionInfo, RewardKind, hookimpl

def encoder(factory):
    return EncoderInfo("ear", frozenset({Modality.AUDIO}), 4, 8000, "MIT", "a test's", factory)

@hookimpl
def register_encoders(register):
"""
LIGHT = HEAD + "    register(encoder(object))\n"
HEAVY = HEAD + "    import torch\n    register(encoder(torch.nn.Identity))\n"
BUILDING = "import numpy\n" + LIGHT
RAISING = HEAD + "    raise OSError('no disk')\n"
MISSPELT = HEAD.replace("register_encoders", "register_encoder") + "    pass\n"
SILENT = HEAD + "    pass\n"

test_the_built_in_parts_pass = conformance("dragon-rewards")


def failure(package: str) -> str:
    """The message of the only check, as the pytest test raises it."""
    test: Any = conformance(package)
    [mark] = test.pytestmark
    [parameters] = mark.args[1]
    with pytest.raises(AssertionError) as raised:
        test(*parameters.values)
    return str(raised.value)


def test_a_package_that_is_not_installed_fails(site: Site) -> None:  # noqa: ARG001  nothing is installed in it
    assert "no package 'dragon-reward-absent' is installed" in failure("dragon-reward-absent")


def test_a_package_without_plugins_fails() -> None:
    assert "registers nothing: name its module in entry-point group dragon_rewards" in failure("pluggy")


@pytest.mark.parametrize(
    ("source", "reason"),
    [(RAISING, "OSError: no disk"), (MISSPELT, "unknown hook"), ("import missing", "No module named 'missing'")],
)
def test_a_plugin_that_does_not_load_fails_with_its_traceback(
    site: Site,
    source: str,
    reason: str,
) -> None:
    site.install("dragon-reward-broken", source)
    message = failure("dragon-reward-broken")
    assert reason in message
    assert "Traceback" in message


def test_a_plugin_that_registers_nothing_fails(site: Site) -> None:
    site.install("dragon-reward-silent", SILENT)
    assert "'dragon-reward-silent' 1.2 registers nothing" in failure("dragon-reward-silent")


@pytest.mark.parametrize(("source", "library"), [(HEAVY, "torch"), (BUILDING, "numpy")])
def test_heavy_registration_is_caught(site: Site, source: str, library: str) -> None:
    site.install("dragon-reward-heavy", source)
    [check] = (check for check in checks("dragon-reward-heavy") if check.name == "registering builds nothing")
    with pytest.raises(AssertionError, match=f"registering imports .*{library}"):
        check.run()


def test_light_registration_passes_under_any_spelling_of_the_name(site: Site) -> None:
    site.install("dragon-reward-light", LIGHT)
    found = checks("Dragon_Reward.light")
    found[0].run()
    assert [str(found[0]), str(found[1])] == [
        "package dragon-reward-light: registering builds nothing",
        "encoder ear: facts",
    ]


def test_an_exception_of_a_part_becomes_a_failure_that_names_it(site: Site) -> None:
    site.install("dragon-reward-light", LIGHT)
    [check] = (check for check in checks("dragon-reward-light") if check.name == "finite")
    with pytest.raises(AssertionError, match=r"'finite' could not be checked.*encoder 'ear'.*returned object"):
        check.run()


def test_collecting_builds_nothing_and_names_check_and_part(site: Site, tmp_path: Path) -> None:
    site.install("dragon-reward-light", LIGHT)
    (tmp_path / "test_light.py").write_text(
        "import sys\nfrom dragon_rewards.testing import conformance\n"
        "test_conformance = conformance('dragon-reward-light')\nassert 'torch' not in sys.modules\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", "-p", "no:hypothesis"]
    environment = os.environ | {"PYTHONPATH": str(site.folder)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_light.py::test_conformance[encoder ear: order-equivariant]" in done.stdout


def test_the_kit_needs_no_pytest_where_no_test_is_made() -> None:
    source = (
        "import sys; sys.modules['pytest'] = None; from dragon_rewards.testing import checks; print(len(checks('x')))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr


def test_every_built_in_part_is_checked() -> None:
    registry = load_registry()
    parts = {check.part for check in checks("dragon-rewards")}
    counts = len(registry.encoders), len(registry.exemplar_sets), len(registry.reductions)
    assert len(parts) == 1 + sum(counts)
    assert all(isinstance(check, Check) for check in checks("dragon-rewards"))
