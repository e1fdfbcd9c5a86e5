"""Plugins at run time: what they raise is named, what they print is no result, what they return is as promised."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest
import torch
from support.parts import RATE, Site, noise
from support.sounds import write_tone

from dragon_rewards.errors import DragonError
from dragon_rewards.guard import aside, undisturbed
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose

if TYPE_CHECKING:
    from pathlib import Path

DRAGON = [sys.executable, "-c", "from dragon_train.cli import main; main()"]
HEAD = """
import torch
from dragon_rewards import Direction, EncoderInfo, Modality, ReductionInfo, RewardKind, hookimpl


class Ear:
    identity = "ear-1"

    def encode_audio(self, audio):
        {encode}
        return audio[:, :100].reshape(len(audio), 25, 4).contiguous()


def ear():
    {build}
    return Ear()


class Judge:
    def __call__(self, clips, reference):
        {judge}
        return torch.stack([frames.double().mean() for frames in clips.frames])


class Whole(Judge):
    def __call__(self, clips, reference):
        {whole}
        return super().__call__(clips, reference).mean()


@hookimpl
def register_encoders(register):
    register(EncoderInfo("ear", frozenset({{Modality.AUDIO}}), 4, 8000, "MIT", "a test's", ear))


@hookimpl
def register_reductions(register):
    register(ReductionInfo("judge", RewardKind.INSTANCE, Direction.HIGHER, "a test's", Judge))
    whole = RewardKind.DISTRIBUTION_TO_DISTRIBUTION
    register(ReductionInfo("whole", whole, Direction.HIGHER, "a test's", Whole))
