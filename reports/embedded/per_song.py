"""What per-song FAD says of real clips and of the untuned model's: by length, by frames, and in forms with a target.

    python per_song.py WORK_DIR SOUNDFONT.sf2

WORK_DIR is the folder that corpus.py filled. There are 192 prompts in the phrasings of `watch`, of pieces kept to
watch. To each belong two real clips of different pieces: its own, with which forms of the reward compare, and another
that has as much of what the prompt names as can be had, which is judged as the model's clip is. Rewards against `airs`
have both from pieces of Aird's collection that are not in the exemplar set. Writes per_song.csv and per_song.md beside
itself, in minutes on one core.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import corpus
import numpy as np
import pandas as pd
import torch
from build_prompts import drawn, likened, prompts_of
from captions import TEMPOS
from corpus import FEWEST
from training import load_rows

from dragon_rewards import Clips, compose
from dragon_rewards.evaluation import Interval, cluster_interval
from dragon_rewards.evaluation.bootstrap import percentile_interval, resamples
from dragon_rewards.metrics import per_song_fad
from dragon_rewards.storage.files import write_csv, write_text
from dragon_train.bench.ceilings import MISSING, Span, headroom
from dragon_train.bench.tables import markdown
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.rollout import Stream, generate, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from dragon_rewards import Reward

    Plan = dict[str, Any]
    Values = NDArray[np.float64]

PROMPTS, STEPS, SEED = 192, 6, 18  # prompts and diffusion steps as in the preset `quick`
RATE, TRAINED, LONGEST = 16_000, 5.12, 20.48  # seconds: of the clips that the model was trained on, and of real ones
SECONDS = (1.28, 2.56, TRAINED, 2 * TRAINED, LONGEST)
PEAK, BAND = 0.7, (0.1, 0.9)  # the peak of a clip of corpus.py; quantiles of real clips between which none is better
TUNEBOOK, AIRS = "tunebook", "airs"
REWARDS = (*(f"per-song-fad:{e}@{TUNEBOOK}" for e in ("clap", "vae", "logmel", "chroma")), f"per-song-fad:clap@{AIRS}")
UNTUNED, LONGER = "untuned", f"untuned, made of {2 * TRAINED:g} s"  # the latter is more than it was trained for
ALL, KNOWN, STRANGE = "all", f"of forms that {AIRS} has", "of other forms"  # prompts
PLAIN, ENDS = "per-song FAD", ("", "_low", "_high")
FIGURES = ["real", "model", "auc", "headroom"]
OUT = Path(__file__).with_suffix("")
HEAD = f"""# Per-song FAD of real clips and of the untuned model's

