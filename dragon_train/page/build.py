"""From results and pairs to what the page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import win_rate
from dragon_rewards.ranking import LEFT_OUT
from dragon_rewards.tables import BASELINE, WHOLE_SET
from dragon_train.heldout import PARTS
from dragon_train.page import charts
from dragon_train.page.pairs import remedy
from dragon_train.page.view import (
    Cell,
    Chart,
    Fact,
    PageView,
    PairRow,
    Players,
    RunView,
    Table,
    cell,
    duration,
    figure,
    frame_table,
    heat,
    key_values,
    share,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.page.pairs import Pair, Plan
    from dragon_train.page.source import BenchmarkTables, Results, TrainedRun

EVEN = 0.5  # a win rate that shows nothing
SECONDS = "_s"  # how columns of metrics.csv that hold seconds end
WON, MEAN_WON = "win rate ", "heldout_win_rate"  # how those of held-out win rates begin, and their mean
CURVES = {
    "Reward": ("reward", "positive_reward"),
    "Diversity: Vendi score of a step's clips": ("vendi",),
    "Margin of the implicit rewards": ("margin",),
    "KL divergence from the untuned model, estimated": ("kl",),
    "Norm of the gradient": ("gradient_norm",),
    "Loss": ("loss",),
}
NAMES = {
    "run": "run",
    "served": "judged by",
    "direction": "better",
    "before": "untuned",
    "after": "tuned",
    "win_rate": "win rate",
    "lower": "95% bound",
    "p_value": "p",
    "posterior": "P(rate > ½)",
    "holm": "p, Holm",
}
WIN_COLUMNS = ("run", "served", "direction", "before", "after", "win_rate", "lower", "p_value", "holm", "trials")
RATES = {"win_rate": share, "lower": share, "share": share}
QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}


def build(results: Results, plans: Sequence[Plan], pairs: Mapping[str, Sequence[Pair]]) -> PageView:
    """The page of a folder; `pairs` by run."""
    planned = {plan.run.name: plan for plan in plans}
    runs = tuple(run_view(run, planned.get(run.name), pairs.get(run.name, ())) for run in results.runs)
    shared = {
        "runs": runs,
        "time": time_chart(results),
        "time_notes": time_notes(results),
        "versions": key_values("Versions", versions(results.provenance)),
        "plugins": plugins(results.provenance),
        "silent": "" if pairs else silence(results),
    }
    if results.benchmark:
        return benchmark_page(results, results.benchmark, shared)
    return run_page(results.runs[0], runs[0], shared)


def run_page(run: TrainedRun, view: RunView, shared: Mapping[str, Any]) -> PageView:
    """The page of one run."""
    config = run.config
    lead = f"Pipeline {config['pipeline']}, tuned toward this reward with {config['objective']} ({config['tuning']})."
    wins = heldout_table(run)
    return PageView(
        title=run.name,
        lead=lead,
        facts=view.facts,
        wins=wins,
        wins_notes=(
            "Last comparison with the untuned model on prompts kept from training, with the same seeds; ties are half. "
            "The line reaches down to the one-sided 95% Clopper-Pearson bound. Rewards of sets compare random quarters "
            "of the prompts, and count four trials.",
        )
        if wins
        else (),
        configuration=view.configuration,
        **shared,
    )


def benchmark_page(results: Results, tables: BenchmarkTables, shared: Mapping[str, Any]) -> PageView:
    """The page of a benchmark."""
    preset, wins = tables.settings["preset"], tables.wins
    return PageView(
        title=f"Benchmark, preset {preset['name']}",
        lead=f"A model tuned once for each of {len(wins)} rewards, compared with the untuned model on "
        f"{preset['heldout_prompts']} held-out prompts.",
        facts=benchmark_facts(results, wins),
        wins=Chart("Win rates", charts.win_rates(wins), wins_table(wins)),
        wins_notes=win_notes(preset),
        cross=cross_map(tables.cross),
        distributions=tuple(distribution(tables.scores, row) for row in wins.to_dict("records")),
        diversity=diversity(tables.scores),
        configuration=key_values("Preset", {**preset, "seed": tables.settings["seed"]}),
        **shared,
    )


def benchmark_facts(results: Results, wins: pd.DataFrame) -> tuple[Fact, ...]:
    """What a reader looks for first."""
    above = int((wins["lower"] > EVEN).sum())
    return (
        Fact("mean win rate", share(wins["win_rate"].mean())),
        Fact("lowest win rate", share(wins["win_rate"].min())),
        Fact("bound above 50%", Cell(f"{above} of {len(wins)}", above)),
        Fact("time of training", duration(total_seconds(results.runs))),
    )


def win_notes(preset: Mapping[str, Any]) -> tuple[str, ...]:
    """How the figures came about."""
    return (
        "A dot is the share of held-out prompts, one clip each from the same seeds, on which the tuned model is better; "
        "ties are half. Rewards that judge whole sets compare matched subsets of "
        f"{preset['subset_size']} clips instead. The line reaches down to the one-sided 95% Clopper-Pearson bound.",
        "Where a run is judged by a reward of another name, that one stands in for it: its encoder was not installed.",
    )


def wins_table(wins: pd.DataFrame) -> Table:
    """The columns of win_rates.csv that are read."""
    shown = wins[[column for column in WIN_COLUMNS if column in wins]]
    return frame_table("Win rates against the untuned model", shown, RATES, NAMES)


def cross_map(cross: pd.DataFrame) -> Table:
    """Runs x rewards."""
    rows = ((Cell(str(run)), *(heat(float(rate)) for rate in rates)) for run, rates in zip(cross.index, cross.to_numpy(), strict=True))
    return Table("Win rate of each run (rows) under every reward (columns)", ("run", *map(str, cross.columns)), tuple(rows))


def distribution(scores: pd.DataFrame, row: Mapping[Any, Any]) -> Chart:
    """The values of a run's reward before and after."""
    judged = scores[(scores["reward"] == row["served"]) & (scores["prompt_id"] != WHOLE_SET)]
    sides = {
        "untuned": judged.loc[judged["run"] == BASELINE, "value"],
        "tuned": judged.loc[judged["run"] == row["run"], "value"],
    }
    title = f"{row['served']} ({row['direction']} is better)"
    spec = charts.histogram(*(side.tolist() for side in sides.values()), f"Distribution of {title} before and after")
    return Chart(title, spec, quantiles(title, sides))


