"""The pages of the site say what is so: their commands run as written, in the order in which the site shows them."""

from __future__ import annotations

import json
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import notebook_pages
import pandas as pd
import pytest
import reference_pages
from generated import GENERATED, MAKERS, REPORTS
from support.readme import ROOT, Block, blocks
from support.tiny import CONFIG, tiny_run

from dragon_rewards.former_names import MOVED
from dragon_train.config import train_config

DOCS = ROOT / "docs"
NAV = re.findall(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
PAGES = {path: (DOCS / path).read_text(encoding="utf-8") for path in NAV if (DOCS / path).is_file()}
RUN = [path for path, page in PAGES.items() if any(block.is_run for block in blocks(page))]
BLOCKS = [block for page in PAGES.values() for block in blocks(page)]
SETTINGS = [block for block in BLOCKS if block.language == "toml" and "reward" in tomllib.loads(block.text)]
VERBS = (
    "list", "sample", "score", "train", "plugins", "plugins new", "exemplars add", "exemplars facets",
    "exemplars export", "rank", "best-of", "compare", "fit-ratings", "fit-preferences", "rate-next", "export-reward",
    "report", "listen page", "ablate", "estimate", "doctor", "blend",
)  # fmt: skip
MADE = {
    "tutorials/first-run.md": ("clips/prompts.csv", "runs/airs/adapter_model.safetensors", "runs/airs/report.html"),
    "tutorials/exemplar-set.md": ("sets/mytracks/clap.safetensors", "runs/small/metrics.csv"),
    "how-to/score.md": ("best/prompts.csv", "vendi.csv"),
    "how-to/ratings.md": ("heads/taste/head.json", "next.csv", "heads/choices/head.json"),
    "how-to/exemplar-sets.md": ("mytracks.zip",),
    "how-to/train.md": ("runs/mixed/metrics.csv",),
    "how-to/blend.md": ("runs/half-or-all/blend.svg", "runs/half/adapter_model.safetensors"),
    "how-to/listening-tests.md": ("folders.html",),
    "how-to/plugins/objective.md": ("runs/ipo/adapter_model.safetensors",),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A reader's folder, which goes through all pages: later ones use what earlier ones made."""
    path = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_EXEMPLARS", str(path / "sets"))
        patch.setenv("DRAGON_HEADS", str(path / "heads"))
        yield path


@pytest.mark.slow
@pytest.mark.parametrize("path", RUN)
def test_pages_run_as_written(path: str, folder: Path) -> None:
    for block in blocks(PAGES[path]):
        block.follow(folder)
    assert [made for made in MADE.get(path, ()) if not (folder / made).is_file()] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_the_columns_that_are_explained_are_there(folder: Path, tmp_path: Path) -> None:
    """In the run of the pages, or in one with the settings that some columns are of."""
    page = PAGES["how-to/read-a-run.md"].split("\n## ")[1]
    named = set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))
    assert named
    mixture = "per-song-fad:logmel@airs + per-song-fad:chroma@airs"
    rows = tiny_run(replace(CONFIG, reward=mixture, diagnostics=True, options={"rule": "front"}), tmp_path / "run")
    there = set(pd.read_csv(folder / "runs" / "small" / "metrics.csv"))
    assert named <= there | {name for row in rows for name in row}


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_that_end_are_run(verb: str) -> None:
    assert any(f"dragon {verb}" in block.text for block in BLOCKS if block.is_run)


def test_every_page_is_in_the_navigation() -> None:
    records = [f"reports/{path.relative_to(REPORTS)}" for path in REPORTS.rglob("*.md")]
    made = [*reference_pages.PAGES, *notebook_pages.PAGES, *records]
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert written <= set(NAV)
    assert set(NAV) - written <= {*made, "reports/index.md"}
    assert set(notebook_pages.PAGES) <= set(NAV)


def test_pages_of_notebooks_have_every_cell() -> None:
    for uri, make in notebook_pages.PAGES.items():
        notebook, page = json.loads((DOCS / uri).with_suffix(".ipynb").read_text(encoding="utf-8")), make()
        assert [cell for cell in notebook["cells"] for line in cell["source"] if line not in page] == []
        assert page.count("```python\n") == sum(cell["cell_type"] == "code" for cell in notebook["cells"])


def test_links_to_notebooks_lead_to_their_pages() -> None:
    assert "(../notebooks/tune_and_listen.md)" in notebook_pages.linked(PAGES["tutorials/first-run.md"])


def test_every_ablation_is_in_the_navigation() -> None:
    records = [path.relative_to(ROOT).as_posix() for path in REPORTS.glob("ablations/*/README.md")]
    assert set(records) <= set(NAV)


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.mark)
def test_settings_are_the_trainers(block: Block) -> None:
    assert train_config(tomllib.loads(block.text), block.mark)


def listed(name: str) -> list[list[str]]:
    path = DOCS / "scripts" / f"{name}.txt"
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()]


def test_renamed_modules_are_where_the_site_says() -> None:
    moved = {old: tuple(homes) for old, *homes in listed("moved_modules")}
    assert {old: moved.get(old) for old in MOVED} == MOVED
    assert [home for homes in moved.values() for home in homes if find_spec(home) is None] == []


@pytest.mark.parametrize("name", [name for _, *names in listed("renamed_symbols") for name in names])
def test_renamed_symbols_are_where_the_site_says(name: str) -> None:
    assert pkgutil.resolve_name(name)


def test_tables_are_made_and_not_copied() -> None:
    named = [name for page in PAGES.values() for _, name, _ in GENERATED.findall(page)]
    assert set(named) == set(MAKERS)
    assert [path for path, page in PAGES.items() for found in GENERATED.finditer(page) if "|" in found[0]] == []


def test_the_cross_effects_are_those_of_the_benchmark() -> None:
    rates = pd.read_csv(REPORTS / "release-0.1" / "bench-quick" / "cross_effects.csv").set_index("run")
    row = rates.loc["dataset-fad:clap@tunebook"]
    own, logmel, chroma = (row[f"dataset-fad:{encoder}@tunebook"] for encoder in ("clap", "logmel", "chroma"))
    said = " ".join(PAGES["how-to/read-a-run.md"].split())
    assert f"won {own:.0%} by that, and {logmel:.0%} and {chroma:.0%} by the distance" in said


@pytest.mark.parametrize("path", PAGES)
def test_blocks_are_run_or_say_why_not(path: str) -> None:
    unknown = [block for block in blocks(PAGES[path]) if block.mark and not block.mark.startswith(("not run", "file"))]
    assert [block for block in unknown if block.is_run] == []
