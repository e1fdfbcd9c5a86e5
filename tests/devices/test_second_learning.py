"""Learning on the second device: optimisers, mixed precision, checkpointing, random numbers, and what is kept of it."""

from __future__ import annotations

import copy
import io
import pickle
from threading import Thread
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from diffusers.training_utils import EMAModel
from support.devices.operators import normal
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 4))


def assert_same(found: nn.Module, reference: nn.Module, rtol: float = 0, atol: float = 0) -> None:
    for here, there in zip(reference.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=rtol, atol=atol)


def values(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def learn(module: nn.Module, batch: Tensor, **settings: Any) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, **settings)
    for _ in range(3):
        optimizer.zero_grad()
        module(batch).square().mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 0.1)
        optimizer.step()


@pytest.mark.parametrize("settings", [{}, {"foreach": False}, {"fused": True}], ids=["default", "each", "fused"])
def test_a_model_learns_as_on_the_cpu(settings: dict[str, Any], second: torch.device) -> None:
    here, there = small(), small().to(second)
    learn(here, normal(3, 4), **settings)
    learn(there, normal(3, 4).to(second), **settings)
    assert_same(there, here, rtol=1e-4, atol=1e-5)


def test_threads_learn_beside_each_other(second: torch.device, other: torch.device) -> None:
    here = small()
    learn(here, normal(3, 4))
    there = [small().to(device) for device in (second, other, second, other)]
    batches = [normal(3, 4).to(device) for device in (second, other, second, other)]
    threads = [Thread(target=learn, args=pair) for pair in zip(there, batches, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for module in there:
        assert_same(module, here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_casts_what_it_casts_for_cuda(dtype: torch.dtype, second: torch.device) -> None:
    x, weight, norm = normal(2, 4, 4).to(second), normal(4, 4).to(second), torch.ones(4, device=second)
    with torch.autocast("second", dtype):
        lower = [
            x @ x,
            functional.linear(x, weight, norm),
            functional.conv1d(x, weight[..., None]),
            functional.scaled_dot_product_attention(x, x, x),
            torch.einsum("bij,bjk->bik", x, x),
            nn.LSTM(4, 4).to(second)(x)[0],
        ]
        narrow = lower[0]
        wide = [
            functional.layer_norm(narrow, (4,), norm, norm),
            narrow.softmax(1),
            narrow.sum(),
            narrow.exp(),
            narrow.norm(),
            functional.mse_loss(narrow, x),
            torch.addcmul(x, narrow, narrow),
        ]
        assert (narrow + narrow).dtype == dtype
        assert (x.double() @ x.double()).dtype == torch.float64  # which autocast leaves alone
        with torch.autocast("second", enabled=False):
            assert (x @ x).dtype == torch.float32
    assert {found.dtype for found in lower} == {dtype}
    assert {found.dtype for found in wide} == {torch.float32}
    assert (normal(2, 2) @ normal(2, 2)).dtype == torch.float32


def test_autocast_refuses_what_it_refuses_for_cuda(second: torch.device) -> None:
    share = torch.full((2,), 0.5, device=second)
    with torch.autocast("second"), pytest.raises(RuntimeError, match="unsafe to autocast"):
        functional.binary_cross_entropy(share, share)


def test_learning_in_bf16_is_the_cpu_s(second: torch.device) -> None:
    here, there = small(), small().to(second)
    for module, device in ((here, torch.device("cpu")), (there, second)):
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            loss = module(normal(3, 4).to(device)).float().square().mean()
        loss.backward()
    for found, reference in zip(there.parameters(), here.parameters(), strict=True):
        assert found.grad is not None
        assert found.grad.dtype == torch.float32
        torch.testing.assert_close(found.grad.cpu(), reference.grad, rtol=0.05, atol=1e-2)


def test_fp16_is_scaled_and_a_step_that_overflows_is_left_out(second: torch.device) -> None:
    module = small().to(second)
    scaler, optimizer = torch.amp.GradScaler("second", init_scale=2.0**10), torch.optim.AdamW(module.parameters())
    before = copy.deepcopy(module)
    for factor in (1.0, float("inf")):
        with torch.autocast("second", torch.float16):
            loss = module(normal(3, 4).to(second)).float().square().mean() * factor
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        if factor == 1.0:
            assert not torch.equal(values(module), values(before))
            before = copy.deepcopy(module)
    assert_same(module.cpu(), before.cpu())
    assert scaler.get_scale() == 2.0**9


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers_draw_the_same_numbers_again(reentrant: bool, second: torch.device) -> None:
    module, gradients = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 4)).to(second), []
    for again in (False, True):
        torch.manual_seed(1)
        batch = normal(3, 4).to(second).requires_grad_()
        made = checkpoint(module, batch, use_reentrant=reentrant) if again else module(batch)
        made.square().sum().backward()
        gradients.append(batch.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_numbers_are_drawn_of_a_seed_of_the_device_s_own(second: torch.device, other: torch.device) -> None:
    torch.manual_seed(5)
    expected = [torch.randn(3), torch.rand(3), torch.randint(9, (3,)), torch.randperm(5), torch.ones(9).bernoulli(0.5)]
    for device in (second, other):
        torch.manual_seed(5)
        found = [
            torch.randn(3, device=device),
            torch.rand(3, device=device),
            torch.randint(9, (3,), device=device),
            torch.randperm(5, device=device),
            torch.ones(9, device=device).bernoulli(0.5),
        ]
        for there, here in zip(found, expected, strict=True):
            assert torch.equal(there.cpu(), here)
    state = torch.get_rng_state()
    functional.dropout(torch.ones(9, device=second))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_generator_of_the_device_is_its_own(second: torch.device) -> None:
    generator = torch.Generator(second).manual_seed(3)
    assert generator.device == second
    first = torch.randn(4, generator=generator, device=second)
    assert torch.equal(first.cpu(), torch.randn(4, generator=torch.Generator().manual_seed(3)))
    state = generator.get_state()
    following = torch.randn(4, generator=generator, device=second)
    assert not torch.equal(first, following)
    generator.set_state(state)
    assert torch.equal(torch.randn(4, generator=generator, device=second), following)


def test_the_state_of_random_numbers_is_kept_apart(second: torch.device) -> None:
    with torch.random.fork_rng(devices=[0, 1], device_type="second"):
        inside = torch.randn(3, device=second)
    assert torch.equal(torch.randn(3, device=second), inside)


def kept(tensor: Tensor, **options: Any) -> Tensor:
    file = io.BytesIO()
    torch.save({"values": tensor}, file)
    file.seek(0)
    loaded: Tensor = torch.load(file, **options)["values"]
    return loaded


def test_tensors_are_kept_and_copied(second: torch.device, other: torch.device) -> None:
    tensor = normal(3, 4).to(second)
    for found, device in [
        (kept(tensor), second),
        (kept(tensor[1:].T), second),
        (kept(tensor, map_location="cpu"), torch.device("cpu")),
        (kept(tensor, map_location=other), other),
        (pickle.loads(pickle.dumps(tensor)), second),  # noqa: S301  written above
        (copy.deepcopy(tensor), second),
        (tensor.clone(), second),
        (tensor.to(other), other),
    ]:
        assert found.device == device
        reference = tensor[1:].T if found.shape == (4, 2) else tensor
        assert torch.equal(found.cpu(), reference.cpu())
    assert tensor.untyped_storage().device == second
    assert tensor.untyped_storage().cpu().tolist() == tensor.cpu().untyped_storage().tolist()


def test_a_module_and_its_optimiser_resume(second: torch.device) -> None:
    module = small().to(second)
    optimizer = torch.optim.AdamW(module.parameters())
    for _ in range(2):
        module(normal(3, 4).to(second)).square().mean().backward()
        optimizer.step()
    file = io.BytesIO()
    torch.save([module.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    fresh = small().to(second)
    again = torch.optim.AdamW(fresh.parameters())
    weights, moments = torch.load(file, map_location="cpu")
    fresh.load_state_dict(weights)
    again.load_state_dict(moments)
    for one, which in ((module, optimizer), (fresh, again)):
        one.zero_grad()
        one(normal(3, 4).to(second)).square().mean().backward()
        which.step()
    assert_same(fresh.cpu(), module.cpu())


def test_averaged_weights_stay_on_the_device(second: torch.device) -> None:
    module = small().to(second)
    average = EMAModel(module.parameters(), decay=0.5)
    for _ in range(2):  # the first step takes the weights as they are
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1)
        average.step(module.parameters())
    average.store(module.parameters())
    average.copy_to(module.parameters())
    averaged = values(module)
    average.restore(module.parameters())
    assert averaged.device == second
    assert not torch.equal(averaged, values(module))


def test_accelerate_reduces_what_is_there(second: torch.device) -> None:
    PartialState._reset_state()
    AcceleratorState._reset_state()
    accelerator = Accelerator()
    assert accelerator.device.type == "cpu"  # it does not choose the device by itself
    assert accelerator.reduce(torch.ones(2, device=second), "sum").device == second
    start = torch.ones(2, device=second, requires_grad=True)
    accelerator.backward(start.square().sum())
    assert start.grad is not None
    assert start.grad.tolist() == [2, 2]
