"""The verb `dragon exemplars facets`: split a set into clusters that captions name."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars import captions, items
from dragon_rewards.exemplars.facets import installed_fault
from dragon_rewards.exemplars.sets import is_installed
from dragon_rewards.exemplars.store import check_sets_folder, find_set, require_set
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders
from dragon_train.cli.device import chosen_device
from dragon_train.cli.options import Device, Json, SetName, Wide, seed_option
from dragon_train.cli.printing import print_rows

if TYPE_CHECKING:
    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.protocols import EncoderInfo, ExemplarSetInfo


def facets(
    name: SetName,
    encoder: Annotated[str, typer.Option(help="In whose space.", autocompletion=encoders)],
    count: Annotated[int, typer.Option(min=2, help="Of facets.")] = 8,
    captions_file: Annotated[
        Path | None,
        typer.Option(
            "--captions", help="Captions to name them by (TXT, CSV, JSONL); default: the set's, or installed."
        ),
    ] = None,
    seed: Annotated[int, seed_option("Of k-means.")] = 0,
    device: Device = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Split a set into clusters, name each by its nearest captions, and keep them for the reward facet-coverage."""
    check_sets_folder()
    where = chosen_device(device)
    from dragon_rewards.exemplars.clusters import make_facets

    info, registry = _facetable(name), load_registry()
    require_weights(f"encoder '{encoder}'", registry.encoder(encoder).weights)
    names = _names(info, registry.encoder(encoder), captions_file)
    owner = registry.owners["register_encoders", encoder]
    built = registry.build_encoder(encoder, where)
    made = make_facets(info, registry.encoder(encoder), built, owner, count, seed, names, where)
    heard = registry.encoder(encoder).trained_on
    if heard and info.modality is Modality.AUDIO and any(facet.captions for facet in made.facets):
        print(f"the captions are guesses: encoder '{encoder}' was trained on {heard} alone", file=sys.stderr)
    labels = {item.sha256: _label(item) for item in items(info)}
    listed = list if as_json else "; ".join  # captions have commas
    print_rows(
        [
            {
                "facet": at,
                "share": facet.share,
                "spread": facet.spread,
                "captions": listed(facet.captions),
                "examples": listed([labels[example] for example in facet.examples]),
            }
            for at, facet in enumerate(made.facets, 1)
        ],
        as_json=as_json,
        wide=wide,
        main=("facet", "share", "captions", "examples"),
    )


def _facetable(name: str) -> ExemplarSetInfo:
    """Return a set of the user's; refuse an installed one, with the remedy."""
    installed = load_registry().exemplar_sets.get(name)
    if installed and not find_set(name):
        raise DragonError(str(installed_fault(installed)))
    return require_set(name)


def _names(info: ExemplarSetInfo, encoder: EncoderInfo, file: Path | None) -> list[str]:
    """Return captions to name facets by: those given, else the set's own, else those in all installed text sets."""
    reads = Modality.TEXT in encoder.modalities
    if file is None:
        installed = [each for each in load_registry().exemplar_sets.values() if is_installed(each)]
        texts = [each for each in installed if each.modality is Modality.TEXT]
        return (captions(info) or [line for each in texts for line in captions(each)]) if reads else []
    if not reads:
        raise DragonError(f"encoder '{encoder.name}' embeds no text, so captions name nothing: leave --captions out")
    from dragon_rewards.exemplars.changes import listed
    from dragon_rewards.exemplars.sources import gather

    found = gather([str(file)])
    if found.faults or not found.captions:
        raise DragonError(f"'{file}' is no file of captions; mend it:\n{listed(found.faults)}")
    return list(found.captions)


def _label(item: Item) -> str:
    """Return where an example is, or what it is if its audio is elsewhere."""
    from dragon_rewards.exemplars.sources import Source

    return str(Source.of(item)) if item.path else item.caption or item.sha256