"""
RAISED = {
    "SystemExit": "raise SystemExit(0)",
    "StopIteration": "next(iter([]))",
    "MemoryError": "raise MemoryError('no room')",
    "GeneratorExit": "raise GeneratorExit",
    "Panic": "raise type('Panic', (BaseException,), {})('of Rust')",
}


def plugin(site: Site, **code: str) -> None:
    site.install("dragon-reward-ear", HEAD.format(**{"encode": "", "build": "", "judge": "", "whole": ""} | code))


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("where", ["build", "encode", "judge", "whole"])
def test_whatever_a_plugin_raises_is_its_named_failure(site: Site, where: str, raised: str) -> None:
    plugin(site, **{where: RAISED[raised]})
    reward = compose("whole:ear" if where == "whole" else "judge:ear")
    with pytest.raises(DragonError) as refusal:
        reward.score(noise(3), RATE)
    message = str(refusal.value)
    out_of_memory = (where, raised) == ("encode", "MemoryError")  # of one clip alone, in the words for that
    assert ("does not fit into the memory of cpu" if out_of_memory else raised) in message
    part = "'ear'" if where in {"build", "encode"} else f"reduction '{where}' of ear (dragon-reward-ear 1.2)"
    assert part in message


RETURNED = {
    "return torch.full((len(clips.frames),), torch.nan)": "values that are not finite",
    "return torch.full((len(clips.frames),), torch.inf).double()": "values that are not finite",
    "return torch.zeros(len(clips.frames), 1)": r"torch.float32 (3, 1) instead of a floating point tensor (3,)",
    "return torch.zeros(())": r"torch.float32 () instead of a floating point tensor (3,)",
    "return torch.zeros(len(clips.frames), dtype=torch.long)": r"torch.int64 (3,) instead of a floating point",
    "return [0.0, 0.0, 0.0]": "returned list instead of",
    "return None": "returned NoneType instead of",
    "return torch.zeros(len(clips.frames), device='meta')": "returned values on meta on cpu",
}


@pytest.mark.parametrize("code", RETURNED)
def test_a_reduction_is_held_to_shape_type_device_and_finite_values(site: Site, code: str) -> None:
    plugin(site, judge=code)
    with pytest.raises(DragonError) as refusal:
        compose("judge:ear").score(noise(3), RATE)
    assert (
        f"reduction 'judge' of ear (dragon-reward-ear 1.2) returned {RETURNED[code].removeprefix('returned ')}"
        in str(refusal.value)
    )


@pytest.mark.parametrize("code", ["return torch.tensor(torch.nan)", "return torch.zeros(2)", "return 0.5"])
def test_values_of_subsets_are_held_to_them_too(site: Site, code: str) -> None:
    from dragon_rewards.media.clips import Clips

    plugin(site, whole=code)
    values = compose("whole:ear").subsets(Clips(noise(4), RATE))
    with pytest.raises(DragonError, match=r"reduction 'whole' of ear"):
        values(torch.tensor([[0, 1], [2, 3]]))


LOUD = "print('loud'); import os, sys, subprocess; os.write(1, b'native\\n'); subprocess.run(['echo', 'child'])"
LATER = (
    LOUD + "; import atexit, threading; atexit.register(print, 'the end'); "
    "atexit.register(os.write, 1, b'native end\\n'); threading.Thread(target=print, args=('thread',)).start()"
)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["score", "rank", "plugins"])
def test_nothing_that_a_plugin_prints_is_a_result(site: Site, tmp_path: Path, verb: str) -> None:
    source = LOUD + "\n" + HEAD.format(encode=LOUD, build=LATER, judge=LOUD, whole=LOUD)
    site.install("dragon-reward-ear", source)
    clips = [str(write_tone(tmp_path / f"{seed}.wav", 1, seed=seed)) for seed in range(2)]
    arguments = {"score": ["judge:ear", *clips], "rank": [*clips, "--reward", "judge:ear"], "plugins": []}[verb]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site.folder), *sys.path])}
    done = subprocess.run(
        [*DRAGON, verb, *arguments, "--json"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    heard = ["loud", "native", "child"] + (["the end", "native end", "thread"] if verb != "plugins" else [])
    for word in heard:
        assert word in done.stderr.splitlines(), word


def test_help_is_a_result() -> None:
    done = subprocess.run([*DRAGON, "score", "--help"], capture_output=True, text=True, check=False)
    assert "Judge files" in done.stdout or "Score files" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_is_no_fault(closed: str) -> None:
    shell = ["sh", "-c", f'"$@" {closed}', "sh", *DRAGON, "list", "encoders"]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ("clap" in done.stdout) == (closed == "2>&-")


def test_threads_that_overlap_leave_stdout_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    before, barrier = sys.stdout, Barrier(2)

    def first() -> None:
        with aside():
            barrier.wait()  # both are inside
            barrier.wait()  # the second has left
            sys.stdout.write("first\n")

    def second() -> None:
        barrier.wait()
        with aside():
            sys.stdout.write("second\n")
        barrier.wait()

    threads = [Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sys.stdout is before
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "second\nfirst\n")


WAITING = "print('ready', flush=True)\nimport time\ntime.sleep(60)\n"
STUBBORN = "print('ready', flush=True)\nimport time\ntry:\n    time.sleep(60)\nexcept BaseException:\n    pass\n"


@pytest.mark.slow
@pytest.mark.parametrize("source", [WAITING, STUBBORN])
def test_the_users_own_interruption_ends_the_command_while_plugins_load(site: Site, source: str) -> None:
    site.install("dragon-reward-slow", source)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site.folder), *sys.path])}
    process = subprocess.Popen(
        [*DRAGON, "list", "encoders"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=50)
    assert time.monotonic() - began < 30
    assert process.returncode != 0
    assert out == ""


def test_a_plugin_that_interrupts_itself_ends_nothing(site: Site) -> None:
    site.install("dragon-reward-bad", "raise KeyboardInterrupt")
    plugin(site)
    before = signal.getsignal(signal.SIGINT)
    assert "ear" in load_registry().encoders
    assert [failure.plugin for failure in load_registry().failures] == ["bad"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("failing", [False, True])
def test_an_interruption_waits_for_what_must_be_whole(*, failing: bool) -> None:
    done, before = [], signal.signal(signal.SIGINT, signal.default_int_handler)

    def work() -> None:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append("one file")
            if failing:
                raise OSError
            done.append("the other")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["one file", "the other"][: 1 if failing else 2]
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


TWICE = """
import signal
from dragon_rewards.guard import undisturbed
with undisturbed():
    signal.raise_signal(signal.SIGINT)
    print("waits", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("never")
"""


def test_a_second_interruption_waits_for_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "waits\n")
