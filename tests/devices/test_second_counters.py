"""What the second device counts is what CUDA does: launches, reads that make the host wait, and uploads."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.devices.cuda_waits import waits_on_cuda
from support.devices.operators import normal
from support.devices.places import Places
from support.devices.second_device import Counts, counted
from torch import Tensor, linalg, nn
from torch.nn import functional

from dragon_rewards.metrics import vendi_score

if TYPE_CHECKING:
    from collections.abc import Callable

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

# A function of a (4, 4) symmetric matrix, the reads it waits for, and the uploads it makes.
ASKED: dict[str, tuple[Callable[[Tensor], Any], int, int]] = {
    "arithmetic": (lambda x: (x @ x + x.softmax(1)).std(), 0, 0),
    "views": (lambda x: x.T[1:].reshape(-1)[::2], 0, 0),
    "item": (lambda x: x.sum().item(), 1, 0),
    "float": (lambda x: float(x[0, 0]), 1, 0),
    "int": (lambda x: int(x.argmax()), 1, 0),
    "condition": (lambda x: bool((x > 0).any()), 1, 0),
    "list": (lambda x: x.tolist(), 1, 0),
    "each value": (lambda x: [float(value) for value in x[0]], 4, 0),
    "download": (lambda x: x.cpu(), 1, 0),
    "numpy": (lambda x: x.cpu().numpy(), 1, 0),
    "download into": (lambda x: torch.empty(4, 4).copy_(x), 1, 0),
    "download of nothing": (lambda x: x[:0].cpu(), 0, 0),
    "upload": (lambda x: torch.ones(3).to(x.device), 0, 1),
    "new tensor": (lambda x: torch.tensor([1.0, 2.0], device=x.device), 0, 1),
    "made there": (lambda x: torch.zeros(3, device=x.device) + torch.arange(3, device=x.device), 0, 0),
    "nonzero": (lambda x: (x > 0).nonzero(), 1, 0),
    "where": (lambda x: torch.where(x > 0), 1, 0),
    "mask": (lambda x: x[x > 0], 1, 0),
    "mask of rows": (lambda x: x[x[0] > 0], 1, 0),
    "masked_select": (lambda x: x.masked_select(x > 0), 1, 0),
    "positions": (lambda x: x[x[0].argsort()], 0, 0),
    "list of positions": (lambda x: x[[1, 0]], 0, 1),
    "positions of the CPU": (lambda x: x[torch.tensor([1, 0])], 0, 1),
    "position read from there": (lambda x: x[x[0].argmax()], 1, 0),
    "put a number": (lambda x: x.clone().__setitem__(x > 0, 1.0), 0, 0),
    "put values": (lambda x: x.clone().__setitem__(x > 0, x.sum()), 1, 0),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 1.0), 0, 0),
    "masked_fill by a value there": (lambda x: x.masked_fill(x > 0, x.sum()), 1, 0),
    "unique": (torch.unique, 1, 0),
    "bincount": (lambda x: torch.bincount(x[0].argsort()), 2, 0),
    "histc": (lambda x: torch.histc(x, 5), 2, 0),
    "histc with bounds": (lambda x: torch.histc(x, 5, -1, 1), 0, 0),
    "equal": (lambda x: torch.equal(x, x + 1), 1, 0),
    "multinomial": (lambda x: torch.multinomial(x.abs(), 2), 2, 0),
    "multinomial with replacement": (lambda x: torch.multinomial(x.abs(), 2, replacement=True), 0, 0),
    "repeat": (lambda x: x.repeat_interleave(2, 0), 0, 0),
    "repeat by numbers there": (lambda x: x.repeat_interleave(x[0].argsort(), 0), 2, 0),
    "repeat to a known size": (lambda x: x.repeat_interleave(x[0].argsort(), 0, output_size=6), 0, 0),
    "split by numbers there": (lambda x: x.flatten().split([*x[0].argsort().tolist(), 10]), 1, 0),
    "eigh": (linalg.eigh, 1, 0),
    "eigvalsh": (linalg.eigvalsh, 1, 0),
    "eigh of many": (lambda x: linalg.eigh(x.expand(50, 4, 4)), 1, 0),
    "svd": (linalg.svd, 2, 0),
    "svdvals": (linalg.svdvals, 2, 0),
    "svdvals of many": (lambda x: linalg.svdvals(x.expand(50, 4, 4)), 2, 0),
    "qr": (linalg.qr, 0, 0),
    "cholesky": (lambda x: linalg.cholesky(x @ x), 1, 0),
    "cholesky without a check": (lambda x: linalg.cholesky_ex(x @ x), 0, 0),
    "inverse": (linalg.inv, 1, 0),
    "inverse without a check": (linalg.inv_ex, 0, 0),
    "solve": (lambda x: linalg.solve(x, x), 1, 0),
    "solve without a check": (lambda x: linalg.solve_ex(x, x), 0, 0),
    "determinant": (linalg.slogdet, 0, 0),
    "order": (lambda x: [x.sort(), x.topk(2), x.quantile(0.5), x.cumsum(0)], 0, 0),
    "fourier": (lambda x: torch.fft.rfft(x).abs(), 0, 0),
    "attention": (lambda x: functional.scaled_dot_product_attention(x[None], x[None], x[None]), 0, 0),
    "random": (lambda x: [x.normal_(), torch.randn(3, device=x.device), functional.dropout(x)], 0, 0),
}


def matrix() -> Tensor:
    values = normal(4, 4)
    return values + values.T


@pytest.mark.parametrize("name", ASKED)
def test_reads_and_uploads_are_counted(name: str, second: torch.device) -> None:
    function, synchronisations, uploads = ASKED[name]
    given = matrix().to(second)
    with counted() as counts:
        function(given)
    assert (counts.synchronisations, counts.uploads) == (synchronisations, uploads), counts


@needs_cuda
@pytest.mark.parametrize("name", ASKED)
def test_cuda_waits_as_often(name: str) -> None:
    function, synchronisations, uploads = ASKED[name]
    given = matrix().cuda()
    function(given)  # what is made once, such as handles of libraries, is made
    with waits_on_cuda() as waits:
        function(given)
    assert len(waits) == synchronisations + uploads


@needs_cuda
def test_cuda_waits_as_often_for_a_metric(second: torch.device) -> None:
    embeddings = normal(50, 8)
    there, on_cuda = embeddings.to(second), embeddings.cuda()
    vendi_score(on_cuda)
    with counted() as counts:
        vendi_score(there)
    with waits_on_cuda() as waits:
        vendi_score(on_cuda)
    assert len(waits) == counts.synchronisations + counts.uploads, counts


@needs_cuda
def test_cuda_does_not_wait_in_a_step_of_learning() -> None:
    module, optimizer = learner(torch.device("cuda", 0))
    batch = normal(2, 2, 16).cuda()
    step(module, optimizer, batch)
    with waits_on_cuda() as waits:
        step(module, optimizer, batch)
    assert waits == []


def test_pinned_memory_need_not_be_waited_for(second: torch.device) -> None:
    pinned = torch.ones(3).pin_memory()
    assert pinned.is_pinned()
    with counted() as counts:
        there = pinned.to(second, non_blocking=True)
        pinned.copy_(there, non_blocking=True)
    assert counts.synchronisations == counts.uploads == 0, counts


def test_a_step_of_learning_does_not_wait_and_launches_as_much_for_more_clips(second: torch.device) -> None:
    module, optimizer = learner(second)
    step(module, optimizer, normal(1, 2, 16).to(second))
    few, many = (counts_of_step(module, optimizer, normal(clips, 2, 16).to(second)) for clips in (1, 7))
    assert few.by_name == many.by_name
    assert few.synchronisations == few.uploads == 0, few
    assert few.launches <= 40, few


def learner(device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    module = nn.Sequential(nn.Conv1d(2, 4, 3), nn.SiLU(), nn.GroupNorm(2, 4), nn.Conv1d(4, 2, 3)).to(device)
    return module, torch.optim.AdamW(module.parameters())


def counts_of_step(module: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> Counts:
    with counted() as counts:
        step(module, optimizer, batch)
    return counts


def step(module: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
    optimizer.zero_grad()
    module(batch).square().mean().backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()


def test_a_failure_says_what_waited(second: torch.device) -> None:
    values = normal(4, 4).to(second)
    with counted() as counts:
        values[values > 0].sum().item()
    assert counts.by_name["synchronisation"] == {"index": 1, "item": 1}
    assert str(counts) == ("launch: {'gt': 1, 'index': 1, 'sum': 1}; synchronisation: {'index': 1, 'item': 1}")


def test_every_thread_counts_and_blocks_may_be_nested(second: torch.device) -> None:
    values = normal(4, 4).to(second)
    with counted() as outer:
        thread = Thread(target=lambda: values.sum().item())
        thread.start()
        thread.join()
        with counted() as inner:
            values.sum().item()
    assert (outer.launches, outer.synchronisations) == (2, 2)
    assert (inner.launches, inner.synchronisations) == (1, 1)


def test_places_are_lines_of_the_project(second: torch.device) -> None:
    embeddings = normal(5, 4).to(second)
    with Places() as places, counted() as counts:
        vendi_score(embeddings)
    assert places.found.total() == counts.synchronisations > 0
    assert all("/dragon_rewards/metrics/" in place for place in places.found), places
    assert str(places).count("\n") == len(places.found) - 1
