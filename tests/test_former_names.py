"""What README, guide, plugins and exported modules imported in version 0.1 can be imported still, with a warning."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from dragon_rewards.former_names import MOVED

FORMER = [  # every import of the project's own modules in the documents and plugins of version 0.1
    ("dragon_rewards.audio", "read_audio"),
    ("dragon_rewards.evaluation", "prompts_for_power"),
    ("dragon_rewards.evaluation", "win_rate"),
    ("dragon_rewards.export", "FlowGrpoReward"),
    ("dragon_rewards.export", "TrlReward"),
    ("dragon_rewards.export", "flow_factory_reward"),
    ("dragon_rewards.metrics", "Gaussian"),
    ("dragon_rewards.metrics", "clip_contributions"),
    ("dragon_rewards.metrics", "fad_infinity"),
    ("dragon_rewards.metrics", "frechet_distance"),
    ("dragon_rewards.metrics", "per_song_fad"),
    ("dragon_rewards.metrics", "vendi_score"),
    ("dragon_rewards.reductions", "ClapScore"),
    ("dragon_rewards.testing", "conformance"),
    ("dragon_rewards.testing.images", "pictures"),
    ("dragon_train.catalogue", "AdapterInfo"),
    ("dragon_train.cli", "main"),
    ("dragon_train.config", "TrainConfig"),
    ("dragon_train.embedded.pipeline", "load_pipeline"),
    ("dragon_train.hookspecs", "hookimpl"),
    ("dragon_train.objectives.configured", "make_objective"),
    ("dragon_train.pipelines.base", "Policy"),
    ("dragon_train.pipelines.noise", "VariancePreserving"),
    ("dragon_train.pipelines.recorded", "RecordedPolicy"),
    ("dragon_train.registry", "load_train_registry"),
    ("dragon_train.trainer", "train"),
    ("dragon_train.tuning", "load_tuned"),
]


@pytest.mark.parametrize(("module", "name"), FORMER)
def test_imports_of_version_0_1_work_and_warn_where_they_moved(module: str, name: str) -> None:
    if module not in MOVED:
        assert hasattr(import_module(module), name)
        return
    sys.modules.pop(module, None)
    with pytest.warns(DeprecationWarning, match=f"{module} is now {MOVED[module][0]}"):
        found = getattr(import_module(module), name)
    assert any(getattr(import_module(home), name, None) is found for home in MOVED[module])


@pytest.mark.parametrize("former", MOVED)
def test_every_former_module_has_its_successors(former: str) -> None:
    assert all(import_module(home) for home in MOVED[former])
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match="goes with version"):
        import_module(former)


def test_the_warning_names_the_line_that_imports() -> None:
    code = "import dragon_train\nfrom dragon_train.catalogue import AdapterInfo\n"
    command = [sys.executable, "-W", "default", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "<string>:2: DeprecationWarning: dragon_train.catalogue is now dragon_train.descriptors" in done.stderr


def test_other_names_are_missing_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"dragon_rewards\.never_was"):
        import_module("dragon_rewards.never_was")
