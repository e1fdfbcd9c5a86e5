"""How exact the metrics are: against closed forms, 40 digits and fadtk's formula, and for coarse or far inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from support.metric_cases import dims, embeddings, frechet_of_40_digits, rotation, seeds, thorough, traces
from torch import Tensor

from dragon_rewards.metrics import (
    Gaussian,
    clap_score,
    clip_contributions,
    dataset_fad,
    dataset_fad_subsets,
    frechet_distance,
    frechet_loss,
    kernel_audio_distance,
    median_bandwidth,
    per_song_fad,
    prdc,
    vendi_score,
)

FEW, MANY = 30, 500  # frames of a clip below and above the dimension
DIM = 64


def gaussian_frames(seed: int, count: int, scale: float = 1.0) -> Tensor:
    """Frames (count, DIM) with standard deviations from 1 down to 0.1."""
    generator = torch.Generator().manual_seed(seed)
    deviations = torch.logspace(0, -1, DIM, dtype=torch.float64)
    return scale * torch.randn(count, DIM, generator=generator, dtype=torch.float64) * deviations


def fads(frames: Tensor, reference: Tensor) -> Tensor:
    """The FAD of the same frames by every way to it: (3,)."""
    gaussian = Gaussian.fit(reference)
    by_moments = dataset_fad_subsets([frames[:9], frames[9:]], gaussian)(torch.tensor([[0, 1]]))
    return torch.cat([per_song_fad([frames], gaussian), dataset_fad([frames], gaussian).unsqueeze(0), by_moments])


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact) / exact).abs().max())


def fadtk_formula(x: Tensor, y: Tensor) -> float:
    """Reference formula of fadtk: |mu_x - mu_y|^2 + tr(C_x + C_y - 2 sqrtm(C_x C_y)), by a general matrix root."""
    (mean_x, cov_x), (mean_y, cov_y) = (
        (z.mean(0).numpy(), np.atleast_2d(np.cov(z.numpy(), rowvar=False))) for z in (x, y)
    )
    root = np.real(sqrtm(cov_x @ cov_y))
    return float(((mean_x - mean_y) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


@pytest.mark.parametrize("frames", [FEW, MANY])
def test_an_offset_of_10000_deviations_leaves_12_digits_in_float64(frames: int) -> None:
    near, other = gaussian_frames(1, frames, 1.2), gaussian_frames(2, 2000)
    error = relative_error(fads(near + 1e4, other + 1e4), fads(near, other))
    assert error <= 1e-12  # measured 3e-13; the offset itself rounds the frames by 1e4 * 1.1e-16 = 1.1e-12


@pytest.mark.parametrize("frames", [FEW, MANY])
def test_an_offset_of_10000_deviations_leaves_4_digits_in_float32_all_lost_before_the_metric(frames: int) -> None:
    near, other = gaussian_frames(1, frames, 1.2), gaussian_frames(2, 2000)
    far, far_other = (near + 1e4).float(), (other + 1e4).float()
    assert relative_error(fads(far, far_other), fads(near, other)) <= 1e-4  # measured 3.5e-5
    assert torch.equal(fads(far, far_other), fads(far.double(), far_other.double()))


@pytest.mark.parametrize("frames", [FEW, MANY])
@pytest.mark.parametrize("scale", [1.0, 1.2])
@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float32, 2e-8), (torch.float16, 1e-4), (torch.bfloat16, 5e-4)],  # measured 5.4e-9, 3.0e-5, 1.6e-4
)
def test_coarse_frames_cost_their_own_rounding_and_no_more(
    dtype: torch.dtype, bound: float, scale: float, frames: int
) -> None:
    near, other = gaussian_frames(1, frames, scale), gaussian_frames(2, 2000)
    coarse, coarse_other = near.to(dtype), other.to(dtype)
    assert relative_error(fads(coarse, coarse_other), fads(near, other)) <= bound
    assert torch.equal(fads(coarse, coarse_other), fads(coarse.double(), coarse_other.double()))


def invariant_metrics(frames: Tensor, reference: Tensor) -> dict[str, Tensor]:
    """What a translation of everything leaves as it is, of 10 clips."""
    clips, gaussian = frames.chunk(10), Gaussian.fit(reference)
    contributions = clip_contributions(clips, gaussian)
    return {
        "kernel distance": kernel_audio_distance(frames, reference),
        "bandwidth": torch.tensor(median_bandwidth(reference), dtype=torch.float64),
        "leave-one-out": contributions.leave_one_out,
        "marginal": contributions.marginal,
        "loss": frechet_loss(clips, gaussian, gaussian),
    }


def error_by_metric(found: dict[str, Tensor], exact: dict[str, Tensor]) -> dict[str, float]:
    """Largest error, relative to the largest value of each."""
    return {name: float((found[name] - exact[name]).abs().max() / exact[name].abs().max()) for name in exact}


@pytest.mark.parametrize(
    ("dtype", "bound"),  # measured 3.1e-8, 6.9e-4, 4.0e-3, each for the marginal, the worst of them
    [(torch.float32, 1e-7), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)],
)
def test_coarse_frames_cost_other_metrics_their_rounding(dtype: torch.dtype, bound: float) -> None:
    near, other = gaussian_frames(1, 300, 1.2), gaussian_frames(2, 400)
    exact = invariant_metrics(near, other) | {
        "clap": clap_score(near.chunk(10), other[:10]),  # measured 5.3e-8, 4.2e-4, 5.4e-3
        "vendi": vendi_score(near),
    }
    coarse, coarse_other = near.to(dtype), other.to(dtype)
    found = invariant_metrics(coarse, coarse_other) | {
        "clap": clap_score(coarse.chunk(10), coarse_other[:10]),
        "vendi": vendi_score(coarse),
    }
    errors = error_by_metric(found, exact)
    assert max(errors.values()) <= bound, errors


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 2e-11), (torch.float32, 2e-3)])  # measured 6e-12, 7e-4
def test_an_offset_of_10000_deviations_costs_other_metrics_their_rounding(dtype: torch.dtype, bound: float) -> None:
    near, other = gaussian_frames(1, 300, 1.2), gaussian_frames(2, 400)
    far = invariant_metrics((near + 1e4).to(dtype), (other + 1e4).to(dtype))
    errors = error_by_metric(far, invariant_metrics(near, other))
    assert max(errors.values()) <= bound, errors


def test_neighbours_outlast_rounding_and_offset() -> None:
    near, other = gaussian_frames(1, 300, 1.2), gaussian_frames(2, 400)
    exact = prdc(near, other)
    assert prdc((near + 1e4).float(), (other + 1e4).float()) == prdc(near.half(), other.half()) == exact
    coarse = prdc(near.bfloat16(), other.bfloat16())
    assert coarse.coverage == pytest.approx(exact.coverage, abs=0.01)  # measured 0.005: 2 of 400 balls
    assert coarse.density == pytest.approx(exact.density, abs=0.002)  # measured 0.0007


@thorough
@given(seeds, dims)
def test_every_way_to_a_distance_is_that_of_40_digits(seed: int, dim: int) -> None:
    x, y = embeddings(seed, dim + 9, dim), embeddings(seed + 1, dim + 6, dim)
    found, scale = fads(x, y), traces(Gaussian.fit(x), Gaussian.fit(y))
    assert (found - frechet_of_40_digits(x, y)).abs().max() <= 1e-9 * scale  # measured 8e-15 where well-conditioned


@pytest.mark.parametrize("dim", [1, 8, 64, 128])
def test_the_distance_is_that_of_fadtks_formula(dim: int) -> None:
    x, y = embeddings(1, 4 * dim + 2, dim), embeddings(2, 5 * dim + 2, dim)
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    found = torch.stack([frechet_distance(a, b), dataset_fad([x], b)])
    assert relative_error(found, torch.tensor(fadtk_formula(x, y), dtype=torch.float64)) <= 1e-12  # measured 4.5e-14


@thorough
@given(seeds, dims)
def test_commuting_covariances_have_the_distance_of_their_roots(seed: int, dim: int) -> None:
    turn, generator = rotation(seed, dim), torch.Generator().manual_seed(seed)
    (m, n), (a, b) = (torch.rand(2, dim, generator=generator, dtype=torch.float64) + 0.1 for _ in range(2))
    first, second = (Gaussian(mean, turn * values @ turn.mT, 9) for mean, values in ((m, a), (n, b)))
    closed = (m - n).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert abs(frechet_distance(first, second) - closed) <= 1e-13 * (1 + traces(first, second))


@thorough
@given(seeds)
def test_one_dimension_has_the_distance_of_means_and_deviations(seed: int) -> None:
    x, y = embeddings(seed, 9, 1), embeddings(seed + 1, 12, 1)
    closed = (x.mean() - y.mean()).square() + (x.std() - y.std()).square()
    reference = Gaussian.fit(y)
    assert torch.allclose(
        frechet_distance(Gaussian.fit(x), reference), closed, rtol=1e-12, atol=1e-13 * traces(reference)
    )
    assert torch.allclose(dataset_fad([x], reference), closed, rtol=1e-12, atol=1e-13 * traces(reference))


@thorough
@given(seeds, dims, st.floats(-4, 4))
def test_scaling_by_c_scales_the_distance_by_its_square(seed: int, dim: int, exponent: float) -> None:
    c, x, y = 10.0**exponent, embeddings(seed, dim + 9, dim), embeddings(seed + 1, dim + 20, dim)
    plain = frechet_distance(Gaussian.fit(x), Gaussian.fit(y))
    scaled = frechet_distance(Gaussian.fit(c * x), Gaussian.fit(c * y))
    assert torch.isclose(scaled, c**2 * plain, rtol=1e-10, atol=0)
