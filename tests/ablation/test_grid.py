"""Grids: what is shipped composes, and what a user mistypes is refused by name before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon_rewards.errors import DragonError, UnknownNameError
from dragon_train.bench.ablation.grid import load_grid, parse, shipped_grids
from dragon_train.bench.ablation.grid_work import make_grid_work
from dragon_train.bench.ablation.tuning_grid import make_tuning_grid

LEAST = {"question": "Which?", "axes": {"reward": ["vendi:clap", "per-song-fad:clap@airs"], "seed": [0, 1]}}
NEEDS_SETS = {"exemplars"}  # reports/ablations/make_exemplar_sets.py makes them


@pytest.mark.parametrize("name", sorted({*shipped_grids()} - NEEDS_SETS))
def test_shipped_grids_compose(name: str, tmp_path: Path) -> None:
    grid = load_grid(name)
    work = make_grid_work(grid, tmp_path)
    assert work.total
    assert len(work.listing()) + len(work.left_out) == len(list(grid.points()))
    assert grid.tables


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questoin": "?"}, "unknown key 'questoin'; did you mean question"),
        ({"axes": {"sed": [0]}}, "axes: unknown key 'sed'; did you mean seed"),
        ({"axes": {"seed": 0}}, r"axes.seed = 0: must be a list"),
        ({"axes": {"seed": []}}, r"axes.seed = \[\]: must be a list of at least one"),
        ({"settings": {"pol": 4}}, "settings: unknown key 'pol'; did you mean pool"),
        ({"when": [{"objective": "kto"}]}, "when: 'set' is missing"),
        ({"when": [{"objectiv": "kto", "set": {}}]}, "when: unknown key 'objectiv'"),
        ({"tables": [{"name": "t", "rows": ["sead"], "value": "win_rate"}]}, "table 't': unknown key 'sead'"),
        ({"tables": [{"name": "t", "rows": ["seed"]}]}, "tables: .*missing.*'value'"),
        ({"tables": [{"name": "t", "rows": ["seed"], "value": "gain", "frame": "tercils"}]}, "frame = 'tercils'"),
        ({"figures": [{"name": "f", "kind": "pie", "x": "seed", "y": "gain"}]}, "kind = 'pie': choose one of bar"),
        ({"study": "selektion", "axes": {"seed": [0]}}, "unknown study 'selektion'; did you mean selection"),
        ({"study": "selection", "score": ["vendi:clap"], "axes": {"seed": [0]}}, "tunes nothing"),
        ({"study": "selection", "axes": {"objective": ["dpo"]}}, "axes: unknown key 'objective'"),
        (
            {"axes": {"arm": ["few", "many"]}, "when": [{"arm": "few", "set": {}}]},
            "no table in 'when' has arm = 'many'",
        ),
        ({"role": "train"}, "role = 'train': must be exam or watch"),
    ],
)
def test_what_nothing_reads_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DragonError, match=message):
        parse("mine", {**LEAST, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {"reward": ["vendi:clop"]}}, "unknown encoder 'clop'; did you mean clap"),
        ({"axes": {"reward": ["vendi:clap@airs"]}}, "does not compose"),
        ({"score": ["vendi:clop"]}, "unknown encoder 'clop'"),
        ({"settings": {"steps": 0}}, "steps = 0: must be a whole number of at least 1"),
        ({"settings": {"objective": "dpa"}}, "unknown objective 'dpa'"),
        ({"settings": {"heldout_prompts": 100_000}}, "heldout_prompts = 100000: there are 256"),
        ({"settings": {"encoder": "clap"}}, "name a reward, or its parts"),
        ({"axes": {"encoder": ["clap"]}}, "only encoder is given"),
        ({"axes": {"reduction": ["per-song-fad"], "encoder": ["clap"]}}, "no combination of its axes composes"),
        ({"axes": {"seed": [0]}}, "name a reward"),
        ({"preset": "quikc"}, "unknown preset 'quikc'"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused_before_work(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DragonError, match=message):
        make_tuning_grid(parse("mine", {**LEAST, **change}), tmp_path)


def test_unknown_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean loss-pairing"):
        load_grid("loss-paring")
    with pytest.raises(DragonError, match="No such file"):
        load_grid(str(tmp_path / "missing.toml"))


def test_every_combination_is_a_point_and_later_rules_win() -> None:
    rules = [{"reward": "vendi:*", "set": {"pool": 4, "steps": 3}}, {"seed": [1, 2], "set": {"pool": 2}}]
    points = list(parse("mine", {**LEAST, "settings": {"steps": 2}, "when": rules}).points())
    assert [axes for axes, _ in points] == [
        {"reward": reward, "seed": seed} for reward in ("vendi:clap", "per-song-fad:clap@airs") for seed in (0, 1)
    ]
    assert [(settings["steps"], settings.get("pool")) for _, settings in points] == [(3, 4), (3, 2), (2, None), (2, 2)]


def test_an_arm_is_a_name_for_settings_and_no_setting(tmp_path: Path) -> None:
    rules = [
        {"arm": "nft", "set": {"objective": "nft"}},
        {"arm": "awm", "set": {"objective": "nft", "options": {"form": "awm"}}},
    ]
    grid = {"question": "?", "axes": {"arm": ["nft", "awm"]}, "settings": {"reward": "vendi:clap"}, "when": rules}
    nft, awm = make_tuning_grid(parse("mine", grid), tmp_path).cells
    assert (nft.axes, awm.axes) == ({"arm": "nft"}, {"arm": "awm"})
    assert (nft.config.options, awm.config.options) == ({}, {"form": "awm"})


def test_combinations_of_parts_that_do_not_compose_are_left_out_with_the_reason(tmp_path: Path) -> None:
    axes = {"reduction": ["per-song-fad"], "encoder": ["clap", "chroma"], "exemplar_set": ["descriptions"]}
    work = make_tuning_grid(parse("mine", {**LEAST, "axes": axes}), tmp_path)
    assert [cell.config.reward for cell in work.cells] == ["per-song-fad:clap@descriptions"]
    [(left, reason)] = work.left_out
    assert left["encoder"] == "chroma"
    assert "embeds no text" in reason


def test_cells_that_differ_in_inference_alone_share_a_tuning_run(tmp_path: Path) -> None:
    axes = {"inference_steps": [3, 6], "seed": [0]}
    work = make_tuning_grid(parse("mine", {**LEAST, "axes": axes, "settings": {"reward": "vendi:clap"}}), tmp_path)
    untuned, tuned = sorted(work.tasks(), key=lambda task: "untuned" not in task.folder.name)
    assert len(work.cells) == 2
    assert [len(task.arguments[3]) for task in (untuned, tuned)] == [2, 2]


def test_settings_are_chosen_on_the_prompts_to_watch(tmp_path: Path) -> None:
    """Whose models are kept apart from the exam's."""
    exam, watch = (make_tuning_grid(parse("mine", {**LEAST, "role": role}), tmp_path) for role in ("exam", "watch"))
    assert exam.workload.role == "exam"
    assert not {*exam.workload.heldout} & {*watch.workload.heldout}
    assert exam.workload.train == watch.workload.train
    assert exam.folder(None) != watch.folder(None)


def test_settings_of_a_cell_are_those_of_the_preset_but_for_its_own(tmp_path: Path) -> None:
    grid = parse("mine", {**LEAST, "preset": "dpo", "settings": {"learning_rate": 1e-5, "subset_size": 16}})
    vendi = make_tuning_grid(grid, tmp_path).cells[1]
    assert (vendi.config.learning_rate, vendi.config.pool, vendi.config.seed) == (1e-5, 4, 1)
    assert (vendi.evaluation.subset_size, vendi.evaluation.heldout_prompts, vendi.evaluation.seed) == (16, 192, 1)
