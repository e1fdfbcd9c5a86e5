"""The figures and the check of a user's exemplar set, which the sub-commands of `dragon exemplars` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ComposeError
from dragon_rewards.exemplars import encoders_of
from dragon_rewards.exemplars.facets import facets_of
from dragon_rewards.exemplars.sets import contents
from dragon_rewards.names import check_name
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry

if TYPE_CHECKING:
    from dragon_rewards.protocols import ExemplarSetInfo

PLUGIN = "dragon_rewards.exemplars.plugin"
HOUR = 3600


def check_free(name: str) -> None:
    """Refuse a name under which a new set would not be found, as a plugin has a set of that name.

    Raises:
        ComposeError: a plugin has it, or it is no name that a part may have.
    """
    registry = load_registry()
    if check_name(name) in registry.exemplar_sets:
        owner = registry.owners["register_exemplar_sets", name]
        if owner.name != PLUGIN:
            raise ComposeError(f"exemplar set '{name}' is taken by {owner}; give yours another name")


def facts(info: ExemplarSetInfo) -> dict[str, Any]:
    """Return what a set holds, by name: counts of examples and windows, hours of audio, encoders and facets."""
    held = contents(info)
    audio = held if held and held.windows and info.modality is Modality.AUDIO else None
    return {
        "examples": info.count,
        "hours": audio.seconds / HOUR if audio else None,
        "windows": audio.windows if audio else None,
        "silent_windows": audio.silent if audio else None,
        "without_audio": audio.without_file if audio else None,
        "encoders": encoders_of(info),
        "facets": facets_of(info),
    }
