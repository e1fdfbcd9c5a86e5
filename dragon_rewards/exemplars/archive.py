"""Export of a user's exemplar set to one file without its audio, for others, where the music cannot be shared.

The file is an uncompressed ZIP archive of `manifest.json`, `items.jsonl` (hashes of the files and captions, but no
names), `<encoder>.safetensors`, `<encoder>.facets`, and `hashes.json`, which holds the SHA-256 of each other file.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.facets import SUFFIX as FACETS
from dragon_rewards.exemplars.facets import describe_facets, facets_of, stale
from dragon_rewards.exemplars.imported import STATISTICS, set_fault
from dragon_rewards.exemplars.item import pack_items, unpack_items
from dragon_rewards.exemplars.places import sets_folder
from dragon_rewards.exemplars.sets import MANIFEST, encoders_of, items, read_manifest
from dragon_rewards.exemplars.store import changing_sets, check_unchanged, clear_leftovers, save_set
from dragon_rewards.names import check_name
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.decoding import decode_json
from dragon_rewards.storage.files import replacing
from dragon_rewards.terminal.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sets import Manifest
    from dragon_rewards.protocols import ExemplarSetInfo

ITEMS, HASHES = "items.jsonl", "hashes.json"
LIMIT = 2**30  # bytes; statistics of 2,048 dimensions take 34 MB
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time that ZIP can hold, so that the same set makes the same file


def export_set(info: ExemplarSetInfo, path: Path) -> list[str]:
    """Write a set to a file, and return the encoders whose statistics it holds.

    Raises:
        DragonError: the set has no statistics, or its statistics or facets were made of other files than it has now.
        OSError: the file cannot be written.
    """
    manifest = read_manifest(info.path)
    _check_statistics(info)
    _check_facets(info)
    members = {
        MANIFEST: json.dumps(asdict(manifest), indent=2, ensure_ascii=False).encode(),
        ITEMS: pack_items(item.portable for item in items(info)),
        **{name + STATISTICS: (info.path / (name + STATISTICS)).read_bytes() for name in encoders_of(info)},
        **{name + FACETS: (info.path / (name + FACETS)).read_bytes() for name in facets_of(info)},
    }
    check_unchanged(info.path, manifest)
    members[HASHES] = json.dumps({name: sha256(content).hexdigest() for name, content in members.items()}).encode()
    with replacing(path) as temporary, ZipFile(temporary, "w", ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name, TIME), content)
    return encoders_of(info)


def _check_statistics(info: ExemplarSetInfo) -> None:
    if info.modality is Modality.TEXT:
        return
    made = encoders_of(info)
    if not made:
        raise DragonError(
            f"exemplar set '{info.name}' has no statistics yet, and its audio is not exported; make them: "
            f"dragon exemplars add {info.name} --encoder NAME"
        )
    stale = [name for name in made if _keys(info.path / (name + STATISTICS)) != {item.key for item in items(info)}]
    if stale:
        options = " ".join(f"--encoder {name}" for name in stale)
        raise DragonError(
            f"statistics of exemplar set '{info.name}' for {', '.join(stale)} were made before files were added or "
            f"removed; bring them up to date: dragon exemplars add {info.name} {options}"
        )


def _check_facets(info: ExemplarSetInfo) -> None:
    for name in facets_of(info):
        wrong = stale(info, name, describe_facets(info.path / (name + FACETS)))
        if wrong:
            raise DragonError(wrong)


def _keys(path: Path) -> frozenset[bytes]:
    from dragon_rewards.exemplars.statistics import read_kept

    return read_kept(path).keys


def import_set(
    path: Path, name: str | None, check_free: Callable[[str], None], dims: Mapping[str, int]
) -> ExemplarSetInfo:
    """Create a set from a file that `export_set` wrote.

    Args:
        path: the file.
        name: the name of the set here; None for the name that it was exported with.
        check_free: raises an error if a set of that name would not be found.
        dims: the dimension of each space that is known here, by the name of the space.

    Raises:
        DragonError: the file is no such archive, is damaged or contradicts itself, or a set of this name exists.
    """
    members = _members(path)
    with TemporaryDirectory() as scratch:
        for member, content in members.items():
            (Path(scratch) / member).write_bytes(content)
        manifest, examples = _checked(path, Path(scratch), members[ITEMS], dims)
        manifest = replace(manifest, name=check_name(name or manifest.name))
        check_free(manifest.name)
        folder = sets_folder() / manifest.name
        with changing_sets():
            clear_leftovers(folder)
            folder.mkdir(parents=True)
            for made in (*Path(scratch).glob(f"*{STATISTICS}"), *Path(scratch).glob(f"*{FACETS}")):
                shutil.move(made, folder / made.name)
            return save_set(manifest, examples, before=None)


def _members(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name, after their names and hashes were checked."""
    try:
        with ZipFile(path) as archive:
            _check_form(archive)
            members = {name: archive.read(name) for name in archive.namelist()}
            hashes = decode_json(members.pop(HASHES), dict[str, str], f"{HASHES} in '{path}'", "export the set again")
    # All that a broken archive raises: nothing is decompressed, but archives may be encrypted or of unknown versions.
    except (
        OSError,
        BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        DragonError,
    ) as error:
        raise DragonError(f"'{path}' is no file of `dragon exemplars export` ({error})") from error
    wrong = [name for name, content in members.items() if hashes.get(name) != sha256(content).hexdigest()]
    if wrong or set(hashes) != set(members):
        raise DragonError(f"'{path}' is damaged: {', '.join(wrong) or 'files are missing'}; get the file again")
    return members


def _check_form(archive: ZipFile) -> None:
    """Refuse an archive that holds foreign names, is compressed, or is too large."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    rest = set(names) - {MANIFEST, ITEMS, HASHES}
    if len(rest) != len(names) - 3 or not all(name.endswith((STATISTICS, FACETS)) for name in rest):
        raise ValueError(f"it holds {printable(', '.join(names)[:200])}")
    for name in rest:
        check_name(name.removesuffix(STATISTICS).removesuffix(FACETS))
    if any(entry.compress_type != ZIP_STORED for entry in entries):
        raise ValueError("it is compressed")
    if sum(entry.file_size for entry in entries) > LIMIT:
        raise ValueError(f"it holds more than {LIMIT} bytes")


def _checked(path: Path, folder: Path, packed: bytes, dims: Mapping[str, int]) -> tuple[Manifest, tuple[Item, ...]]:
    """Return the manifest and the items, after they were checked against each other, the statistics and the facets."""
    try:
        manifest = read_manifest(folder)
        examples = unpack_items(packed, f"{ITEMS} in it", "export the set again")
        fault = set_fault(manifest, examples, folder, dims)
    except DragonError as error:
        reason = str(error).replace(f"{folder}/", "").partition("; ")[0]  # without the remedy for the scratch copy
        raise DragonError(f"'{path}': {reason}; export the set again") from error
    if fault:
        raise DragonError(f"'{path}' contradicts itself: {fault}; export the set again")
    return manifest, examples
