"""Completion in bash, which breaks the names of rewards apart at `:` and `@`: whole words are put together for it."""

from __future__ import annotations

import os
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

VARIABLE = "_DRAGON_COMPLETE"  # set by typer's scripts: what a shell wants
WORDS, PLACE = "COMP_WORDS", "COMP_CWORD"  # the words of bash's line, one a line here; which is completed
BREAKS = ":@"  # characters of names at which bash breaks words


@contextmanager
def bash_words(environment: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Let a completion for bash see whole names, and give bash what follows the last break.

    For bash, `vendi:cl` is the three words `vendi`, `:` and `cl`, of which it replaces the last. Outside of a
    completion for bash, the block runs as it would without this.

    Args:
        environment: variables by which bash tells what it wants completed; they are changed for the block.
    """
    if environment.get(VARIABLE) != "complete_bash":
        yield
        return
    words, place = joined(environment[WORDS].splitlines(), int(environment[PLACE]))
    environment[WORDS], environment[PLACE] = "\n".join(words), str(place)
    word = words[place] if place < len(words) else ""
    begun = max(word.rfind(mark) for mark in BREAKS) + 1
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        print("\n".join(line[begun:] for line in printed.getvalue().splitlines()))


def joined(words: Sequence[str], place: int) -> tuple[list[str], int]:
    """Put the words that bash broke together again, and return them with the new place of the word at `place`.

    >>> joined(["dragon", "score", "vendi", ":", "cl"], 4)
    (['dragon', 'score', 'vendi:cl'], 2)
    >>> joined(["dragon", "score", "dataset-fad", ":", "clap", "@"], 5)
    (['dragon', 'score', 'dataset-fad:clap@'], 2)
    """
    whole: list[str] = []
    found, glued = place, False
    for number, word in enumerate(words):
        is_break = bool(word) and set(word) <= set(BREAKS)
        if whole and word and (is_break or glued):
            whole[-1] += word
        else:
            whole.append(word)
        glued = is_break
        if number == place:
            found = len(whole) - 1
    return whole, found if place < len(words) else len(whole)