def quantiles(title: str, sides: Mapping[str, pd.Series[float]]) -> Table:
    """What a histogram shows, in figures."""
    rows = [
        (Cell(name), figure(side.mean()), *(figure(side.quantile(at)) for at in QUANTILES.values()), figure(len(side)))
        for name, side in sides.items()
    ]
    return Table(title, ("model", "mean", *QUANTILES, "values"), tuple(rows))


def diversity(scores: pd.DataFrame) -> Chart | None:
    """The Vendi score of all held-out clips of each run, if the suite has one."""
    whole = scores[scores["reward"].str.startswith("vendi:") & (scores["prompt_id"] == WHOLE_SET)]
    if whole.empty:
        return None
    reward = whole["reward"].iloc[0]
    values = whole[whole["reward"] == reward].set_index("run")["value"]
    runs = values.drop(BASELINE)
    spec = charts.before_after(
        list(runs.index), [values[BASELINE]] * len(runs), runs.tolist(), f"{reward} of all held-out clips of each run"
    )
    rows = tuple((Cell(str(run)), figure(values[BASELINE]), figure(value)) for run, value in runs.items())
    return Chart(f"{reward} of all held-out clips", spec, Table(reward, ("run", "untuned", "tuned"), rows))


def run_view(run: TrainedRun, plan: Plan | None, pairs: Sequence[Pair]) -> RunView:
    """What is shown of one run."""
    judging = [judged.reward for judged in pairs[0].judgements] if pairs else []
    return RunView(
        run.name,
        run_facts(run),
        tuple(curves(run.metrics)),
        frame_table(f"Training of {run.name}", run.metrics, {}, {}),
        tuple(pair_chart(place, reward, pairs) for place, reward in enumerate(judging)),
        players(plan, pairs) if plan and pairs else None,
        key_values(f"Configuration of {run.name}", run.config),
    )


