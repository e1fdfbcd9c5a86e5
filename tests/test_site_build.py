"""The site builds without a warning, needs no network, its links lead somewhere, and its pictures have words."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support.readme import ROOT

pytestmark = pytest.mark.slow
pytest.importorskip("mkdocs")

LOADS = {"link": ("href",), **dict.fromkeys(("audio", "iframe", "img", "script", "source", "video"), ("src",))}


class Page(HTMLParser):
    """What a page links to, what it loads, the places in it that can be linked to, and its pictures."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.wordless: list[str] = []
        self.language = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [link for name in ("href", "src") if (link := found.get(name))]
        self.loaded += [link for name in LOADS.get(tag, ()) if (link := found.get(name))]
        self.places |= {place for name in ("id", "name") if (place := found.get(name))}
        if tag == "img" and not found.get("alt"):
            self.wordless.append(found.get("src") or "")
        if tag == "html":
            self.language = found.get("lang") or ""


@pytest.fixture(scope="module", name="site")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", name="pages")
def read_pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def test_links_lead_somewhere(pages: dict[Path, Page]) -> None:
    assert [fault for path, page in pages.items() for link in page.links if (fault := dead(link, path, pages))] == []


def dead(link: str, path: Path, pages: dict[Path, Page]) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    named = not parts.fragment or place not in pages or unquote(parts.fragment) in pages[place].places
    return "" if place.exists() and named else f"{path}: {link}"


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc} == set()
    assert [path for path in pages if 'class="mermaid"' in path.read_text(encoding="utf-8")] == []  # drawn by a CDN's


def test_pictures_have_words(pages: dict[Path, Page]) -> None:
    assert {str(path): page.wordless for path, page in pages.items() if page.wordless} == {}


def test_pages_say_their_language(pages: dict[Path, Page]) -> None:
    assert {page.language for page in pages.values()} == {"en"}


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("reference/commands.html", "dragon exemplars facets"),
        ("reference/train-config.html", "heldout_prompts"),
        ("reference/plugins.html", "laion/larger_clap_music"),
        ("reference/renames.html", "dragon_train.trainer"),
        ("reference/api/metrics.html", "frechet_distance"),
        ("notebooks/score_and_compare.html", "Eight prompts show only large differences"),
        ("reports/ablations/vendi/index.html", "vendi.svg"),
        ("how-to/devices-memory.html", "estimated_gb"),
        ("how-to/ray.html", "Not run by the tests: needs several machines."),
    ],
)
def test_pages_are_filled(site: Path, page: str, words: str) -> None:
    assert words in (site / page).read_text(encoding="utf-8")
