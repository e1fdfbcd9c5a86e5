"""The metrics on the second device: values of the CPU, and launches and reads that do not grow with the clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from support.devices.second_device import Counts, counted
from support.metric_cases import embeddings

from dragon_rewards.evaluation import permutation_test
from dragon_rewards.metrics import (
    Facets,
    Gaussian,
    clap_score,
    clip_contributions,
    dataset_fad,
    dataset_fad_subsets,
    exchange_losses,
    facet_coverage,
    fad_infinity,
    frechet_distance,
    frechet_loss,
    kernel_audio_distance,
    negated,
    per_song_fad,
    prdc,
    select_positive,
    vendi_score,
    vendi_subsets,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

DIM = 12
FACETS = Facets.fit(embeddings(99, 60, DIM), 3)
WAYS = {"equal": (5,), "few": (5, 7, 30)}  # lengths of clips: shorter and longer than the dimension


@pytest.fixture(scope="module", name="reference")
def reference_there(second: torch.device) -> Gaussian:
    """On the device, with what is found once found."""
    return on(second, Gaussian.fit(embeddings(99, 60, DIM)))


def on(device: torch.device, gaussian: Gaussian) -> Gaussian:
    moved = Gaussian.from_tensors({name: tensor.to(device) for name, tensor in gaussian.to_tensors().items()})
    assert moved.factor.device == device
    return moved


def clips_of(count: int, lengths: tuple[int, ...]) -> list[Tensor]:
    """Clips of these lengths in turn."""
    return [embeddings(index, lengths[index % len(lengths)], DIM) for index in range(count)]


def selected(clips: list[Tensor], reference: Gaussian) -> Tensor:
    """D+ of a leap and no pass, and what its exchanges lose: three values of sets and an expansion."""
    value, pairs = negated(dataset_fad_subsets(clips, reference)), len(clips) // 2
    chosen = select_positive(pairs, value, max_passes=0)
    return torch.cat([chosen.positive.double(), exchange_losses(chosen, value)])


def exchanged(clips: list[Tensor], reference: Gaussian) -> Tensor:
    value = negated(dataset_fad_subsets(clips, reference))
    return torch.tensor(permutation_test(value, len(clips) // 2, permutations=15).difference)


def contributed(clips: list[Tensor], reference: Gaussian) -> Tensor:
    found = clip_contributions(clips, reference)
    return torch.cat([found.value[None], found.leave_one_out, found.marginal])


def other(clips: list[Tensor]) -> Tensor:
    """A set of 40 frames or prompts beside the clips."""
    return embeddings(5, 40, DIM).to(clips[0].dtype).to(clips[0].device)


SUBSETS = torch.tensor([[0, 1], [2, 3], [1, 1]])
# What is made of clips and a reference, and how often the host waits for the device: for any number of clips.
METRICS: dict[str, tuple[Callable[[list[Tensor], Gaussian], Tensor], int]] = {
    "per-song": (per_song_fad, 3),
    "dataset": (dataset_fad, 3),
    "distance": (lambda clips, reference: frechet_distance(Gaussian.fit(torch.cat(clips)), reference), 5),
    "subsets": (lambda clips, reference: dataset_fad_subsets(clips, reference)(SUBSETS), 3),
    "selection": (selected, 14),
    "permutation": (exchanged, 7),
    "contributions": (contributed, 8),
    "infinity": (lambda clips, reference: torch.tensor(fad_infinity(clips, reference).value), 16),
    "loss": (lambda clips, reference: frechet_loss(clips, reference, reference), 7),
    "vendi": (lambda clips, _: vendi_score(torch.cat(clips)), 3),
    "vendi subsets": (lambda clips, _: vendi_subsets(torch.cat(clips))(SUBSETS), 3),
    "kernel": (lambda clips, _: kernel_audio_distance(torch.cat(clips), other(clips)), 4),
    "clap": (lambda clips, _: clap_score(clips, other(clips)[:1].expand(len(clips), -1)), 4),
    "facets": (lambda clips, _: facet_coverage(clips, FACETS), 2),
    "neighbours": (lambda clips, _: torch.tensor(prdc(torch.cat(clips), other(clips)).density), 6),
}


def counts_of(name: str, clips: list[Tensor], reference: Gaussian) -> Counts:
    with counted() as counts:
        METRICS[name][0](clips, reference)
    return counts


@pytest.mark.parametrize("lengths", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", METRICS)
def test_values_are_those_of_the_cpu(name: str, lengths: tuple[int, ...], reference: Gaussian) -> None:
    metric, clips = METRICS[name][0], clips_of(16, lengths)
    found = metric([clip.to(reference.mean.device) for clip in clips], reference).cpu()
    expected = metric(clips, on(torch.device("cpu"), reference))
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("lengths", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", METRICS)
def test_launches_and_reads_do_not_grow_with_the_clips(
    name: str, lengths: tuple[int, ...], reference: Gaussian
) -> None:
    clips = [clip.to(reference.mean.device) for clip in clips_of(66, lengths)]
    few, many = counts_of(name, clips[:34], reference), counts_of(name, clips, reference)
    assert few.by_name == many.by_name, (few, many)


@pytest.mark.parametrize("name", METRICS)
def test_the_host_waits_as_often_as_is_said(name: str, reference: Gaussian) -> None:
    counts = counts_of(name, [clip.to(reference.mean.device) for clip in clips_of(34, (5,))], reference)
    assert counts.synchronisations == METRICS[name][1], counts


@pytest.mark.parametrize("pairs", [6, 12])
def test_the_choices_of_few_pairs_are_valued_with_one_wait_more(pairs: int, reference: Gaussian) -> None:
    """Of a distance, which is waited for three times."""
    clips = [clip.to(reference.mean.device) for clip in clips_of(2 * pairs, (5,))]
    assert counts_of("selection", clips, reference).synchronisations == METRICS["selection"][1] + 3


@pytest.mark.parametrize("lengths", WAYS.values(), ids=WAYS)
def test_subsets_whose_scatters_are_too_many_to_keep_are_the_same(
    lengths: tuple[int, ...], reference: Gaussian, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [clip.to(reference.mean.device) for clip in clips_of(16, lengths)]
    kept = dataset_fad_subsets(clips, reference)(SUBSETS)
    monkeypatch.setattr("dragon_rewards.metrics.subsets.KEPT_ELEMENTS", 0)
    assert torch.allclose(dataset_fad_subsets(clips, reference)(SUBSETS), kept, rtol=1e-12)


def test_contributions_of_fewer_frames_than_dimensions_are_found_together(reference: Gaussian) -> None:
    clips = clips_of(5, (2,))
    there = [clip.to(reference.mean.device) for clip in clips]
    expected = contributed(clips, on(torch.device("cpu"), reference))
    assert torch.allclose(contributed(there, reference).cpu(), expected, rtol=1e-9, atol=1e-9)
    few, many = counts_of("contributions", there[:4], reference), counts_of("contributions", there, reference)
    assert few.by_name == many.by_name, (few, many)


@pytest.mark.parametrize("pairs", [8, 16])
def test_a_pass_of_the_selection_waits_three_times_a_block_at_most_and_twice_for_its_values(
    pairs: int, reference: Gaussian
) -> None:
    """A block of 8 exchanges is valued; where some of them gain, the best together, and what is accepted."""
    value = negated(
        dataset_fad_subsets([clip.to(reference.mean.device) for clip in clips_of(2 * pairs, (5,))], reference)
    )
    asked = [counts_of_selection(pairs, value, passes).synchronisations for passes in (0, 1)]
    assert 2 * pairs / 8 <= asked[1] - asked[0] <= 2 * 3 * pairs / 8


def counts_of_selection(pairs: int, value: Callable[[Tensor], Tensor], passes: int) -> Counts:
    with counted() as counts:
        select_positive(pairs, value, max_passes=passes)
    return counts


@pytest.mark.parametrize("length", [5, 30], ids=["fewer frames than dimensions", "more"])
def test_clips_of_little_variance_take_the_long_way_there(length: int, reference: Gaussian) -> None:
    """Singular values are the eigenvalues of a mirrored triangle there, in as many launches for many clips."""
    falling = torch.logspace(0, -7, min(length, DIM), dtype=torch.float64)
    clips = [clip * (falling[:, None] if length < DIM else falling) for clip in clips_of(12, (length,))]
    there = [clip.to(reference.mean.device) for clip in clips]
    found, expected = per_song_fad(there, reference).cpu(), per_song_fad(clips, on(torch.device("cpu"), reference))
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)
    few, many = counts_of("per-song", there[:4], reference), counts_of("per-song", there, reference)
    assert few.by_name == many.by_name, (few, many)
    assert few.by_name["launch"]["linalg_qr"] == 1


def test_gradients_are_those_of_the_cpu(reference: Gaussian) -> None:
    for lengths in WAYS.values():
        here = [clip.requires_grad_() for clip in clips_of(6, lengths)]
        there = [clip.detach().to(reference.mean.device).requires_grad_() for clip in here]
        expected = torch.autograd.grad(per_song_fad(here, on(torch.device("cpu"), reference)).sum(), here)
        found = torch.autograd.grad(per_song_fad(there, reference).sum(), there)
        for slope, other_slope in zip(found, expected, strict=True):
            assert torch.allclose(slope.cpu(), other_slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_without_float64_statistics_are_the_cpus(name: str, no_float64: torch.device) -> None:
    metric, clips = METRICS[name][0], [clip.float() for clip in clips_of(16, (5, 30))]
    reference = Gaussian.fit(embeddings(99, 60, DIM))
    found, expected = metric([clip.to(no_float64) for clip in clips], reference), metric(clips, reference)
    assert found.device.type == "cpu"
    assert torch.equal(found, expected)


def test_without_float64_gradients_reach_the_device(no_float64: torch.device) -> None:
    clips = [clip.float().to(no_float64).requires_grad_() for clip in clips_of(3, (5, 30))]
    for fad in (per_song_fad, dataset_fad):
        slopes = torch.autograd.grad(fad(clips, Gaussian.fit(embeddings(99, 60, DIM))).sum(), clips)
        assert all(slope.device == no_float64 and bool(slope.any()) for slope in slopes)