def run_facts(run: TrainedRun) -> tuple[Fact, ...]:
    """What a reader of one run looks for first."""
    first, last = run.metrics.iloc[0], run.metrics.iloc[-1]
    facts = [
        Fact("steps", figure(len(run.metrics))),
        Fact("reward, first step", figure(first["reward"])),
        Fact("reward, last step", figure(last["reward"])),
        Fact("time of training", duration(total_seconds([run]))),
    ]
    if MEAN_WON in last:
        facts.insert(0, Fact("mean held-out win rate", share(last[MEAN_WON])))
    return tuple(facts)


def curves(metrics: pd.DataFrame) -> list[Chart]:
    """A chart for each group of columns that is there, and one for each column of no group."""
    groups = {title: [column for column in columns if column in metrics] for title, columns in CURVES.items()}
    groups["Win rates on prompts kept from training"] = [c for c in metrics if c.startswith(WON) or c == MEAN_WON]
    taken = {column for columns in groups.values() for column in columns}
    others = [column for column in metrics if column != "step" and not column.endswith(SECONDS) and column not in taken]
    groups |= {titled(column): [column] for column in others}
    return [Chart(title, charts.curves(metrics, columns, title)) for title, columns in groups.items() if columns]


def titled(column: str) -> str:
    """A column's name for people.

    >>> titled("heldout vendi:clap"), titled("reward vendi:clap"), titled("loss_scale")
    ('vendi:clap on prompts kept from training', 'Reward: vendi:clap', 'loss scale')
    """
    kind, _, name = column.partition(" ")
    forms = {"heldout": f"{name} on prompts kept from training", "reward": f"Reward: {name}"}
    return forms.get(kind, column.replace("_", " "))


def pair_chart(place: int, reward: str, pairs: Sequence[Pair]) -> Chart:
    """The pairs under one reward, the most improved first."""
    ranked = sorted(pairs, key=lambda pair: -pair.judgements[place].improvement)
    judged = [pair.judgements[place] for pair in ranked]
    title = f"{reward} of each pair" + (", leave-one-out" if judged[0].of == LEFT_OUT else "")
    names = [f"{rank}. {pair.prompt}" for rank, pair in enumerate(ranked, 1)]
    values = pd.DataFrame({"pair": names, "untuned": [j.before for j in judged], "tuned": [j.after for j in judged]})
    return Chart(title, charts.before_after(names, [j.before for j in judged], [j.after for j in judged], title), frame_table(title, values, {}, {}))


def players(plan: Plan, pairs: Sequence[Pair]) -> Players:
    """The pairs as they are played, the most improved first."""
    rows = [
        PairRow(
            pair,
            tuple(signed(judged.improvement) for judged in pair.judgements),
            tuple(figure(judged.before) for judged in pair.judgements),
            tuple(figure(judged.after) for judged in pair.judgements),
        )
        for pair in sorted(pairs, key=lambda pair: -pair.judgements[0].improvement)
    ]
    return Players(tuple(reward.name for reward in plan.rewards), tuple(rows), tuple(notes(plan, pairs)))


def notes(plan: Plan, pairs: Sequence[Pair]) -> list[str]:
    """How the pairs came about, and what their figures mean."""
    clips = [clip for pair in pairs for clip in (pair.before, pair.after)]
    size = sum(clip.bytes for clip in clips) / len(clips) / 1000
    lines = [
        f"The first {len(pairs)} of the {plan.origin}; both models start from the same noise. MP3, {size:.0f} kB a clip."
    ]
    for reward in plan.rewards:
        if reward.kind.per_clip:
            lines.append(f"{reward.name}: each clip's own value; {reward.direction} is better, and improvement counts up.")
        else:
            lines.append(
                f"{reward.name} judges whole sets: the figure of a clip is the value of its set of {len(pairs)} less "
                "that of the set without the clip (leave-one-out), and improvement is what the tuned clip adds to its "
                "set beyond what the untuned one adds to its own."
            )
    return lines


def silence(results: Results) -> str:
    """Why there are no players."""
    if any(run.finished for run in results.runs):
        return "The page was made without players; `dragon report` makes them with --pairs 8."
    return f"This folder holds no weights, so nothing can be played: {remedy(results)}."


