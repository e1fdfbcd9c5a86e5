"""The errors that this project raises on purpose: each says what was wrong, with which value, and what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class DragonError(Exception):
    """The base class of all errors raised on purpose; the command line prints the message and exits with status 2."""


class UnknownNameError(DragonError):
    """Raised for a name under which nothing is registered; the message lists the known names that are most like it.

    Args:
        what: the kind of thing that was looked for, such as "encoder".
        name: the unknown name.
        known: all names that are registered.
        failures: descriptions of the plugins that failed to load, as one of them may have held the name.
    """

    def __init__(self, what: str, name: str, known: Iterable[str], failures: Iterable[str] = ()) -> None:
        names = sorted(known)
        nearest = get_close_matches(name, names, n=3, cutoff=0.4) or names
        lines = [f"unknown {what} '{name}'; did you mean {' or '.join(nearest[:8])}?"]
        lines += [f"a plugin that failed to load may have held it: {failure}" for failure in failures]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[DragonError], tuple[str]]:
        """Pickle the error as a plain `DragonError` with the same message, so that it can pass between processes."""
        return DragonError, (str(self),)


class ComposeError(DragonError):
    """Raised for a malformed name of a part or a reward, and for a reward whose parts do not fit together."""


class AudioError(DragonError):
    """Raised for a clip that no reward can judge: it is missing, empty, silent, not finite, or not audio."""


class ImageError(DragonError):
    """Raised for an image that no reward can judge: of a wrong shape, or with values out of range or not finite."""


class TooFewClipsError(DragonError):
    """Raised when a reward is asked to judge fewer clips than it needs."""


class ConfigError(DragonError):
    """Raised for a setting that cannot be used: an unknown key, a value of the wrong type, or a value out of range."""


class TableError(ConfigError):
    """Raised for a file that is no table or list, and for a row whose content is not what it should be."""


class MissingColumnError(TableError):
    """Raised for a table that lacks a column which is needed."""


class EncoderError(DragonError):
    """Raised when an encoder fails, or returns something other than its descriptor promises."""


class MissingPromptsError(DragonError):
    """Raised when a reward that compares clips with their prompts is given clips without prompts."""


class WeightsError(DragonError):
    """Raised for weights of a model that are not on this machine and could not be downloaded."""


class DeviceError(DragonError):
    """Raised for a device that does not exist here, cannot do what is asked, or has too little memory."""
