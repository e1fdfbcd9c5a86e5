"""Measure what rewards say of real held-out music, and keep the latents of a few clips, for the embedded pipeline.

    python measure_real.py WORK_DIR

WORK_DIR holds real-tunebook.npy and real-airs.npy, 256 clips in the order of the held-out prompts, each with a .jsonl
beside it. Rewards against `airs` judge the latter, all others the former; every reward of the suites whose exemplar
set, if it has one, is music, and the judges. It writes real_music.csv and the real_latents of both into
`dragon_train/embedded`, which hold for the weights that are there now, and real_adherence.json beside itself: of what
captions name, what the probe of adherence hears in the clips and in what the codec leaves of them.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from training import load_clips, load_rows, to_float

from dragon_rewards import Clips, compose
from dragon_rewards.errors import DragonError
from dragon_rewards.storage.files import write_csv
from dragon_rewards.suites import builtin_suites
from dragon_train.bench.real_clips import AS_IS, CODEC, COLUMNS, judges_music, latents_of, measured_rows, through_codec
from dragon_train.embedded.adherence import Probe, adherence
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.real_music import OF_SETS, VALUES, RealLatents, autoencoder_identity
from dragon_train.judges import judges

if TYPE_CHECKING:
    from dragon_rewards import Reward
    from dragon_train.pipelines.stable_audio import StableAudioPolicy

COUNTS, KEPT = (128, 192, 256), 48  # clips that the presets compare on; clips whose latents are kept
AIRS, TUNEBOOK = "airs", "tunebook"


def rewards() -> list[Reward]:
    """Every reward of the suites that is installed and says something of music, and the judges, each once."""
    found = {}
    for suite in builtin_suites().values():
        for slot in suite.slots:
            for name in filter(None, (slot.reward, slot.stand_in)):
                with suppress(DragonError):  # an encoder that is not installed, or has no weights here
                    found[name] = compose(name)
                    found[name].require_weights()
    installed = [*found.values(), *judges()]
    return [reward for reward in installed if judges_music(reward)]


def music_of(reward: Reward) -> str:
    """The real music that a reward is asked about."""
    return AIRS if reward.exemplar_set is not None and reward.exemplar_set.name == AIRS else TUNEBOOK


def clips_of(work: Path, music: str) -> Clips:
    """The clips of a collection with their captions, in the order of the held-out prompts."""
    split = f"real-{music}"
    captions = [row["caption"] for row in load_rows(work, split)]
    return Clips(to_float(load_clips(work, split)), 16_000, captions)


def heard(policy: StableAudioPolicy, real: Clips) -> None:
    """Store what the probe hears of real clips, and of the same through the codec."""
    models, probe = {AS_IS: real, CODEC: through_codec(policy, real)}, Probe.load()
    shares = {model: adherence(clips, probe) for model, clips in models.items()}
    rounded = {model: {name: round(share, 3) for name, share in found.items()} for model, found in shares.items()}
    Path(__file__).with_name("real_adherence.json").write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


def main(work: Path) -> None:
    """Measure, print, store."""
    torch.set_grad_enabled(mode=False)
    policy, asked = load_policy(), rewards()
    heard(policy, clips_of(work, TUNEBOOK))
    rows: list[dict[str, Any]] = []
    for music in (TUNEBOOK, AIRS):
        real, own = clips_of(work, music), [reward for reward in asked if music_of(reward) == music]
        for model, clips in ((AS_IS, real), (CODEC, through_codec(policy, real))):
            for reward in own:
                reward.embeddings(clips)  # once for all counts
            for count in COUNTS:
                rows += measured_rows(own, clips.select(range(count)), music, model)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["reward", "clips", "model"], ignore_index=True)
    write_csv(VALUES, table)
    for music, path in OF_SETS.items():
        first = clips_of(work, music).select(range(KEPT))
        RealLatents(latents_of(policy, first), tuple(first.prompts or ()), autoencoder_identity()).save(path)
    print(table[table["clips"] == COUNTS[-1]].drop(columns="origin").to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
