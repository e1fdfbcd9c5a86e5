"""What is said of an ablation has its figures from the ablation's tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dragon_rewards.errors import DragonError
from dragon_train.bench.ablation.findings import FINDINGS, PLACE, findings

RECORDS = Path(__file__).parents[2] / "reports" / "ablations"
PAGES = sorted(path.parent for path in RECORDS.glob(f"*/{FINDINGS}"))
CITED = re.compile(r"arXiv [0-9.]+|(figure|table) [0-9]+")
TABLE = """\
loss,reward,value,mean,sd
dpo,vendi:clap,win_rate,0.625,0.04
kto,vendi:clap,win_rate,0.5,
"""


@pytest.fixture(name="folder")
def table(tmp_path: Path) -> Path:
    (tmp_path / "rates.csv").write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize("folder", PAGES, ids=lambda folder: folder.name)
def test_pages_say_what_the_tables_say(folder: Path) -> None:
    assert findings(folder) in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", PAGES, ids=lambda folder: folder.name)
def test_a_page_has_no_figures_but_those_that_are_read(folder: Path) -> None:
    text = (folder / FINDINGS).read_text(encoding="utf-8")
    assert re.findall(r".*[0-9].*", CITED.sub("", PLACE.sub("", text))) == []


def test_a_figure_is_read_from_its_row(folder: Path) -> None:
    (folder / FINDINGS).write_text("{rates: dpo, vendi:clap | .1%} ± {rates.sd: dpo | .3f}, {no place}\n")
    assert findings(folder) == "62.5% ± 0.040, {no place}"
    (folder / FINDINGS).unlink()
    assert findings(folder) == ""


def test_values_are_read_in_the_order_of_the_table_s_columns(folder: Path) -> None:
    (folder / "steps.csv").write_text("made,used,value,mean,seeds\n3,6,rate,0.1,6\n6,3,rate,0.2,6\n6,6,rate,0.3,6\n")
    (folder / FINDINGS).write_text("{steps: 3, 6 | .1f} {steps: 6, 3 | .1f} {steps: 6, 6 | .1f}\n")
    assert findings(folder) == "0.1 0.2 0.3"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("rates: vendi:clap | .1%", "is 2 rows"),
        ("rates: raft | .1%", "is 0 rows"),
        ("rates.sd: kto | f", "or no figure"),
        ("rates.se: dpo | f", "or no figure"),
        ("rates: dpo | zz", "has no form of a number"),
    ],
)
def test_a_place_that_is_no_figure_is_named(folder: Path, place: str, said: str) -> None:
    (folder / FINDINGS).write_text(f"{{{place}}}")
    with pytest.raises(DragonError, match=re.escape(f"findings.md': {{{place}}}") + f".*{said}"):
        findings(folder)


def test_a_table_that_is_not_there_is_named(folder: Path) -> None:
    (folder / FINDINGS).write_text("{other: dpo | f}")
    with pytest.raises(DragonError, match=r"other\.csv' cannot be read .*run the ablation again"):
        findings(folder)
