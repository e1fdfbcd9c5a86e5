"""A pipeline of images is tuned toward each encoder of images, and its images are scored and compared, by commands.

The pipeline, `clip` and the encoders are of the real classes with random weights, saved where a user puts the released.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from safetensors.torch import load_file
from support.cli import dragon
from support.installation import ROOT
from support.parts import Site

from dragon_rewards.registry import load_registry
from dragon_rewards.testing.images import pictures
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

PLUGINS = {"dragon-stable-diffusion": ("dragon_rewards", "dragon_train"), "dragon-reward-images": ("dragon_rewards",)}
REWARDS = ["dataset-fad:inception@photos", "dataset-fad:dinov2@photos", "clip-score:siglip2", "clip-score:clip"]
PROMPTS = ["a red house", "a boat", "two dogs", "a tree"]
SAMPLE = ("sample", *PROMPTS, "--pipeline", "pipeline", "--diffusion-steps", 2)
TRAIN = """
objective = "direct"
steps = 1
prompts_per_step = 4
demonstration_steps = 2
lora_rank = 2
learning_rate = 3e-3
heldout_prompts = 0
"""


def checkpoints(package: str) -> Any:
    """What makes the small random checkpoints of a plugin's own tests."""
    name = f"checkpoints_of_{package.replace('-', '_')}"
    spec = spec_from_file_location(name, ROOT / "plugins" / package / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def install(site: Site, package: str, groups: tuple[str, ...]) -> None:
    """As pip would leave it, with its further modules where they lie."""
    module = package.replace("-", "_")
    site.install(package, (ROOT / "plugins" / package / f"{module}.py").read_text(encoding="utf-8"))
    entries = "\n".join(f"[{group}]\nimages = {module}\n" for group in groups)
    (site.folder / f"{module}-1.2.dist-info" / "entry_points.txt").write_text(entries, encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the pipeline, prompts, and photos that are an exemplar set; both plugins are installed."""
    folder, site = tmp_path_factory.mktemp("place"), Site(tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        for package, groups in PLUGINS.items():
            install(site, package, groups)
            patch.syspath_prepend(ROOT / "plugins" / package)
        patch.syspath_prepend(site.folder)
        for variable, name in (("WEIGHTS", "weights"), ("EXEMPLARS", "sets"), ("CACHE", "cache")):
            patch.setenv(f"DRAGON_{variable}", str(folder / name))
        patch.chdir(folder)
        load_registry.cache_clear()
        load_train_registry.cache_clear()
        fill(folder)
        yield folder
    load_registry.cache_clear()
    load_train_registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("dragon_stable_diffusion", "dragon_reward_images"))]:
        del sys.modules[name]


def fill(folder: Path) -> None:
    diffusion, encoders = checkpoints("dragon-stable-diffusion"), checkpoints("dragon-reward-images")
    diffusion.save_stable_diffusion(folder / "pipeline", "ddim", "epsilon")
    diffusion.save_clip(folder / "weights" / "clip")
    for name in ("inception", "dinov2", "siglip2"):
        getattr(encoders, f"save_{name}")(folder / "weights" / name)
    (folder / "prompts.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
    (folder / "run.toml").write_text(TRAIN, encoding="utf-8")
    (folder / "photos").mkdir()
    for number, photo in enumerate(pictures(6, 16, 16)):
        levels = (photo * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(folder / "photos" / f"{number}.png")
    run("exemplars", "add", "photos", "photos")
    load_registry.cache_clear()  # as in a new process, which sees the set


def run(*arguments: object) -> str:
    done = dragon(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("reward", REWARDS)
def test_a_pipeline_is_tuned_toward_it_by_its_gradient(place: Path, reward: str) -> None:
    out = place / reward.replace(":", "-")
    options = ("--reward", reward, "--pipeline", "pipeline", "--prompts", "prompts.txt", "--out", out)
    run("train", "run.toml", *options)
    [adapter] = out.rglob("adapter_model.safetensors")
    grown = [value for name, value in load_file(adapter).items() if "lora_B" in name]  # zeros before the first step
    assert sum(float(value.abs().sum()) for value in grown) > 0
    scores = []
    for name, further in (("untuned", ()), ("tuned", ("--run", out))):
        run(*SAMPLE, *further, "--out", out / name)
        scores.append(json.loads(run("score", reward, out / name, "--json")))
    assert scores[0][0]["value"] != scores[1][0]["value"]


def test_images_are_compared_by_their_prompts(place: Path) -> None:
    sides = [place / "first", place / "second"]
    for seed, side in enumerate(sides):
        run(*SAMPLE, "--seed", seed, "--out", side)
    rewards = ("--rewards", "clip-score:clip", "--rewards", "clip-score:siglip2")
    rows = json.loads(run("compare", *sides, *rewards, "--json"))
    scored = json.loads(run("score", "clip-score:siglip2", sides[1], "--json"))
    assert [row["compared"] for row in rows] == ["clips, by prompt"] * 2
    assert rows[1]["b"] == pytest.approx(sum(row["value"] for row in scored) / len(scored), rel=1e-5)


def test_sets_of_images_serve_the_encoders_of_images_alone(place: Path) -> None:
    assert (place / "photos").is_dir()
    done = dragon("score", "dataset-fad:clap@photos", "photos")
    assert done.exit_code == 2
    assert "exemplar set 'photos' is image, and encoder 'clap' embeds audio and text" in done.stderr
    for reward in ("vendi:inception", "mmd:inception@photos", "coverage:dinov2@photos", "vendi:siglip2"):
        [row] = json.loads(run("score", reward, "photos", "--json"))
        assert row["clips"] == 6
