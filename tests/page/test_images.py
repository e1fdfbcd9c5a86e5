"""A run of a pipeline of images, by the plugin that is installed as pip would leave it: its page shows them."""

from __future__ import annotations

import io
import sys
from base64 import b64decode
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from support.accessibility import nodes, unnamed
from support.cli import dragon
from support.parts import Site
from support.report_pages import HOSTILE, figures

from dragon_rewards.registry import load_registry
from dragon_train.bench.report.media import page_image
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

PLUGIN = Path(__file__).parents[2] / "plugins" / "dragon-stable-diffusion"
TRAIN = """
reward = "clip-score:clip + vendi:clip"
steps = 1
prompts_per_step = 4
epochs = 1
demonstration_steps = 2
lora_rank = 2
learning_rate = 3e-3
"""


def checkpoints() -> Any:
    """What makes the small random checkpoints of the plugin's own tests."""
    spec = spec_from_file_location("stable_diffusion_checkpoints", PLUGIN / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install it, for this module's tests."""
    site = Site(tmp_path_factory.mktemp("site"))
    source = (PLUGIN / "dragon_stable_diffusion.py").read_text(encoding="utf-8")
    site.install("dragon-stable-diffusion", source)
    entries = "\n".join(f"[{group}]\nsd = dragon_stable_diffusion\n" for group in ("dragon_rewards", "dragon_train"))
    (next(site.folder.glob("*.dist-info")) / "entry_points.txt").write_text(entries, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PLUGIN)
        patch.syspath_prepend(site.folder)
        patch.setenv("DRAGON_WEIGHTS", str(site.folder / "weights"))
        checkpoints().save_clip(site.folder / "weights" / "clip")
        load_registry.cache_clear()
        load_train_registry.cache_clear()
        yield
    load_registry.cache_clear()
    load_train_registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith("dragon_stable_diffusion")]:
        del sys.modules[name]


@pytest.fixture(name="images", scope="module")
def run_of_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `dragon train` on a pipeline of images of 16 x 16 pixels."""
    folder = tmp_path_factory.mktemp("images")
    pipeline = checkpoints().save_stable_diffusion(folder / "pipeline", "ddim", "v_prediction")
    (folder / "run.toml").write_text(TRAIN)
    done = dragon("train", folder / "run.toml", "--pipeline", pipeline, "--out", folder / "run")
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.fixture
def opened(page: Page, images: Path) -> Page:
    """The page, with pairs of prompts that are markup."""
    (images / "prompts.txt").write_text("\n".join(HOSTILE))
    done = dragon("report", images, "--pairs", 3, "--prompts", images / "prompts.txt")
    assert done.exit_code == 0, done.output
    page.goto((images / "report.html").as_uri())
    page.wait_for_selector("#time svg")
    return page


def test_images_are_shown_side_by_side_with_their_prompts_as_text(opened: Page) -> None:
    pictures = opened.locator(".pairs img")
    assert pictures.evaluate_all("all => all.every(each => each.complete && each.naturalWidth === 16)")
    said = pictures.evaluate_all("all => all.map(each => each.alt)")
    assert sorted(said) == sorted(f"{model}: {prompt}" for prompt in HOSTILE for model in ("untuned", "tuned"))
    rows = opened.locator(".pairs tbody tr")
    places = rows.evaluate_all("all => all.map(row => [...row.querySelectorAll('img')].map(each => each.offsetTop))")
    assert all(before == after for before, after in places)
    assert opened.locator("audio").count() == 0
    assert opened.evaluate("window.hacked") is None
    assert unnamed(opened) == []
    assert {role for role, _ in nodes(opened, {"image"})} == {"image"}


def test_images_sort_by_improvement(opened: Page) -> None:
    gains = [row[0] for row in figures(opened, ".pairs")]
    assert gains == sorted(gains, reverse=True)
    opened.locator(".pairs th").nth(1).get_by_role("button").click()
    assert [row[0] for row in figures(opened, ".pairs")] == gains[::-1]


@pytest.mark.parametrize(("given", "kept"), [((700, 1400), (512, 256)), ((900, 90), (51, 512)), ((16, 24), (24, 16))])
def test_a_large_image_becomes_smaller(given: tuple[int, int], kept: tuple[int, int]) -> None:
    colour = torch.tensor([1.0, 0.5, 0.0])
    made = page_image(colour[:, None, None].expand(3, *given))
    with Image.open(io.BytesIO(b64decode(made.picture.partition(",")[2]))) as picture:
        assert (made.width, made.height) == picture.size == kept
        assert picture.getpixel((0, 0)) == (255, 128, 0)


def test_images_are_nothing_to_listen_to(images: Path, tmp_path: Path) -> None:
    refused = dragon("listen", "page", images, "--out", tmp_path / "page.html", "--db", tmp_path / "votes.sqlite")
    assert refused.exit_code == 2
    assert "makes no audio to listen to; `dragon report` shows what it makes" in refused.stderr