def heldout_table(run: TrainedRun) -> Chart | None:
    """The last comparison on prompts kept from training, with bounds."""
    won = [column for column in run.metrics if column.startswith(WON)]
    compared = run.metrics[won].dropna() if won else pd.DataFrame()
    if compared.empty:
        return None
    prompts, last = int(run.config["heldout_prompts"]), run.metrics.loc[compared.index[-1]]
    rows = [heldout_row(column.removeprefix(WON), last, prompts) for column in won]
    table = pd.DataFrame(rows)
    shown = frame_table("Win rates on prompts kept from training", table, RATES, {**NAMES, "run": "reward"})
    return Chart("Win rates", charts.win_rates(table), shown)


def heldout_row(reward: str, last: pd.Series[float], prompts: int) -> dict[str, Any]:
    """One reward; without a bound where its plugin is not installed, which knows how it was compared."""
    rate = float(last[f"{WON}{reward}"])
    row = {"run": reward, "tuned": float(last[f"heldout {reward}"]), "win_rate": rate}
    try:
        composed = compose(reward)
    except DragonError:
        return {**row, "lower": None, "trials": None}
    size = 1 if composed.kind.per_clip else max(prompts // PARTS, composed.reduction.minimum_clips)
    wins = win_rate(rate * (prompts // size), prompts // size)
    return {**row, "lower": wins.lower, "trials": wins.trials}


def seconds_by_phase(run: TrainedRun) -> pd.DataFrame:
    """Columns step, phase, rank, seconds; of phases that took time."""
    phases = [column for column in run.metrics if column.endswith(SECONDS) and run.metrics[column].sum() > 0]
    long = run.metrics[["step", *phases]].melt("step", var_name="phase", value_name="seconds")
    long["phase"] = long["phase"].str.removesuffix(SECONDS)
    return long.assign(rank=long["phase"].map({phase.removesuffix(SECONDS): at for at, phase in enumerate(phases)}))


def total_seconds(runs: Sequence[TrainedRun]) -> float:
    """Of all phases of all steps."""
    return float(sum(seconds_by_phase(run)["seconds"].sum() for run in runs))


def time_chart(results: Results) -> Chart:
    """Where the time of training went: by run, or of a single run by step."""
    frames = [seconds_by_phase(run).assign(run=run.name) for run in results.runs]
    by_phase = pd.concat(frames).groupby(["run", "phase", "rank"], sort=False)["seconds"].sum().reset_index()
    if results.benchmark:
        spec = charts.bars_by_run(by_phase.assign(minutes=by_phase["seconds"] / 60))
    else:
        spec = charts.bars_by_step(frames[0])
    return Chart("Time", spec, time_table(by_phase))


def time_table(by_phase: pd.DataFrame) -> Table:
    """A row per run: seconds of each phase, and of all."""
    wide = by_phase.pivot_table(index="run", columns="phase", values="seconds", sort=False)
    phases = list(dict.fromkeys(by_phase.sort_values("rank", kind="stable")["phase"]))
    rows = [
        (Cell(str(run)), *(cell(row[phase], duration) if pd.notna(row[phase]) else Cell("") for phase in phases), duration(row.sum()))
        for run, row in wide.iterrows()
    ]
    return Table("Time of each run, by phase", ("run", *phases, "total"), tuple(rows))


def time_notes(results: Results) -> str:
    """What it cost."""
    total, made_with = total_seconds(results.runs), results.runs[0].provenance
    threads = made_with.get("threads")
    cost = f"{duration(total).text} of training steps, added up over {len(results.runs)} run{'s' * (len(results.runs) > 1)}"
    if threads:
        cost += f", {total * threads / 3600:.2g} thread-hours with {threads} thread{'s' * (threads > 1)} a run"
    return f"{cost}. Runs may have gone on side by side; loading, and the scoring after training, are not counted."


def versions(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Interpreter, platform, packages, processors."""
    found = {key: provenance[key] for key in ("python", "platform", "cpus", "threads") if key in provenance}
    return {**provenance.get("packages", {}), **found}


def plugins(provenance: Mapping[str, Any]) -> Table:
    """A row per plugin; those that failed say so."""
    loaded = [
        (Cell(plugin["name"]), Cell(plugin["package"]), Cell(plugin["version"])) for plugin in provenance.get("plugins", ())
    ]
    failed = [(Cell(failure), Cell("failed"), Cell("")) for failure in provenance.get("failed_plugins", ())]
    return Table("Plugins", ("plugin", "package", "version"), (*loaded, *failed))
