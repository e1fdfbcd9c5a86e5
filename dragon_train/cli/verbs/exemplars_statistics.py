"""The verb `dragon exemplars statistics`: let an installed set of audio serve a further encoder."""

from __future__ import annotations

from typing import Annotated

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.store import check_sets_folder
from dragon_rewards.media.cut import WINDOW
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_train.cli.completion import encoders, exemplar_sets
from dragon_train.cli.device import chosen_device
from dragon_train.cli.options import Device, Json, Wide
from dragon_train.cli.printing import print_rows
from dragon_train.cli.verbs.exemplars_add import check_encoders, examined


def statistics(
    name: Annotated[str, typer.Argument(help="Name of an installed set of audio.", autocompletion=exemplar_sets)],
    places: Annotated[list[str], typer.Argument(help="The audio that the set was made of: files and folders.")],
    encoder: Annotated[
        list[str], typer.Option("--encoder", help="In whose space; repeatable.", autocompletion=encoders)
    ],
    device: Device = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Make statistics of an installed set in the space of a further encoder, of the set's audio, and keep them."""
    registry = load_registry()
    info = registry.exemplar_set(name)
    for each in encoder:
        if Modality.AUDIO not in registry.encoder(each).modalities:
            raise DragonError(f"encoder '{each}' embeds no audio; give another")
    check_sets_folder()
    where = chosen_device(device)
    check_encoders(encoder, where)
    from dragon_rewards.exemplars.installed import check_audio, check_installed, make_statistics, witness

    check_installed(info)
    judge = witness(info, registry.encoders)
    examples, _, _ = examined(None, places, WINDOW, None, skip_bad=False)
    check_audio(info, examples, judge, registry.build_encoder(judge.name, where), where)
    rows = []
    for each in encoder:
        built, owner = registry.build_encoder(each, where), registry.owners["register_encoders", each]
        path = make_statistics(info, examples, registry.encoder(each), built, owner, where)
        rows.append({"name": name, "encoder": each, "identity": built.identity, "file": str(path)})
    print_rows(rows, as_json=as_json, wide=wide)
