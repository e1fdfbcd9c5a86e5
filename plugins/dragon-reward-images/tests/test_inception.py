"""`inception` equals the network of torch-fidelity, and its Fréchet distance the FID that torch-fidelity computes."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from conftest import inception_state
from dragon_reward_images import INCEPTION_FILE
from dragon_reward_images_inception import InceptionEncoder, load_encoder
from dragon_reward_images_resize import bilinear_of_tensorflow
from torch import Tensor

from dragon_rewards import Images, WeightsError, load_registry
from dragon_rewards.metrics import Gaussian
from dragon_rewards.protocols import Embeddings
from dragon_rewards.reductions import DatasetFad
from dragon_rewards.testing.images import pictures

# What torch-fidelity's functions of FID import, and do not call; the module imports torchvision, which is not here.
UNUSED = (
    "get_cacheable_input_name",
    "cache_lookup_one_recompute_on_miss",
    "extract_featuresdict_from_input_id_cached",
    "create_feature_extractor",
    "resolve_feature_extractor",
    "resolve_feature_layer_for_metric",
)


@pytest.fixture(scope="module")
def encoder() -> InceptionEncoder:
    return load_encoder()


@pytest.fixture(scope="module")
def fidelity() -> Any:
    """A function that imports a module of torch-fidelity without the package's own, which imports torchvision."""
    spec = find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not here: pip install --no-deps torch-fidelity")
    package, unused = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.utils")
    package.__path__ = list(spec.submodule_search_locations or ())
    vars(unused).update(dict.fromkeys(UNUSED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_fidelity", package)
        patch.setitem(sys.modules, "torch_fidelity.utils", unused)
        yield lambda name: import_module(f"torch_fidelity.{name}")
    for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
        del sys.modules[name]


def levels(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images of whole levels, (count, 3, height, width) in 0 to 255."""
    return (pictures(count, height, width, seed) * 255).round()


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (97, 61), (299, 299), (512, 640)])
def test_resizing_is_tensorflows(fidelity: Any, size: tuple[int, int]) -> None:
    images = levels(4, *size)
    resize = fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    expected = resize(images, size=(299, 299), align_corners=False)
    torch.testing.assert_close(bilinear_of_tensorflow(images, 299), expected, atol=1e-4, rtol=0)  # of 255 levels


@pytest.fixture(scope="module")
def original(fidelity: Any, weights: Path) -> Any:
    """torch-fidelity's own network with the same file of weights."""
    kind = fidelity("feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    return kind("inception", ["2048"], feature_extractor_weights_path=str(weights / "inception" / INCEPTION_FILE))


def test_frames_and_fid_are_those_of_torch_fidelity(encoder: InceptionEncoder, fidelity: Any, original: Any) -> None:
    sides = [levels(4, 48, 64), levels(5, 40, 40, seed=3)]
    with torch.no_grad():
        expected = [original(images.byte())[0] for images in sides]
        found = [encoder.encode_image(images / 255)[:, 0] for images in sides]
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std(0).mean() > 1e-3  # they differ from image to image
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    fid = fid_of(fidelity, *expected)
    ours = DatasetFad()(judged(encoder, sides[0] / 255), Gaussian.fit(found[1]))
    # Of fewer images than dimensions, theirs adds the roots of 2,044 eigenvalues that are 0 except for rounding.
    assert float(ours) == pytest.approx(fid, rel=1e-3)
    few = [features[:, ::700].double() for features in expected]  # of float32 theirs takes the mean in float32
    ours = DatasetFad()(Embeddings(list(few[0][:, None])), Gaussian.fit(few[1]))
    assert float(ours) == pytest.approx(fid_of(fidelity, *few), rel=1e-6)


def fid_of(fidelity: Any, *features: Tensor) -> float:
    """FID of two sets of features as torch-fidelity computes it."""
    metric = fidelity("metric_fid")
    made = [metric.fid_features_to_statistics(each) for each in features]
    found: dict[str, float] = metric.fid_statistics_to_metric(*made, verbose=False)
    return found["frechet_inception_distance"]


def judged(encoder: InceptionEncoder, images: Tensor) -> Embeddings:
    """What a reduction gets of images in [0, 1]."""
    return Images(images).embeddings(load_registry().encoder("inception"), encoder)


def test_gradients_reach_all_pixels_of_a_small_image_and_lower_the_distance(encoder: InceptionEncoder) -> None:
    images = (0.1 + 0.8 * pictures(2, 64, 64)).requires_grad_()
    reference = Gaussian.fit(encoder.encode_image(pictures(4, 64, 64, seed=2))[:, 0])

    def distance(given: Tensor) -> Tensor:
        return DatasetFad()(judged(encoder, given), reference)

    before = distance(images)
    (gradient,) = torch.autograd.grad(before, images)
    assert gradient.isfinite().all()
    assert gradient.abs().amax(1).bool().float().mean() > 0.99
    step = 1e-3 * gradient / gradient.abs().max()
    assert distance(images.detach() - step) < before


@pytest.mark.parametrize("fault", ["missing", "gap", "pickle"])
def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "inception").mkdir()
    state: dict[str, Any] = inception_state()
    if fault == "gap":
        del state["Mixed_7c.branch1x1.conv.weight"]
    if fault != "missing":
        held = state if fault == "gap" else state | {"code": Path(tmp_path)}
        torch.save(held, tmp_path / "inception" / INCEPTION_FILE)
    with pytest.raises(WeightsError, match="needs weights-incep" if fault == "missing" else "is not the state dict"):
        load_encoder()