Written by `python per_song.py WORK FluidR3_GM.sf2` ([what it says](README.md)), of {PROMPTS} prompts with {STEPS}
diffusion steps. Of every figure less is better but of `auc`: the share of pairs of a real clip and one of the model's
in which the form prefers the real one. 95% intervals resample prompts. There is headroom where the model's interval
lies wholly above the interval of real clips. The model was trained on clips of {TRAINED:g} s. Clips of
{2 * TRAINED:g} s go beyond that, and are shown with their own beginnings."""
TITLES = (
    f"## Forms, of clips of {TRAINED:g} s",
    f"## Forms against `{AIRS}`, by prompts\n\nThe exemplar set has dances of five forms, and no chorales.",
    "## What each form tells, by length\n\nThe figure is `auc`, with a star where there is headroom.",
    "## Per-song FAD by length\n\n`means` is the part that is the squared distance of the mean frame from the set's.",
    "## Per-song FAD by frames\n\nMeans of so many frames, evenly spread over a clip of so many seconds.",
)


@dataclass(frozen=True)
class Music:
    """The two real clips of each prompt, as long as can be, their pieces, the instruments, and kinds of prompts."""

    own: Tensor
    other: Tensor
    own_pieces: Sequence[str]
    other_pieces: Sequence[str]
    instruments: Sequence[str]
    kinds: Mapping[str, NDArray[np.bool_]]

    def comparable(self) -> NDArray[np.bool_]:
        """For the clips of each prompt (rows), which of the own real clips (columns) are of another piece."""
        return np.array([[own != other for own in self.own_pieces] for other in self.other_pieces])

    def alike(self) -> NDArray[np.bool_]:
        """Those of them that have the instrument, too."""
        return self.comparable() & [[own == asked for own in self.instruments] for asked in self.instruments]


@dataclass(frozen=True)
class Fit:
    """What forms compare with: the distances of the own real clips, and which of them are fitted for each prompt."""

    own: Values
    comparable: NDArray[np.bool_]
    alike: NDArray[np.bool_]

    def quantiles(self, among: NDArray[np.bool_], *levels: float) -> Values:
        """Quantiles of some of the own clips for each prompt, (levels, prompts)."""
        return np.asarray(np.nanquantile(np.where(among, self.own, np.nan), levels, axis=1))


def outside(values: Values, fit: Fit) -> Values:
    """How far distances lie outside the band of real clips, 0 inside of it."""
    low, high = fit.quantiles(fit.comparable, *BAND)
    return np.asarray((low - values).clip(0) + (values - high).clip(0))


def log_ratio(values: Values, fit: Fit, among: NDArray[np.bool_]) -> Values:
    """How far the logarithm of distances is from that of the median of some real clips."""
    (median,) = fit.quantiles(among, 0.5)
    return np.asarray(np.abs(np.log(values / median)))


# Of each, smaller is better.
FORMS: Mapping[str, Callable[[Values, Fit], Values]] = {
    PLAIN: lambda values, _: values,
    "difference from the own real clip": lambda values, fit: np.abs(values - fit.own),
    "outside the band of real clips": outside,
    "log ratio to the median of real clips": lambda values, fit: log_ratio(values, fit, fit.comparable),
    "the same, of real clips of the instrument": lambda values, fit: log_ratio(values, fit, fit.alike),
}


def played_on(piece: Plan) -> Plan:
    """A piece that starts again where it ends, as dances are played, so that the longest clip can start anywhere."""
    last = max(onset + duration for onset, duration, _ in piece["notes"])
    quarters = LONGEST / 60 * max(fastest for _, fastest in TEMPOS.values())
    turns = 1 + ceil(quarters / last)
    notes = [[onset + turn * last, *rest] for turn in range(turns) for onset, *rest in piece["notes"]]
    return {**piece, "notes": notes}


def others_of(prompts: Sequence[Plan], plans: Sequence[Plan]) -> Iterator[Plan]:
    """For each prompt a clip that has as much of what it names as can be had, of another piece; none is given twice."""
    waiting = list(plans)
    for prompt in prompts:
        found = next(likened([prompt], [plan for plan in waiting if plan["piece"] != prompt["piece"]]))
        waiting = [plan for plan in waiting if plan["notes"] is not found["notes"]]
        yield found


def rendered(own: Sequence[Plan], other: Sequence[Plan], kinds: Mapping[str, Any], soundfont: str) -> Music:
    """Play the two clips of each prompt."""
    first, second = (torch.from_numpy(np.stack([corpus.render(p, soundfont) for p in plans])) for plans in (own, other))
    pieces, others = ([plan["piece"] for plan in plans] for plans in (own, other))
    return Music(first, second, pieces, others, [plan["attributes"]["instrument"] for plan in own], kinds)


def kinds_of(prompts: Sequence[Plan], work: Path) -> dict[str, NDArray[np.bool_]]:
    """All prompts; and those of pieces of a form that the exemplar set of airs has, and the rest."""
    counts = Counter(row["attributes"]["form"] for row in load_rows(work, AIRS))
    known = np.array([counts[prompt["attributes"]["form"]] >= FEWEST for prompt in prompts])
    return {ALL: known | ~known, KNOWN: known, STRANGE: ~known}


def real_music(work: Path, soundfont: str) -> tuple[list[str], dict[str, Music]]:
    """The prompts, and their real clips of either collection, all of the greatest length."""
    rng, pieces = random.Random(SEED), corpus.sources(corpus.parse_all(work))
    known = {row["piece"] for row in load_rows(work, AIRS)}
    tunes, airs = pieces["watch"], [piece for piece in pieces[AIRS] if piece["id"] not in known]
    with patch.object(corpus, "SAMPLES", round(LONGEST * RATE)):  # the length of what corpus.py plans and plays
        watched, *halves = (drawn([played_on(p) for p in part], rng) for part in (tunes, airs[::2], airs[1::2]))
        prompts = prompts_of(watched, "watch", PROMPTS, rng, set())
        own, other = (list(likened(prompts, half)) for half in halves)
        kinds = kinds_of(prompts, work)
        tunebook = rendered(prompts, list(others_of(prompts, watched)), {ALL: kinds[ALL]}, soundfont)
        found = {TUNEBOOK: tunebook, AIRS: rendered(own, other, kinds, soundfont)}
    return [prompt["caption"] for prompt in prompts], found


def sampled(texts: Sequence[str]) -> dict[str, Tensor]:
    """The untuned model's clips, of the length that it was trained for, and twice as long.

    The pipeline takes the length from the transformer's configuration. What it tells the transformer of the length
    stays the 5.12 s that all clips of the training had.
    """
    policy, made = load_policy(), {}
    numbers, hop = seeds(Stream.HELDOUT, SEED, count=len(texts)), policy.pipeline.vae.hop_length
    for name, seconds in ((UNTUNED, TRAINED), (LONGER, 2 * TRAINED)):
        policy.pipeline.transformer.register_to_config(sample_size=round(seconds * RATE / hop))
        clips = generate(policy, texts, numbers, STEPS, policy.guidance).clips.media
        made[name] = torch.cat([clip.view(1, -1) for clip in clips])
    return made


def beginning(audio: Tensor, seconds: float) -> Tensor:
    """The first seconds of clips (clips, samples)."""
    return audio[:, : round(seconds * RATE)]


def cut(audio: Tensor, seconds: float) -> Tensor:
    """The first seconds of real clips with the peak of a clip of corpus.py; below 5.12 s, excerpts of one of 5.12 s."""
    clip = beginning(audio, max(seconds, TRAINED))
    return beginning(PEAK * clip / clip.abs().amax(1, keepdim=True), seconds)


def frames_of(reward: Reward, audio: Tensor) -> list[Tensor]:
    """The frames (frames, dim) of each clip."""
    return list(reward.embeddings(Clips(audio, RATE)).frames)


def spread(frames: Tensor, count: int) -> Tensor:
    """As many frames of a clip, evenly over its length."""
    return frames[torch.linspace(0, len(frames) - 1, count).round().long()]


def distances(reward: Reward, clips: Sequence[Tensor]) -> tuple[Values, Values]:
    """The per-song FAD of each clip's frames, and the part of it that is the squared distance of the means."""
    reference: Any = reward.reference(torch.device("cpu"))
    means = torch.stack([frames.double().mean(0) for frames in clips])
    return per_song_fad(clips, reference).numpy(), (means - reference.mean).square().sum(1).numpy()


