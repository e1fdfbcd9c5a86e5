"""The checks of what an adapter promises, on a small pipeline of its class with random weights."""

from __future__ import annotations

from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.media.media import Media
from dragon_rewards.testing.require import require, require_equal, require_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from dragon_train.protocols import Draw, Policy
    from dragon_train.testing import Given

PROMPTS, SEEDS = ("a slow hymn", "a fast jig on the fiddle", "rain"), (3, 4, 5)
STEPS = 2
SAME = 1e-3  # of the largest value: samples in another batch, through the layers and steps of a pipeline


class AdapterCase:
    """An adapter with a small pipeline, and what its checks share.

    Attributes:
        info: the descriptor.
        build: a function that builds the pipeline.
    """

    def __init__(self, name: str, given: Given) -> None:
        self.info = given.registry.adapters[name]
        self.build = given.pipelines.get(name)

    @cached_property
    def pipeline(self) -> Any:
        """The pipeline, always of the same weights; its networks do not drop out."""
        promised = f"a small {self.info.pipeline_class} with random weights, to try the adapter on"
        mend = f'give conformance(..., pipelines={{"{self.info.name}": f}}) a function f that builds one'
        require(self.build, promised, "none", mend)
        assert self.build is not None  # noqa: S101  `require` made sure
        torch.manual_seed(0)
        pipeline = self.build()
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        return pipeline

    @cached_property
    def policy(self) -> Policy:
        """The policy that the adapter makes of the pipeline."""
        return self.info.factory(self.pipeline)

    def sampled(self, rows: slice = slice(None), seeds: tuple[int, ...] = SEEDS, gradient_steps: int = 0) -> Tensor:
        """Return the latents of the prompts and seeds in `rows`, without guidance."""
        return self.policy.sample(list(PROMPTS[rows]), list(seeds[rows]), STEPS, 1.0, gradient_steps)

    @cached_property
    def latents(self) -> Tensor:
        """The latents of all prompts, without gradient."""
        return self.sampled().detach()

    @cached_property
    def condition(self) -> Mapping[str, Any]:
        """What the denoiser is told about the prompts."""
        return self.policy.condition(list(PROMPTS))

    @cached_property
    def draw(self) -> Draw:
        """The noise that is added to the latents, and its levels."""
        return self.policy.draw(self.latents, torch.Generator().manual_seed(0))


prepare = lru_cache(maxsize=1)(AdapterCase)  # the checks of an adapter, run one after the other, share its samples


def facts(case: AdapterCase) -> None:
    """Check that the descriptor names a class that there is, and the one that the pipeline is of."""
    require_texts(case.info, "pipeline_class", "summary")
    known = hasattr(import_module(case.info.module), case.info.pipeline_class)
    promised = f"the name of a pipeline class of {case.info.module}"
    require(known, promised, case.info.pipeline_class, "correct pipeline_class, or module")
    found = type(case.pipeline).__name__
    require(found == case.info.pipeline_class, f"a {case.info.pipeline_class}", found, "build one in the test")


def adapts(case: AdapterCase) -> None:
    """Check that the policy has the pipeline, a denoiser that can be exchanged, and layers that adapters fit."""
    policy, network = case.policy, case.policy.denoiser
    require(policy.pipeline is case.pipeline, "policy.pipeline is the pipeline", "another object", "keep it")
    policy.denoiser = network
    exchanged = policy.denoiser is network and network in case.pipeline.components.values()
    require(exchanged, "a denoiser that is a component of the pipeline", type(network).__name__, "name the component")
    linear = [name for name, part in network.named_modules() if isinstance(part, torch.nn.Linear)]
    lost = [target for target in policy.lora_targets if not any(name.endswith(target) for name in linear)]
    require(not lost, "lora_targets that name linear layers of the denoiser", ", ".join(lost), "correct them")


def samples(case: AdapterCase) -> None:
    """Check that there are finite float32 latents for each prompt, and that sampling keeps no gradient by default."""
    found, count = case.latents, len(PROMPTS)
    kept = found.dtype == torch.float32 and len(found) == count and bool(found.isfinite().all())
    got = f"{found.dtype} {tuple(found.shape)}, {int((~found.isfinite()).sum())} values not finite"
    require(kept, f"finite float32 latents ({count}, ...)", got, "ask the pipeline for output_type='latent'")
    require(not case.sampled().requires_grad, "no gradient where none is asked for", "some", "sample in no_grad")


