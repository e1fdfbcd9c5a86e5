"""Operators that the project calls, each with inputs: functions of tensors that give tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, linalg
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable


def normal(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(math.prod(size)))


def square() -> Tensor:
    matrix = normal(5, 7)
    return matrix @ matrix.T + torch.eye(5)


def window(like: Tensor) -> Tensor:
    return torch.hann_window(16, device=like.device)


def spectrum(audio: Tensor) -> Tensor:
    return torch.stft(audio, 16, hop_length=4, window=window(audio), return_complex=True)


def back(audio: Tensor) -> Tensor:
    return torch.istft(spectrum(audio), 16, hop_length=4, window=window(audio))


FORWARD: dict[str, tuple[Callable[..., Any], list[Tensor]]] = {
    "add a number": (lambda x: 2 * x + 1, [normal(3, 4)]),
    "broadcast": (lambda x, y: x - y / 3, [normal(3, 4), normal(4)]),
    "matmul": (torch.matmul, [normal(2, 3, 4), normal(4, 5)]),
    "einsum": (lambda x, y: torch.einsum("bij,bkj->bik", x, y), [normal(2, 3, 4), normal(2, 5, 4)]),
    "linear": (functional.linear, [normal(3, 4), normal(5, 4), normal(5)]),
    "cat": (lambda x, y: torch.cat([x, y]), [normal(3, 4), normal(2, 4)]),
    "stack": (lambda x, y: torch.stack([x, y], 1), [normal(3, 4), normal(3, 4)]),
    "where": (lambda x: torch.where(x > 0, x, 0.0), [normal(3, 4)]),
    "clamp": (lambda x: x.clamp(min=-0.1).clip(max=x.mean()), [normal(3, 4)]),
    "reduce": (
        lambda x: [x.sum(), x.mean(1), x.std(0), x.var(), x.max(), x.amax(1), x.norm(), x.logsumexp(0)],
        [normal(3, 4)],
    ),
    "extremes": (lambda x: [*x.max(1), *x.min(0), x.argmax(1), *x.median(1)], [normal(3, 5)]),
    "order": (lambda x: [*x.sort(1), *x.topk(2), x.argsort(0), *x.kthvalue(2)], [normal(3, 4)]),
    "quantile": (lambda x: [x.quantile(0.3), x.cumsum(1), x.cummax(0)[0]], [normal(3, 4)]),
    "index": (lambda x: [x[torch.tensor([0, 2])], x[:, [1, 0]], x[x > 0], x[1:, None, ..., ::2]], [normal(3, 4)]),
    "set": (lambda x: x.clone().index_put_((torch.tensor([1]),), x[:1]).masked_fill(x < 0, -1.0), [normal(3, 4)]),
    "scatter": (lambda x: torch.zeros_like(x).scatter_add_(1, x.argsort(1), x).gather(1, x.argsort(1)), [normal(3, 4)]),
    "unfold": (lambda x: x.unfold(1, 3, 2), [normal(3, 9)]),
    "fold": (lambda x: functional.fold(functional.unfold(x, 3), (6, 6), 3), [normal(1, 2, 6, 6)]),
    "pad": (
        lambda x: [functional.pad(x, (1, 2), mode=mode) for mode in ("constant", "reflect", "replicate")],
        [normal(2, 3, 9)],
    ),
    "interpolate": (lambda x: functional.interpolate(x, 13, mode="linear"), [normal(2, 3, 9)]),
    "pool": (
        lambda x: [functional.max_pool1d(x, 2), functional.avg_pool1d(x, 3), functional.adaptive_avg_pool1d(x, 2)],
        [normal(2, 3, 9)],
    ),
    "shapes": (
        lambda x: [x.T, x.roll(1, 0), x.flip(1), x.repeat(2, 1), x.expand(2, 3, 4), *x.split([1, 2]), *x.chunk(2, 1)],
        [normal(3, 4)],
    ),
    "repeat_interleave": (lambda x: x.repeat_interleave(torch.tensor([1, 0, 2], device=x.device), 0), [normal(3, 4)]),
    "unique": (lambda x: torch.unique(x, return_counts=True), [torch.tensor([3, 1, 3])]),
    "search": (lambda x: torch.searchsorted(x.sort()[0], x), [normal(7)]),
    "cdist": (lambda x: torch.cdist(x, x), [normal(5, 3)]),
    "embedding": (functional.embedding, [torch.tensor([2, 0]), normal(4, 3)]),
    "activations": (
        lambda x: [functional.gelu(x), functional.silu(x), x.softmax(1), x.log_softmax(1), x.tanh(), x.sigmoid()],
        [normal(3, 4)],
    ),
    "layer norm": (lambda x: [functional.layer_norm(x, (4,)), functional.rms_norm(x, (4,))], [normal(3, 4)]),
    "group norm": (lambda x: functional.group_norm(x, 2), [normal(3, 4, 5)]),
    "losses": (
        lambda x: [
            functional.mse_loss(x, x.flip(0)),
            functional.cross_entropy(x, x.argmax(1)),
            functional.logsigmoid(x),
        ],
        [normal(3, 4)],
    ),
    "convolution": (
        lambda x, w: [functional.conv1d(x, w, padding="same"), functional.conv1d(x, w, stride=2)],
        [normal(2, 4, 9), normal(3, 4, 3)],
    ),
    "convolution of images": (
        lambda x, w: functional.conv2d(x, w, groups=2, padding=1),
        [normal(2, 4, 6, 6), normal(4, 2, 3, 3)],
    ),
    "attention": (functional.scaled_dot_product_attention, list(normal(3, 2, 3, 5, 4))),
    "causal attention": (
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True),
        list(normal(3, 2, 3, 5, 4)),
    ),
    "masked attention": (
        functional.scaled_dot_product_attention,
        [*normal(3, 2, 3, 5, 4), torch.ones(5, 5).tril().bool()],
    ),
    "spectrum": (spectrum, [normal(2, 64)]),
    "back from a spectrum": (back, [normal(2, 64)]),
    "fft": (
        lambda x: [torch.fft.rfft(x), torch.fft.ifft(torch.fft.fft(x).conj()).real, torch.fft.fft(x).abs()],
        [normal(3, 8)],
    ),
    "complex": (
        lambda x: [(x @ x.mH).imag, torch.view_as_real(x), x.angle(), x.conj().resolve_conj(), -x.conj()],
        [torch.fft.fft(normal(3, 8))],
    ),
    "eigh": (lambda x: [*linalg.eigh(x), linalg.eigvalsh(x)], [square()]),
    "svd": (
        lambda x: [*linalg.svd(x, full_matrices=False), linalg.svdvals(x), linalg.matrix_norm(x, "nuc")],
        [normal(5, 3)],
    ),
    "qr": (lambda x: [*linalg.qr(x), *linalg.qr(x, mode="r")], [normal(2, 5, 3)]),
    "cholesky": (
        lambda x: [linalg.cholesky(x), linalg.inv(x), linalg.slogdet(x)[1], linalg.cholesky_ex(x)[1]],
        [square()],
    ),
    "solve": (
        lambda x: [linalg.solve(x, x), linalg.lstsq(x, x)[0], linalg.solve_triangular(x.tril(), x, upper=False)],
        [square()],
    ),
    "foreach": (
        lambda x, y: [*torch._foreach_add([x, y], 1.0), *torch._foreach_mul([x, y], [x, y])],
        [normal(3), normal(4)],
    ),
    "vmap": (torch.vmap(torch.square), [normal(3, 4)]),
}