def auc(real: Values, untuned: Values) -> Interval:
    """The share of pairs in which the real clip has the smaller value, ties counting half; prompts are resampled."""
    wins = (real[:, None] < untuned) + 0.5 * (real[:, None] == untuned)
    found = [((weights @ wins) * weights).sum(1) / len(real) ** 2 for weights in resamples(len(real), SEED)]
    return percentile_interval(float(wins.mean()), np.concatenate(found))


def span(values: Values) -> Span:
    """The mean with its 95% interval, of prompts resampled."""
    found = cluster_interval(values, np.arange(len(values)), SEED)
    return Span(found.mean, found.low, found.high)


def figures(real: Values, made: Values | None) -> dict[str, Any]:
    """The figures of one form of a reward; those of a model are missing where it has no such clips."""
    spans = {"real": span(real), "model": MISSING, "auc": MISSING}
    if made is not None:
        found = auc(real, made)
        spans |= {"model": span(made), "auc": Span(found.mean, found.low, found.high)}
    ends = {f"{name}{end}": value for name, s in spans.items() for end, value in zip(ENDS, s, strict=True)}
    return {**ends, "headroom": headroom(-1, spans["model"], spans["real"])}


def clips_of(seconds: float, music: Music, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The clips of a length, of all that have as much."""
    real = {"own": cut(music.own, seconds), "real": cut(music.other, seconds)}
    spans = {UNTUNED: seconds <= TRAINED, LONGER: TRAINED <= seconds <= 2 * TRAINED}
    return real | {name: beginning(made[name], seconds) for name, known in spans.items() if known}


def rows_of(reward: Reward, music: Music, made: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Rows for each length: every form, of all frames of a clip, and the plain one of as many as shorter clips have."""
    counts: list[int] = []
    for seconds in SECONDS:
        frames = {name: frames_of(reward, audio) for name, audio in clips_of(seconds, music, made).items()}
        counts.append(len(frames["own"][0]))
        for count in counts:
            chosen = {name: [spread(clip, count) for clip in clips] for name, clips in frames.items()}
            known = {"reward": reward.name, "seconds": seconds, "frames": count, "of": counts[-1]}
            forms = list(FORMS) if count == counts[-1] else [PLAIN]
            yield from ({**known, **row} for row in judged(reward, chosen, music, forms))


def judged(
    reward: Reward, frames: Mapping[str, Sequence[Tensor]], music: Music, forms: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row for each model, form and kind of prompts.

    `frames` are of the own real clips, of the real clips that are judged, and of the models'.
    """
    found = {name: distances(reward, clips) for name, clips in frames.items()}
    (own, _), (real, real_means) = found.pop("own"), found.pop("real")
    fit = Fit(own, music.comparable(), music.alike())
    for form, (kind, asked) in product(forms, music.kinds.items()):
        for model in found or ("",):
            values, means = found.get(model, (None, None))
            ours, theirs = FORMS[form](real, fit)[asked], None if values is None else FORMS[form](values, fit)[asked]
            row = {"clips": model, "form": form, "prompts": kind, **figures(ours, theirs)}
            apart = {
                "real_means": real_means[asked].mean(),
                "model_means": None if means is None else means[asked].mean(),
            }
            yield row | (apart if form == PLAIN else {})


def with_ends(table: pd.DataFrame, name: str) -> list[str]:
    """Figures with their intervals as text, empty where they are missing."""
    ends = zip(*(table[f"{name}{end}"] for end in ENDS), strict=True)
    return ["" if np.isnan(mean) else f"{mean:.3g} ({low:.3g} to {high:.3g})" for mean, low, high in ends]


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Some rows with intervals as text."""
    shown = table.assign(**{name: with_ends(table, name) for name in ("real", "model", "auc")})
    shown["headroom"] = shown["headroom"].map({True: "yes", False: "no"})
    return shown.drop(columns=[name for name in shown if str(name).endswith(("_low", "_high"))])


def by_length(table: pd.DataFrame) -> pd.DataFrame:
    """What each form tells at each length of the untuned model's clips, with a star where it has headroom."""
    told = table[table["clips"] != ""]
    whose = told["clips"].map({UNTUNED: "", LONGER: f" of {2 * TRAINED:g} s"})
    told = told.assign(
        auc=told["auc"].map("{:.2f}".format) + told["headroom"].map({True: "*", False: ""}),
        column=told["seconds"].map("{:g} s".format) + whose,
    )
    return told.pivot_table("auc", ["reward", "form"], "column", aggfunc="first", sort=False).reset_index()


def by_frames(table: pd.DataFrame) -> pd.DataFrame:
    """The plain reward of so many frames (rows), spread over so many seconds (columns)."""
    real = table[["reward", "frames", "seconds", "real"]].rename(columns={"real": "value"}).assign(clips="real")
    made = table[table["clips"] == UNTUNED].rename(columns={"model": "value"})
    both = pd.concat([real, made]).astype({"reward": pd.CategoricalDtype(list(REWARDS))})  # which keeps their order
    wide = both.pivot_table("value", ["reward", "clips", "frames"], "seconds", observed=True)
    return wide.rename(columns="of {:g} s".format).reset_index()


def page(table: pd.DataFrame) -> str:
    """The five tables for people; the file of the figures has more."""
    trained = (table["clips"] == UNTUNED) & (table["seconds"] == TRAINED) & (table["frames"] == table["of"])
    forms = readable(table[trained])
    shown = table[table["prompts"] == ALL]
    whole, plain = shown["frames"] == shown["of"], shown["form"] == PLAIN
    parts = (
        forms[forms["prompts"] == ALL][["reward", "form", *FIGURES]],
        forms[forms["prompts"] != ALL][["reward", "form", "prompts", *FIGURES]],
        by_length(shown[whole]),
        readable(shown[whole & plain])[
            ["reward", "clips", "seconds", "frames", *FIGURES[:3], "real_means", "model_means"]
        ],
        by_frames(shown[plain]),
    )
    text = [f"{title}\n\n{markdown(part, '.4g')}" for title, part in zip(TITLES, parts, strict=True)]
    return "\n\n".join([HEAD, *text]) + "\n"


@torch.no_grad()
def main(work: Path, soundfont: str) -> None:
    """Render, sample, measure, write."""
    texts, music = real_music(work, soundfont)
    made = sampled(texts)
    rows: list[dict[str, Any]] = []
    for name in REWARDS:
        rows += rows_of(compose(name), music[name.split("@")[1]], made)
        print(name, flush=True)
    table = pd.DataFrame(rows)
    write_csv(OUT.with_suffix(".csv"), table)
    write_text(OUT.with_suffix(".md"), page(table))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
