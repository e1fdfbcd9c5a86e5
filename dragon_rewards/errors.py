"""Every refusal this project raises on purpose: what was wrong, with which value, and the remedy."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class DragonError(Exception):
    """Base of all refusals; the command line prints its message and exits with 2."""


class UnknownNameError(DragonError):
    """A name that nothing has registered."""

    def __init__(self, what: str, name: str, known: Iterable[str], failures: Iterable[str] = ()) -> None:
        names = sorted(known)
        nearest = get_close_matches(name, names, n=3, cutoff=0.4) or names
        lines = [f"unknown {what} '{name}'; did you mean {' or '.join(nearest[:8])}?"]
        lines += [f"a plugin that failed to load may have held it: {failure}" for failure in failures]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[DragonError], tuple[str]]:
        """Cross process borders as its message."""
        return DragonError, (str(self),)


class ComposeError(DragonError):
    """A reward name whose parts do not fit together."""


class AudioError(DragonError):
    """A clip that no reward can judge: silent, not finite, empty, not audio."""


class ImageError(DragonError):
    """An image that no reward can judge: of another shape, out of range, not finite."""


class TooFewClipsError(DragonError):
    """Fewer clips than a distribution reward needs."""


class ConfigError(DragonError):
    """A configuration with an unknown key, an ill-typed value, or a value out of range."""


class TableError(ConfigError):
    """A file that is no table or list, or a row of one that cannot be taken for what it is meant to hold."""


class MissingColumnError(TableError):
    """A table without a column that is wanted."""


class EncoderError(DragonError):
    """An encoder that failed, or returned something other than its descriptor promises."""


class MissingPromptsError(DragonError):
    """A reward that compares clips with their prompts, and clips without prompts."""


class WeightsError(DragonError):
    """Weights that are not on this machine and could not be downloaded."""


class DeviceError(DragonError):
    """A device that is not there, that cannot do what is asked, or whose memory is too small."""