def own_prompt_and_seed(case: AdapterCase) -> None:
    """Check that a clip depends on its own prompt and seed alone, and on both."""
    alone = case.sampled(slice(1, 2)).detach()
    promised, mend = "a clip that does not depend on the others of its batch", "seed each clip; see PaddedPolicy"
    require_equal(alone, case.latents[1:2], promised, mend, SAME)
    other = case.sampled(slice(1, 2), (9, 9, 9)).detach()
    differs = not torch.allclose(other, alone, rtol=0, atol=SAME * float(alone.abs().max()))
    require(differs, "another clip from another seed", "the same", "give the pipeline a generator of each seed")


def gradient_of_samples(case: AdapterCase) -> None:
    """Check that where it is asked for, gradient of samples reaches the denoiser, and the samples are the same."""
    network = case.policy.denoiser
    found = case.sampled(gradient_steps=1)
    require_equal(found.detach(), case.latents, "the samples that there are without gradient", "seed alike", SAME)
    require(found.requires_grad, "samples with gradient of the last step", "none", "call the pipeline's __call__ bare")
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    _require_gradient(found.square().sum(), weights, "the denoiser's weights, through sampling")


def decodes(case: AdapterCase) -> None:
    """Check that latents become finite media of their own, with gradient where the latents have it."""
    policy, latents = case.policy, case.latents
    media = policy.decode(latents)
    kept = len(media) == len(latents) and bool(media.isfinite().all())
    require(kept, f"{len(latents)} finite media", f"{tuple(media.shape)}", "scale latents as the pipeline does")
    alone = policy.decode(latents[1:2])
    require_equal(alone, media[1:2], "media that depend on their own latents", "decode clip by clip", SAME)
    clips = policy.clips(latents, PROMPTS)
    whole = isinstance(clips, Media) and len(clips) == len(PROMPTS) and tuple(clips.prompts or ()) == PROMPTS
    require(whole, "clips with their prompts, as Clips or Images", type(clips).__name__, "return Clips or Images")
    leaf = latents.clone().requires_grad_()
    _require_gradient(policy.decode(leaf).square().sum(), [leaf], "the latents, through decoding")


def writes(case: AdapterCase) -> None:
    """Check that one clip is stored in a file of the given stem."""
    with TemporaryDirectory() as folder:
        path = case.policy.write(case.latents[0], Path(folder) / "clip")
        kept = path.is_file() and path.stem == "clip" and path.stat().st_size > 0
        require(kept, "write returns the path of a file, stem with a suffix", f"{path}", "write it, and return it")


def prompts_matter(case: AdapterCase) -> None:
    """Check that the denoiser is told the prompt: of other prompts the errors are others."""
    others = case.policy.condition(list(PROMPTS[1:] + PROMPTS[:1]))
    with torch.no_grad():
        own, found = (case.policy.denoising_error(case.latents, each, case.draw) for each in (case.condition, others))
    require(not torch.equal(own, found), "errors that depend on the prompts", "the same", "pass what condition returns")


def denoises(case: AdapterCase) -> None:
    """Check that the denoising error is finite, one for each clip, and has gradient; so has the estimate of latents."""
    network = case.policy.denoiser
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    error = case.policy.denoising_error(case.latents, case.condition, case.draw)
    kept = error.shape == (len(PROMPTS),) and bool((error.isfinite() & (error >= 0)).all())
    mend = "see noise processes: EDM, FlowMatching, VariancePreserving"
    require(kept, f"a mean squared error of each clip, ({len(PROMPTS)},)", f"{error}", mend)
    _require_gradient(error.sum(), weights, "the denoiser's weights, through the error")
    estimate = case.policy.denoised(case.latents, case.condition, case.draw)
    kept = estimate.shape == case.latents.shape and bool(estimate.isfinite().all())
    require(kept, f"finite estimates of latents {tuple(case.latents.shape)}", f"{tuple(estimate.shape)}", mend)


def _require_gradient(value: Tensor, inputs: list[Any], of: str) -> None:
    found = torch.autograd.grad(value, inputs, allow_unused=True) if value.requires_grad else ()
    given = [each for each in found if each is not None]
    reached = any(bool(each.any()) for each in given) and all(bool(each.isfinite().all()) for each in given)
    mend = "use torch operations, outside of no_grad, and detach nothing"
    require(reached, f"a finite gradient of {of}", "none, zero, NaN or infinity", mend)
