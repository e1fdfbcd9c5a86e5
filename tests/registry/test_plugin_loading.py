"""One plugin's failure, of whatever kind, is recorded under its name; every other plugin keeps working."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from support.parts import make_set

from dragon_rewards import hookspecs
from dragon_rewards.errors import DragonError, UnknownNameError
from dragon_rewards.plugins import PluginRecord, Stage
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import GROUP, load_registry

if TYPE_CHECKING:
    from support.parts import Site

    from dragon_rewards.plugins import PluginFailure

HEAD = """
from dragon_rewards import Direction, EncoderInfo, Modality, ReductionInfo, RewardKind, hookimpl, load_exemplar_set


def encoder(name, factory=object):
    return EncoderInfo(name, frozenset({Modality.AUDIO}), 4, 16000, "MIT", "a test's", factory)


def reduction(name):
    return ReductionInfo(name, RewardKind.INSTANCE, Direction.HIGHER, "a test's", object)

"""
GOOD = """
@hookimpl
def register_encoders(register):
    register(encoder("good"))
"""
STAGED = "register(encoder('staged'))"
RAISING = "@hookimpl\ndef register_reductions(register):\n    raise OSError('no disk')"

FAILURES = {
    "import error": ("import no_such_module", Stage.IMPORT, "No module named 'no_such_module'"),
    "exit at import": ("raise SystemExit(0)", Stage.IMPORT, "SystemExit: 0"),
    "interruption at import": ("raise KeyboardInterrupt", Stage.IMPORT, "KeyboardInterrupt"),
    "end of iteration at import": ("next(iter([]))", Stage.IMPORT, "StopIteration"),
    "no memory at import": ("raise MemoryError('no room')", Stage.IMPORT, "MemoryError: no room"),
    "interrupting hook": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    raise KeyboardInterrupt",
        Stage.REGISTRATION,
        "KeyboardInterrupt",
    ),
    "exhausted hook": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    next(iter([]))",
        Stage.REGISTRATION,
        "StopIteration",
    ),
    "raising hook": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    raise OSError('no disk')",
        Stage.REGISTRATION,
        "OSError: no disk",
    ),
    "later hook raises": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n{RAISING}",
        Stage.REGISTRATION,
        "OSError: no disk",
    ),
    "misspelt hook": (
        f"@hookimpl\ndef register_encoder(register):\n    {STAGED}",
        Stage.HOOKS,
        "unknown hook 'register_encoder'",
    ),
    "misspelt beside a good one": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n@hookimpl\ndef register_reducers(register): ...",
        Stage.HOOKS,
        "unknown hook 'register_reducers'",
    ),
    "misspelt argument": (
        f"@hookimpl\ndef register_encoders(registry):\n    {STAGED}",
        Stage.HOOKS,
        "can not be found in the hookspec",
    ),
    "unmarked hook": (f"def register_encoders(register):\n    {STAGED}", Stage.HOOKS, "implements no hook"),
    "wrong type": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    register(reduction('staged'))",
        Stage.REGISTRATION,
        "register_encoders takes EncoderInfo, not ReductionInfo",
    ),
    "malformed name": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    register(encoder('My Encoder'))",
        Stage.REGISTRATION,
        "'My Encoder' is no name",
    ),
    "name of a built-in": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    register(encoder('clap'))",
        Stage.REGISTRATION,
        r"'clap' is taken by dragon_rewards.builtin \(dragon-rewards ",
    ),
    "same name twice": (
        f"@hookimpl\ndef register_encoders(register):\n    {STAGED}\n    {STAGED}",
        Stage.REGISTRATION,
        "'staged' is registered twice",
    ),
}


def only_failure() -> PluginFailure:
    (failure,) = load_registry().failures
    return failure


def test_an_installed_plugin_is_listed_recorded_and_found(site: Site) -> None:
    site.install("dragon-reward-good", HEAD + GOOD)
    registry = load_registry()
    assert registry.encoder("good").licence == "MIT"
    assert registry.plugins[1] == PluginRecord("good", "dragon-reward-good", "1.2")
    assert registry.owners["register_encoders", "good"] == registry.plugins[1]
    assert not registry.failures


@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_plugin_is_named_and_the_others_work(site: Site, case: str) -> None:
    body, stage, reason = FAILURES[case]
    site.install("dragon-reward-bad", HEAD + body)
    site.install("dragon-reward-good", HEAD + GOOD)
    failure = only_failure()
    assert (failure.plugin, failure.package, failure.version) == ("bad", "dragon-reward-bad", "1.2")
    assert failure.stage is stage
    with pytest.raises(ValueError, match=reason):
        raise ValueError(failure.reason)
    assert "Traceback" in failure.traceback
    assert {"clap", "good"} <= set(load_registry().encoders)


@pytest.mark.parametrize("case", FAILURES)
def test_nothing_of_a_failing_plugin_is_taken(site: Site, case: str) -> None:
    site.install("dragon-reward-bad", HEAD + FAILURES[case][0])
    registry = load_registry()
    assert "staged" not in registry.encoders
    assert [plugin.name for plugin in registry.plugins] == [*GROUP.builtins, *GROUP.fallbacks]


def test_of_two_plugins_with_one_name_the_first_package_keeps_it(site: Site) -> None:
    site.install("dragon-reward-b", HEAD + GOOD)
    site.install("dragon-reward-a", HEAD + GOOD)
    assert load_registry().owners["register_encoders", "good"].package == "dragon-reward-a"
    assert "taken by a (dragon-reward-a 1.2)" in only_failure().reason


def test_two_packages_may_call_their_plugin_the_same(site: Site) -> None:
    site.install("dragon-reward-a", HEAD + GOOD, entry="plugin")
    site.install("dragon-reward-b", HEAD + GOOD.replace("good", "better"), entry="plugin")
    assert {"good", "better"} <= set(load_registry().encoders)


def test_a_failure_explains_an_unknown_name(site: Site) -> None:
    site.install("dragon-reward-bad", "import no_such_module")
    with pytest.raises(UnknownNameError, match="unknown encoder 'clpa'; did you mean clap") as refusal:
        load_registry().encoder("clpa")
    assert "bad (dragon-reward-bad 1.2), import: ModuleNotFoundError" in str(refusal.value)


def test_a_printing_plugin_leaves_stdout_alone(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    printing = HEAD + "print('importing')" + GOOD + "    print('registering')"
    site.install("dragon-reward-loud", printing)
    assert "good" in load_registry().encoders
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "importing\nregistering\n"


@pytest.mark.parametrize(
    ("allowed", "loaded"),
    [("", set()), ("a", {"a"}), (" a , dragon-reward-c", {"a", "c"}), ("dragon-reward-b", {"b"})],
)
def test_the_environment_restricts_plugins_but_not_built_ins(
    site: Site, monkeypatch: pytest.MonkeyPatch, allowed: str, loaded: set[str]
) -> None:
    for name in "abc":
        site.install(f"dragon-reward-{name}", HEAD + GOOD.replace("good", f"from-{name}"))
    monkeypatch.setenv("DRAGON_REWARDS_PLUGINS", allowed)
    registry = load_registry()
    assert {name for name in registry.encoders if name.startswith("from-")} == {f"from-{name}" for name in loaded}
    assert "clap" in registry.encoders
    assert not registry.failures


def test_a_plugin_that_the_environment_names_in_vain_is_a_failure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("dragon-reward-good", HEAD + GOOD)
    monkeypatch.setenv("DRAGON_REWARDS_PLUGINS", "good,goood")
    assert "good" in load_registry().encoders
    assert (only_failure().plugin, only_failure().stage) == ("goood", Stage.FIND)


def test_the_environment_may_name_plugins_of_the_trainer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("dragon-train-other", "", entry="other", group="dragon_train")
    monkeypatch.setenv("DRAGON_REWARDS_PLUGINS", "other")
    assert not load_registry().failures


def test_an_encoder_that_is_none_is_refused_with_its_plugin(site: Site) -> None:
    site.install("dragon-reward-bad", HEAD + GOOD)
    with pytest.raises(DragonError, match=r"encoder 'good' of bad \(dragon-reward-bad 1.2\).* no AudioEncoder"):
        load_registry().build_encoder("good")


def test_a_factory_that_raises_is_named_with_its_plugin(site: Site) -> None:
    site.install("dragon-reward-bad", HEAD + GOOD.replace('"good"', '"good", lambda: open("/no/weights")'))
    message = r"encoder 'good' of bad \(dragon-reward-bad 1.2\) could not be built: FileNotFoundError"
    with pytest.raises(DragonError, match=message):
        load_registry().build_encoder("good")


HOOK_USES = {
    "register_encoders": "encoder('mine')",
    "register_exemplar_sets": "load_exemplar_set(Path(__file__).parent / 'mine')",
    "register_reductions": "reduction('mine')",
}


@pytest.mark.parametrize("hook", GROUP.descriptors)
def test_every_hook_takes_what_it_says(site: Site, hook: str) -> None:
    make_set(site.folder / "mine", Modality.TEXT, {})
    body = f"from pathlib import Path\n@hookimpl\ndef {hook}(register):\n    register({HOOK_USES[hook]})"
    site.install("dragon-reward-mine", HEAD + body)
    registry = load_registry()
    assert not registry.failures
    assert isinstance(getattr(registry, hook.removeprefix("register_"))["mine"], GROUP.descriptors[hook])


def test_every_hook_is_declared_and_documented() -> None:
    declared = {name for name in vars(hookspecs) if name.startswith("register_")}
    assert declared == set(GROUP.descriptors)
    assert all(inspect.getdoc(getattr(hookspecs, name)) for name in declared)
