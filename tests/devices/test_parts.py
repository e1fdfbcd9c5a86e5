"""Parts follow their clips to the second device: those of this package, and of every kind that a factory may build."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from dragon_rewards import Clips, DeviceError, EncoderError, EncoderInfo, Modality, compose, load_registry
from dragon_rewards.compute.placement import Placement
from dragon_rewards.testing import checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.protocols import Encoder

DEVICES = {"devices", "text devices"}
PARTS = [check for check in checks("dragon-rewards") if check.name in DEVICES]
EAR = EncoderInfo("ear", frozenset({Modality.AUDIO}), 3, 16_000, "CC0-1.0", "for tests", SimpleNamespace)


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("check", PARTS, ids=str)
def test_every_part_of_this_package_follows(check: Any) -> None:
    check.run()


@pytest.mark.usefixtures("no_float64")
@pytest.mark.parametrize("check", PARTS, ids=str)
def test_every_part_follows_where_there_is_no_float64(check: Any) -> None:
    check.run()


def noise(clips: int = 2, samples: int = 160) -> Tensor:
    return torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(16, 3).requires_grad_(requires_grad=False)


def framed(network: Callable[[Tensor], Tensor], audio: Tensor) -> Tensor:
    return network(audio.unfold(-1, 16, 16))


class Module(nn.Module):
    identity = "ear"

    def __init__(self) -> None:
        super().__init__()
        self.network = layer()
        self.offset = torch.ones(3)  # no buffer

    def encode_audio(self, audio: Tensor) -> Tensor:
        return framed(self.network, audio) + self.offset


class Holder:
    identity = "ear"

    def __init__(self) -> None:
        self.networks = {"one": [layer()]}
        self.lock = threading.Lock()

    def encode_audio(self, audio: Tensor) -> Tensor:
        with self.lock:
            return framed(self.networks["one"][0], audio)


@dataclass(frozen=True, slots=True)
class Frozen:
    weight: Tensor
    identity: str = "ear"

    def encode_audio(self, audio: Tensor) -> Tensor:
        return audio.unfold(-1, 16, 16) @ self.weight


class Recurrent(nn.Module):
    identity = "ear"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.LSTM(16, 3, batch_first=True).requires_grad_(requires_grad=False)

    def encode_audio(self, audio: Tensor) -> Tensor:
        frames: Tensor = self.network(audio.unfold(-1, 16, 16))[0]
        return frames


class Parametrised(Module):
    def __init__(self) -> None:
        super().__init__()
        nn.utils.parametrizations.weight_norm(self.network)


class LazyWindow:
    identity = "ear"

    def __init__(self) -> None:
        self.windows: dict[str, Tensor] = {}

    def encode_audio(self, audio: Tensor) -> Tensor:
        window = self.windows.setdefault("hann", torch.hann_window(16, device=audio.device))
        return (audio.unfold(-1, 16, 16) * window)[..., :3]


def closure() -> Any:
    network = layer()

    def encode_audio(audio: Tensor, scale: Tensor = torch.full((1,), 2.0)) -> Tensor:  # noqa: B008  a tensor to find
        return framed(network, audio) * scale

    return SimpleNamespace(identity="ear", encode_audio=encode_audio)


def bound() -> Any:
    return SimpleNamespace(identity="ear", encode_audio=Module().encode_audio)


def partially() -> Any:
    return SimpleNamespace(identity="ear", encode_audio=partial(framed, layer()))


KINDS: dict[str, Callable[[], Any]] = {
    "module": Module,
    "parametrised": Parametrised,
    "holder": Holder,
    "frozen with slots": lambda: Frozen(torch.ones(16, 3)),
    "recurrent": Recurrent,
    "lazy": LazyWindow,
    "closure": closure,
    "bound method": bound,
    "partial": partially,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_an_encoder_of_any_kind_follows_and_the_original_stays(second: torch.device, make: Any) -> None:
    encoder: Encoder = make()
    expected = Clips(noise(), 16_000).embeddings(EAR, encoder).frames
    for device in (second, torch.device("second", 1)):
        copy = Placement(device).copy_of(encoder)
        found = Clips(noise().to(device), 16_000).embeddings(EAR, copy).frames
        assert {frames.device for frames in found} == {device}
        torch.testing.assert_close([frames.cpu() for frames in found], list(expected))
    again = Clips(noise(), 16_000).embeddings(EAR, encoder).frames
    assert all(map(torch.equal, again, expected))


def test_what_has_nothing_to_move_is_not_copied(second: torch.device) -> None:
    holder, lock = Module(), threading.Lock()
    assert Placement(torch.device("cpu")).copy_of(holder) is holder
    assert Placement(second).copy_of(SimpleNamespace(lock=lock)).lock is lock


def test_parts_that_share_weights_share_their_copies(second: torch.device) -> None:
    shared, placement = layer(), Placement(second)
    first, other = (placement.copy_of(SimpleNamespace(network=shared)).network for _ in range(2))
    assert first.weight is other.weight
    assert shared.weight.device == torch.device("cpu")


def test_tied_weights_stay_tied(second: torch.device) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    copy = Placement(second).copy_of(model)
    assert copy[1].weight is copy[0].weight
    assert isinstance(copy[0].weight, nn.Parameter)


def test_what_refers_to_itself_is_copied_once(second: torch.device) -> None:
    holder: Any = SimpleNamespace(network=layer())
    holder.itself, holder.items = holder, [holder]
    copy = Placement(second).copy_of(holder)
    assert copy.itself is copy
    assert copy.items[0] is copy


def test_hooks_of_the_copy_are_its_own(second: torch.device) -> None:
    module, calls = Module(), list[str]()
    copy = Placement(second).copy_of(module)
    copy.register_forward_hook(lambda *_: calls.append("copy"))
    assert not module._forward_hooks


def test_rewards_build_one_copy_for_a_device(second: torch.device) -> None:
    registry = load_registry()
    copy = registry.build_encoder("clap", second)
    assert registry.build_encoder("clap", second) is copy
    assert registry.build_encoder("clap", torch.device("second", 1)) is not copy
    assert registry.build_encoder("clap") is registry.build_encoder("clap", torch.device("cpu"))


REWARDS = ("per-song-fad:vae@airs", "clap-score:clap", "vendi:chroma", "dataset-fad:clap@descriptions")


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("name", REWARDS)
def test_several_devices_at_once(name: str) -> None:
    reward, audio, prompts = compose(name), noise(4, 32_000), ["a jig", "a reel", "an air", "a march"]
    expected = reward.metric(Clips(audio, 16_000, prompts))
    found: dict[str, Tensor] = {}

    def judge(device: torch.device) -> None:
        found[str(device)] = reward.metric(Clips(audio.to(device), 16_000, prompts))

    devices = [torch.device(name) for name in ("cpu", "second:0", "second:1")]
    threads = [threading.Thread(target=judge, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: str(value.device) for name, value in found.items()} == {name: name for name in found}
    for value in found.values():
        torch.testing.assert_close(value.cpu(), expected, rtol=1e-4, atol=1e-5)


GLOBAL = layer()


class Global:
    identity = "ear"

    def encode_audio(self, audio: Tensor) -> Tensor:
        return framed(GLOBAL, audio)


class StaysOnCpu(Module):
    def encode_audio(self, audio: Tensor) -> Tensor:
        return super().encode_audio(audio).cpu()


def test_an_encoder_that_stays_on_the_cpu_is_refused_by_name(second: torch.device) -> None:
    clips = Clips(noise().to(second), 16_000)
    with pytest.raises(EncoderError, match=r"'ear' returned frames on cpu .* on second:0: .*frames.to\(audio.device\)"):
        clips.embeddings(EAR, Placement(second).copy_of(StaysOnCpu()))


def test_a_global_variable_does_not_follow_and_the_refusal_says_so(second: torch.device) -> None:
    clips = Clips(noise().to(second), 16_000)
    with pytest.raises(EncoderError, match=r"'ear' failed on .*same device.*global variables do not follow"):
        clips.embeddings(EAR, Placement(second).copy_of(Global()))


def test_clips_of_one_set_are_on_one_device(second: torch.device) -> None:
    with pytest.raises(Exception, match="on cpu and second:0; move them to one device"):
        Clips([noise()[0], noise()[0].to(second)], 16_000)


def test_a_clip_that_memory_cannot_hold_is_refused_by_name(second: torch.device) -> None:
    class Greedy(Module):
        def encode_audio(self, audio: Tensor) -> Tensor:  # noqa: ARG002
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(DeviceError, match=r"'clip 0' .* does not fit into the memory of second:0, not even alone"):
        Clips(noise().to(second), 16_000).embeddings(EAR, Greedy())
