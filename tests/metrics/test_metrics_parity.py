"""The metrics beside the packages of the field, on the same embeddings: fadtk, kadtk, torch-fidelity, prdc.

They are no dependency of the tests, as they want old versions of torch and of SciPy; what each of them computes is also
written out from its formula in the tests of each metric. Where one is installed (`pip install --no-deps NAME`), the
functions that compute its metric are run as they are. `vendi-score` is installed with the tests
(`test_metrics_vendi.py`).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg
from support.metric_cases import embeddings
from torch import Tensor

from dragon_rewards.metrics import (
    Gaussian,
    dataset_fad,
    frechet_distance,
    kernel_audio_distance,
    maximum_mean_discrepancy,
    median_bandwidth,
    prdc,
    precision,
    recall,
)


def functions_of(package: str, file: str, names: Collection[str], **known: object) -> Callable[[str], Any]:
    """Look functions of a file of an installed package up by name; they are compiled as they stand there.

    The rest of the file, which imports what loads models and audio, is left out; `known` is what the functions use.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    path = Path(found.origin).with_name(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name in names]
    assert {part.name for part in tree.body if isinstance(part, ast.FunctionDef)} == set(names)
    exec(compile(tree, str(path), "exec", flags=annotations.compiler_flag), known)  # noqa: S102
    return known.__getitem__


def quietly(function: Callable[..., Any], *values: object, **options: object) -> Any:
    """Call a function of theirs, whose warnings are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*values, **options)


@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_audio_distance_is_kadtks(seed: int) -> None:
    """In float64: what differs is the 1e-8 that it adds to twice the squared bandwidth, and its median in float32."""
    names = ("calc_kernel_audio_distance", "median_pairwise_distance")
    theirs = functions_of("kadtk", "kad.py", names, torch=torch, np=np, SCALE_FACTOR=100)(names[0])
    x, y = embeddings(seed, 80, 8), embeddings(seed + 10, 101, 8)
    width = median_bandwidth(y)
    fixed = quietly(theirs, x, y, (None, None), "cpu", width, precision=torch.float64)
    assert float(kernel_audio_distance(x, y, width)) == pytest.approx(float(fixed), rel=1e-6, abs=1e-6)
    default = quietly(theirs, x, y, (None, None), "cpu", precision=torch.float64)
    assert float(kernel_audio_distance(x, y)) == pytest.approx(float(default), rel=1e-6, abs=1e-5)


def moments(rows: Tensor) -> tuple[Any, Any]:
    """The mean (d,) and the covariance (d, d), as numpy makes them."""
    values = rows.double().numpy()
    return values.mean(0), np.cov(values, rowvar=False)


@pytest.mark.parametrize("dim", [3, 16])
def test_the_frechet_distance_is_fadtks(dim: int) -> None:
    """It takes the root of a product by a general eigenvalue problem."""
    name = "calc_frechet_distance"
    theirs = functions_of("fadtk", "fad.py", [name], np=np, linalg=linalg, scisqrt=np.emath.sqrt)(name)
    x, y = embeddings(1, 300, dim), embeddings(2, 400, dim) + 0.3
    expected = quietly(theirs, *moments(x), *moments(y))
    assert float(dataset_fad([x[:100], x[100:]], Gaussian.fit(y))) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_density_and_coverage_are_prdcs(k: int) -> None:
    """Its balls are open, which makes no difference without ties."""
    theirs = pytest.importorskip("prdc").compute_prdc
    generated, reference = embeddings(1, 60, 4), embeddings(2, 80, 4) + 0.2
    expected = quietly(theirs, reference.double().numpy(), generated.double().numpy(), k)
    found = prdc(generated, reference, k)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(float(value), rel=1e-6, abs=1e-6), name


def vassert(kept: bool, said: str) -> None:
    assert kept, said


def test_the_discrepancy_is_torch_fidelitys_of_whole_sets() -> None:
    """Its kernel inception distance is a mean of it over random subsets."""
    defaults = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    options = {**defaults, "kid_kernel_poly_coef0": 1}
    names = ("kernel_poly", "kernel_rbf", "mmd2", "kernel_mmd")
    known = {"np": np, "vassert": vassert, "get_kwarg": lambda name, given: given[name]}
    theirs = functions_of("torch_fidelity", "metric_kid.py", names, **known)("kernel_mmd")
    x, y = embeddings(1, 50, 6).double(), embeddings(2, 50, 6).double() + 0.2
    expected = theirs(x.numpy(), y.numpy(), **options)
    assert float(maximum_mean_discrepancy(x, y)) == pytest.approx(float(expected), rel=1e-6, abs=1e-6)


def test_precision_and_recall_are_torch_fidelitys() -> None:
    names = ("calc_cdist_part", "calc_cdist_full", "calculate_precision_recall_full")
    theirs = functions_of("torch_fidelity", "metric_prc.py", names, torch=torch)(names[2])
    generated, reference = embeddings(1, 60, 4).double(), embeddings(2, 80, 4).double() + 0.2
    expected = theirs(generated, reference, 3)
    found = precision(generated, reference, 3), recall(generated, reference, 3)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_frechet_distance_is_torch_fidelitys() -> None:
    name, key = "fid_statistics_to_metric", "distance"
    known = {"np": np, "torch": torch, "vassert": vassert, "vprint": lambda *_: None, "KEY_METRIC_FID": key}
    theirs = functions_of("torch_fidelity", "metric_fid.py", [name], **known)(name)
    x, y = embeddings(1, 200, 5), embeddings(2, 300, 5) + 0.3
    first, second = (dict(zip(("mu", "sigma"), moments(rows), strict=True)) for rows in (x, y))
    expected = quietly(theirs, first, second, verbose=False)[key]
    assert float(frechet_distance(Gaussian.fit(x), Gaussian.fit(y))) == pytest.approx(expected, rel=1e-6, abs=1e-6)
