"""Names of rewards, which identify them completely: `<reduction>:<encoder>[@<exemplar set>]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dragon_rewards.errors import ComposeError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
REWARD_NAME = re.compile(r"([^:@]*):([^:@]*)(?:@([^:@]*))?")


def check_name(name: str) -> str:
    """Return `name` unchanged if a plugin may register a part under it.

    Raises:
        ComposeError: it is not made of lower-case letters, digits, '.', '_' and '-', or does not start with a letter or
            digit.
    """
    if not NAME.fullmatch(name):
        raise ComposeError(
            f"'{name}' is no name: use lower-case letters, digits, '.', '_' and '-', "
            "and start with a letter or digit, as in 'per-song-fad'"
        )
    return name


@dataclass(frozen=True, order=True)
class RewardName:
    """The parts of a reward's name; `RewardName.parse` reads the text of a name, and `str` writes it again.

    Attributes:
        reduction: the name of the reduction.
        encoder: the name of the encoder.
        exemplar_set: the name of the exemplar set; None for a reward that compares with none.

    Example:
        >>> RewardName.parse("per-song-fad:clap@airs")
        RewardName(reduction='per-song-fad', encoder='clap', exemplar_set='airs')
        >>> str(RewardName("vendi", "clap"))
        'vendi:clap'
    """

    reduction: str
    encoder: str
    exemplar_set: str | None = None

    def __post_init__(self) -> None:
        for part in (self.reduction, self.encoder, self.exemplar_set):
            if part is not None:
                check_name(part)

    @classmethod
    def parse(cls, text: str) -> RewardName:
        """Split the text of a reward's name into its parts.

        Raises:
            ComposeError: `text` is not of the form `<reduction>:<encoder>[@<exemplar set>]`.
        """
        match = REWARD_NAME.fullmatch(text)
        if match is None:
            raise ComposeError(
                f"'{text}' is no reward: write <reduction>:<encoder>[@<exemplar set>], "
                "as in 'per-song-fad:clap@airs' or 'vendi:clap'"
            )
        return cls(*match.groups())

    def __str__(self) -> str:
        plain = f"{self.reduction}:{self.encoder}"
        return plain if self.exemplar_set is None else f"{plain}@{self.exemplar_set}"

    @property
    def slug(self) -> str:
        """The name in characters that every file system accepts; distinct names have distinct slugs."""
        return str(self).replace(":", "+")
