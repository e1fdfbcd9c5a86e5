"""Tables and lists of every format are read as they were written, or refused by file and row."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dragon_rewards.errors import MissingColumnError, TableError
from dragon_rewards.storage.files import guarded
from dragon_rewards.storage.table_files import PATH, RATING, SEED, SUFFIXES, TEXT, read_table, read_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Pair = tuple[str, str]

# Separators of Unicode, a byte order mark inside, quotes, separators of CSV, and line ends that a cell keeps.
TEXTS = [
    "a slow hymn, played on the organ",
    "a jig; \u2028with a line\u2029separator and a next\u0085line",
    "a waltz\fwith a form\x1cfeed\tand a tab",
    'a "quoted" air',
    "two\nlines",
    "two\r\nlines",
    "zero\ufeffwidth",
    "naïve 音楽 \U0001f3b5",
]
LINES = [text for text in TEXTS if "\n" not in text]


def write_csv(path: Path, rows: Sequence[Sequence[str]], separator: str = ",") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([guarded(cell) for cell in row] for row in rows)


def pairs(texts: Sequence[str]) -> list[Pair]:
    return [(f"{number}.wav", text) for number, text in enumerate(texts)]


def header(first: str, second: str, rows: Sequence[Pair]) -> list[dict[str, str]]:
    return [{first: path, second: text} for path, text in rows]


WRITERS: dict[str, Callable[[Path, str, str, Sequence[Pair]], None]] = {
    "comma.csv": lambda path, a, b, rows: write_csv(path, [(a, b), *rows]),
    "semicolon.csv": lambda path, a, b, rows: write_csv(path, [(a, b), *rows], ";"),
    "tab.csv": lambda path, a, b, rows: write_csv(path, [(a, b), *rows], "\t"),
    "tab.tsv": lambda path, a, b, rows: write_csv(path, [(a, b), *rows], "\t"),
    "upper.CSV": lambda path, a, b, rows: write_csv(path, [(a, b), *rows]),
    "list.json": lambda path, a, b, rows: _write(path, json.dumps(header(a, b, rows))),
    "lines.jsonl": lambda path, a, b, rows: _write(path, "\n".join(map(json.dumps, header(a, b, rows)))),
    "raw.jsonl": lambda path, a, b, rows: _write(
        path, "".join(f"{json.dumps(row, ensure_ascii=False)}\r\n" for row in header(a, b, rows))
    ),
    "rows.parquet": lambda path, a, b, rows: parquet.write_table(pa.Table.from_pylist(header(a, b, rows)), path),
}


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def found(path: Path) -> list[tuple[object, ...]]:
    """The cells as they were read, unparsed."""
    table = read_table(path)
    return [tuple(row.cells.values()) for row in table.rows]


@pytest.mark.parametrize("names", [("path", "prompt"), ("file_name", "caption"), ("Path", " TEXT ")])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_and_column_name(name: str, names: Pair, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, *names, pairs(TEXTS))
    assert found(tmp_path / name) == pairs(TEXTS)
    table = read_table(tmp_path / name)
    assert [table.text(row, PATH) for row in table.rows] == [path for path, _ in pairs(TEXTS)]
    assert read_texts(tmp_path / name) == TEXTS
    assert [path.name for path in table.by_path()] == [path for path, _ in pairs(TEXTS)]
    assert table.columns == names


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@settings(deadline=None)  # files are written
@given(st.lists(st.tuples(CELLS.filter(str.strip), CELLS), min_size=1))
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read_back(
    name: str, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    WRITERS[name](path, "path", "text", rows)
    assert found(path) == rows


@settings(deadline=None)  # files are written
@given(st.lists(CELLS.filter(lambda text: "\n" not in text and "\r" not in text and text.strip())))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_is_read_back_line_by_line(end: str, tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "list.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "".join(f"{text}{end}" for text in texts).encode())
    assert [row.cells["prompt"] for row in read_table(path).rows] == texts


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\r\n"])
def test_marks_and_line_ends_are_no_text(mark: bytes, end: str, tmp_path: Path) -> None:
    contents = {
        "list.txt": end.join(LINES),
        "table.csv": end.join(["prompt", *(f'"{line.replace(chr(34), 2 * chr(34))}"' for line in LINES)]) + end,
        "table.json": json.dumps(LINES, indent=0).replace("\n", end),
        "table.jsonl": end.join(json.dumps(line, ensure_ascii=False) for line in LINES),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(mark + content.encode())
        assert read_texts(tmp_path / name) == LINES, name


def test_spreadsheets_add_blank_cells_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    _write(path, "\n,path;prompt,seed,,\n".replace(",", ";") + "0;a.wav;a jig;7;;;\n;;;;\n\n1;b.wav;an air;8;;\n;;\n")
    table = read_table(path)
    assert [(row.number, table.text(row), table.whole(row, SEED)) for row in table.rows] == [
        (1, "a jig", 7),
        (4, "an air", 8),
    ]


def test_marks_that_joined_files_have_inside_are_no_text(tmp_path: Path) -> None:
    _write(tmp_path / "joined.txt", "\ufeffa jig\n\ufeffa hymn\n")
    assert read_texts(tmp_path / "joined.txt") == ["a jig", "a hymn"]


REFUSED = {
    "more cells": ("t.csv", "path,prompt\na.wav,jig\nb.wav,slow, calm\n", "row 2: 3 cells, and the header has 2"),
    "of one": ("t.csv", "caption\na slow hymn, played on organ\n", "row 1: 2 cells, and the header has 1"),
    "of no name": ("t.csv", "path,prompt,\na.wav,slow, calm\n", "row 1: 3 cells, and the header has 2"),
    "fewer cells": ("t.csv", "path,prompt\na.wav,slow\ncalm hymn\n", "row 2: 1 cell, and the header has 2"),
    "open quote": ("t.csv", 'path,prompt\na.wav,"jig\nb.wav,air\n', "row 1: unexpected end of data"),
    "text after a quote": ("t.csv", 'path,prompt\na.wav,"jig" fast\n', "row 1: ',' expected after"),
    "lone return": ("t.csv", "path,prompt\na.wav,jig\rb.wav,air\n", "row 1: a carriage return without line feed"),
    "returns alone": ("t.txt", "jig\rair\r", "row 1: a carriage return without line feed"),
    "no header": ("t.csv", "a jig\n", "no column prompt or caption or text; its columns: a jig"),
    "empty": ("t.csv", "", "no column prompt or caption or text; its columns: none"),
    "twice": ("t.csv", "path,prompt,Prompt\na.wav,jig,air\n", "column 'prompt' is there more than once"),
    "two": ("t.csv", "path,prompt,text\na.wav,jig,air\n", "row 1: prompt and text are not the same"),
    "blank": ("t.csv", "path,prompt\na.wav,jig\nb.wav, \n", "row 2: no text in column prompt or caption or text"),
    "other columns": ("t.jsonl", '{"file": "a.wav"}', "no column prompt or caption or text; its columns: file"),
    "number": ("t.json", '[{"prompt": "jig"}, {"prompt": 3}]', "row 2: prompt or caption or text is 3; write a text"),
    "mixed": ("t.json", '["jig", {"prompt": "air"}]', "row 2: {'prompt': 'air'}; the rows of a table are objects"),
    "numbers": ("t.jsonl", '"jig"\n\n3\n', "row 3: 3; the rows of a table are objects"),
    "object": ("t.json", '{"train": ["jig"]}', "t.json' cannot be read (Expected `array`, got `object`"),
    "broken line": ("t.jsonl", '"jig"\n"air\n', "row 2 cannot be read"),
    "deep": ("t.json", "[" * 100_000, "t.json' cannot be read"),
    "key twice": ("t.jsonl", '{"text": "jig", "TEXT": "air"}', "row 1: column 'text' is there more than once"),
    "nothing": ("t.txt", "\n \n", "holds no prompt"),
    "no texts": ("t.json", "[]", "no column prompt or caption or text; its columns: none"),
    "parquet": ("t.parquet", "PAR1", "cannot be read as parquet"),
    "suffix": ("t.xlsx", "jig", "has the suffix '.xlsx', which no table or list has; give a table or a list as TXT"),
    "no suffix": ("prompts", "jig", "has the suffix ''"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_refused_by_row(what: str, tmp_path: Path) -> None:
    name, content, message = REFUSED[what]
    _write(tmp_path / name, content)
    with pytest.raises(TableError) as refusal:
        read_texts(tmp_path / name)
    assert message in str(refusal.value)
    assert str(tmp_path / name) in str(refusal.value)


@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.json", "t.jsonl"])
@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("utf-16", "is in UTF-16; save it in UTF-8"),
        ("utf-16-le", "holds NUL bytes, as text in UTF-16 does"),
        ("utf-32", "is in UTF-32; save it in UTF-8"),
        ("cp1252", "is not in UTF-8 (byte 0xef at "),
    ],
)
def test_other_encodings_are_refused_by_name(name: str, encoding: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes("prompt\na naïve jig\n".encode(encoding))
    with pytest.raises(TableError) as refusal:
        read_texts(tmp_path / name)
    assert message in str(refusal.value)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_file_that_is_missing_or_a_folder_is_named(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    for name in ("gone", "folder"):
        with pytest.raises(TableError, match=rf"{name}\{suffix}.*cannot be read"):
            read_table(tmp_path / f"{name}{suffix}")


def test_a_list_names_no_files(tmp_path: Path) -> None:
    _write(tmp_path / "list.txt", "a jig\n")
    with pytest.raises(MissingColumnError, match="no column path or file_name; it is a list of texts"):
        read_table(tmp_path / "list.txt").by_path()


@pytest.mark.parametrize("again", ["a.wav", "./a.wav", "../songs/a.wav", "link/a.wav"])
def test_a_path_that_is_listed_twice_is_refused(again: str, tmp_path: Path) -> None:
    songs = tmp_path / "songs"
    songs.mkdir()
    (songs / "link").symlink_to(songs)
    write_csv(songs / "t.csv", [("path", "text"), ("a.wav", "jig"), ("b.wav", "air"), (again, "jig")])
    with pytest.raises(TableError, match=r"t\.csv', row 3: '.*a\.wav' is listed in row 1, too"):
        read_table(songs / "t.csv").by_path()


def test_a_path_is_a_text_that_may_name_a_file(tmp_path: Path) -> None:
    for cell in ({}, {"path": None}, {"path": " "}):
        _write(tmp_path / "t.json", json.dumps([{"path": "a.wav"}, cell]))
        with pytest.raises(TableError, match="row 2: no text in column path or file_name"):
            read_table(tmp_path / "t.json").by_path()
    _write(tmp_path / "t.json", json.dumps([{"path": "a\0.wav"}]))
    with pytest.raises(TableError, match=r"row 1: .*is no path"):
        read_table(tmp_path / "t.json").by_path()
    _write(tmp_path / "t.json", json.dumps([{"path": "a" * 300 + ".wav"}]))
    assert len(read_table(tmp_path / "t.json").by_path()) == 1


@pytest.mark.parametrize("value", ["3", "3.5", "-1e-3", ".5", " 4 ", "", 3, 3.5, None])
def test_numbers_are_parsed_by_their_type(value: object, tmp_path: Path) -> None:
    _write(tmp_path / "t.json", json.dumps([{"rating": value}]))
    table = read_table(tmp_path / "t.json")
    expected = float(str(value)) if value not in {"", None} else None
    assert table.number(table.rows[0], RATING) == expected


@pytest.mark.parametrize("value", ["3,5", "good", "nan", "inf", "1e999", "1_0", "٣", "0x1", True, [1], 10**400])
def test_what_is_no_number_is_refused_by_row_and_value(value: object, tmp_path: Path) -> None:
    _write(tmp_path / "t.json", json.dumps([{"rating": 1}, {"rating": value}]))
    table = read_table(tmp_path / "t.json")
    with pytest.raises(TableError, match=r"t\.json', row 2: rating .* is no finite number"):
        table.number(table.rows[1], RATING)


def test_seeds_are_whole_and_exact(tmp_path: Path) -> None:
    seeds: list[object] = [7, "7", "7.0", 7.0, "9223372036854775807", "", None]
    _write(tmp_path / "t.json", json.dumps([{"seed": seed} for seed in seeds]))
    table = read_table(tmp_path / "t.json")
    assert [table.whole(row, SEED) for row in table.rows] == [7, 7, 7, 7, 2**63 - 1, None, None]
    for wrong in (7.5, "7.5", "1e30", "seven", "9" * 5000, True):
        _write(tmp_path / "t.json", json.dumps([{"seed": wrong}]))
        table = read_table(tmp_path / "t.json")
        with pytest.raises(TableError, match=r"row 1: seed .* is no (whole|finite) number"):
            table.whole(table.rows[0], SEED)


def test_columns_of_one_meaning_may_say_the_same(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "jig", "text": "jig ", "caption": None},
        {"prompt": "", "text": "air", "caption": " "},
    ]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert read_texts(tmp_path / "t.parquet") == ["jig", "air"]
    assert read_table(tmp_path / "t.parquet").has(TEXT)


def test_of_a_parquet_file_only_known_columns_are_read(tmp_path: Path) -> None:
    shard = {"audio": [{"bytes": b"RIFF", "path": "a.wav"}], "text": ["a jig"], "list": [[1, 2]]}
    parquet.write_table(pa.table(shard), tmp_path / "t.parquet")
    assert found(tmp_path / "t.parquet") == [("a jig",)]
    assert read_table(tmp_path / "t.parquet").columns == ("audio", "text", "list")
    parquet.write_table(pa.table({"text": [[1], [2]]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match=r"row 1: prompt or caption or text is \[1\]; write a text"):
        read_texts(tmp_path / "t.parquet")


@settings(deadline=None)  # files are written
@given(st.binary(max_size=300), st.sampled_from(sorted(SUFFIXES)))
def test_bytes_of_any_kind_give_texts_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    for mark in (b"", b"prompt\n", b"path,prompt\n"):
        path.write_bytes(mark + content)
        try:
            assert all(read_texts(path))
        except TableError as refusal:
            assert str(path) in str(refusal)  # noqa: PT017  the one or the other
