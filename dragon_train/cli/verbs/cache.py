"""The verbs `dragon cache`: show and remove the embeddings that are kept on disk."""

from __future__ import annotations

from dataclasses import asdict
from math import log
from typing import Annotated

import typer

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.media.cache import FOLDER, EmbeddingCache, open_cache
from dragon_rewards.terminal.printable import counted, json_text
from dragon_train.cli.completion import encoders
from dragon_train.cli.options import Json, Wide
from dragon_train.cli.printing import print_rows

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
BROKEN = "(broken files)"

verbs = typer.Typer(no_args_is_help=True, help="Embeddings kept on disk.")


@verbs.command("info")
def show_info(*, as_json: Json = False, wide: Wide = False) -> None:
    """Show where embeddings are kept, how many there are of each encoder, and how large they are."""
    cache = _cache()
    used = sorted((name or BROKEN, usage) for name, usage in cache.usage().items())
    entries, size = (sum(getattr(usage, column) for _, usage in used) for column in ("entries", "bytes"))
    if as_json:
        facts = {"folder": str(cache.folder), "entries": entries, "bytes": size, "limit": cache.limit}
        print(json_text({**facts, "encoders": [{"encoder": name, **asdict(usage)} for name, usage in used]}))
        return
    print(f"{cache.folder}: {counted(entries, 'entry', 'entries')}, {readable(size)} of {readable(cache.limit)}")
    rows = [{"encoder": name, "entries": usage.entries, "size": readable(usage.bytes)} for name, usage in used]
    print_rows(rows, as_json=False, wide=wide)


@verbs.command("clear")
def clear(
    encoder: Annotated[
        str | None, typer.Option(help="Remove only what this encoder made.", autocompletion=encoders)
    ] = None,
) -> None:
    """Remove the embeddings that are kept on disk."""
    cache = _cache()
    try:
        removed = cache.clear(encoder)
    except OSError as error:
        raise DragonError(f"'{cache.folder}' could not be cleared ({error}); make it writable") from error
    print(f"{cache.folder}: removed {counted(removed.entries, 'entry', 'entries')}, {readable(removed.bytes)}")


def _cache() -> EmbeddingCache:
    cache = open_cache()
    if cache is None:
        raise ConfigError(f"{FOLDER}=off: there is no cache; unset it, or set it to a folder")
    return cache


def readable(size: int) -> str:
    """Return a number of bytes in four digits, with its unit.

    >>> readable(1536), readable(5), readable(10 * 2**30)
    ('1.5 KiB', '5 B', '10 GiB')
    """
    power = min(int(log(max(size, 1), 1024)), len(UNITS) - 1)
    return f"{size / 1024**power:.4g} {UNITS[power]}"
