"""Packages that break in every way, and some that work beside them."""

from __future__ import annotations

from dataclasses import dataclass

from dragon_rewards.plugins import Stage
from support.environments import Package

HEAD = """
from dragon_rewards import EncoderInfo, Modality, hookimpl


def encoder(name, factory=object, modalities=frozenset({Modality.AUDIO})):
    return EncoderInfo(name, modalities, 8, 16_000, "MIT", "a test's", factory)

"""
HOOK = HEAD + "@hookimpl\ndef register_encoders(register):\n    "
GOOD = (
    """
class Bands:
    identity = "bands-1"

    def encode_audio(self, audio):
        import torch

        power = torch.fft.rfft(audio.unfold(-1, 512, 512)).abs().square()
        bands = [band.mean(-1) for band in power.tensor_split(8, dim=-1)]
        return (torch.stack(bands, dim=-1) + 1e-8).log10()

"""
    + HOOK
    + "register(encoder('good', Bands))"
)

WORKING = [
    Package("dragon-reward-good", GOOD),
    Package("dragon-reward-loud", "print('importing')" + HOOK + "print('registering'); register(encoder('loud'))"),
    Package("dragon-reward-slow", "import time; time.sleep(2)" + HOOK + "register(encoder('slow'))"),
]


@dataclass(frozen=True)
class Broken:
    """A package, and what is said of it."""

    package: Package
    stage: Stage
    reason: str


def broken(name: str, source: str, stage: Stage, reason: str, target: str = "") -> Broken:
    return Broken(Package(f"dragon-reward-{name}", source, target), stage, reason)


STAGED = "register(encoder('staged')); "  # valid, and not to be taken
BROKEN = [
    broken("import-error", "import no_such_module", Stage.IMPORT, "ModuleNotFoundError: No module named"),
    broken("syntax-error", "def", Stage.IMPORT, "SyntaxError: invalid syntax"),
    broken("panic", "class Panic(BaseException): ...\nraise Panic('of Rust')", Stage.IMPORT, "Panic: of Rust"),
    broken("no-attribute", HEAD, Stage.IMPORT, "has no attribute 'plugin'", "dragon_reward_no_attribute:plugin"),
    broken("no-module", HEAD, Stage.IMPORT, "No module named 'dragon_reward_elsewhere'", "dragon_reward_elsewhere"),
    broken("misspelt-hook", HOOK.replace("encoders(", "encoder(") + STAGED, Stage.HOOKS, "hook 'register_encoder'"),
    broken("raising-hook", HOOK + STAGED + "raise OSError('no disk')", Stage.REGISTRATION, "OSError: no disk"),
    broken("exiting-hook", HOOK + STAGED + "raise SystemExit(0)", Stage.REGISTRATION, "SystemExit: 0"),
    broken(
        "mute-error",
        "class Mute(Exception):\n    def __str__(self): return self.nothing\n" + HOOK + STAGED + "raise Mute",
        Stage.REGISTRATION,
        "Mute: <exception str() failed>",
    ),
    broken("wrong-type", HOOK + STAGED + "register('me')", Stage.REGISTRATION, "takes EncoderInfo, not str"),
    broken(
        "wrong-field",
        HOOK + STAGED + "register(encoder('wrong', modalities=None))",
        Stage.REGISTRATION,
        "modalities of 'wrong' must be a frozenset, not None",
    ),
    broken(
        "same-name",  # sorts behind "good", which keeps the name
        HOOK + STAGED + "register(encoder('good'))",
        Stage.REGISTRATION,
        "'good' is taken by good (dragon-reward-good 1.2)",
    ),
    Broken(
        Package("dragon-train-broken", "raise RuntimeError('of the trainer')", group="dragon_train"),
        Stage.IMPORT,
        "RuntimeError: of the trainer",
    ),
]
