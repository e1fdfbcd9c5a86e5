"""Warn of prompts that are longer than what an encoder reads of a text: once, with their number, before the work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dragon_rewards.protocols import BoundedTextEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.protocols import Encoder

log = logging.getLogger(__name__)


def warn_of_cut_texts(name: str, encoder: Encoder, texts: Sequence[str]) -> None:
    """Log a warning if an encoder does not read all of each text; texts that occur twice count once.

    Args:
        name: the name of the encoder, for the warning.
        encoder: the encoder; one without `token_limit` reads whole texts.
        texts: the texts that it will be given.
    """
    if not isinstance(encoder, BoundedTextEncoder):
        return
    limit, distinct = encoder.token_limit, list(dict.fromkeys(texts))
    counts = encoder.count_tokens(distinct)
    beyond = [count for count in counts if count > limit]
    if beyond:
        log.warning(
            "%d of %d different texts are longer than the %d tokens that encoder '%s' reads (the longest has %d): what "
            "comes after them plays no part; shorten the texts, or choose another encoder",
            *(len(beyond), len(distinct), limit, name, max(beyond)),
        )
