"""Delimited text as spreadsheets and people write it, read with exact line numbers.

The one reader of every table: UTF-8, UTF-16 and UTF-32 with or without byte order mark, Windows-1252 as a last resort
(said so), comma, semicolon, tab or bar, any line ending, Excel's ``sep=;`` line. What cannot be read without guessing
is a problem with its line, never another table.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

from engine.catalogue.csv_output import GUARD, without_guard
from engine.catalogue.problems import Problems

_DELIMITERS = "\t;,|"
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_HEAD_BYTES = 65536
_END = "\0end of the table"  # a last line that shows whether a quote is still open


@dataclass(frozen=True)
class TextTable:
    """A delimited text file as it stands.

    Attributes:
        file: the file.
        columns: names of the columns, stripped.
        cells: column -> its text in every data row.
        lines: the line of the file on which each row ends, counted from 1.
        header_line: the line that names the columns.
    """

    file: Path
    columns: list[str]
    cells: dict[str, list[str]]
    lines: list[int]
    header_line: int = 1

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """One dict per data row, column -> text."""
        return [dict(zip(self.cells, values, strict=True)) for values in zip(*self.cells.values(), strict=True)]


def decode(data: bytes) -> tuple[str, str]:
    """Decode text of unknown encoding.

    Returns:
        (text without byte order mark, name of the encoding). What is neither marked nor valid UTF-8 is read as
        UTF-16 where every other byte is zero, as it is in Western text, and as Windows-1252 otherwise: a guess.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:_HEAD_BYTES]:
        head = data[:_HEAD_BYTES]
        zeros = [head[start::2].count(0) / max(1, len(head[start::2])) for start in (0, 1)]
        if max(zeros) > 0.6 and min(zeros) < 0.2:
            encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    for name in (encoding, "utf-8"):
        try:
            if name is not None:
                return data.decode(name), name
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", errors="replace"), "cp1252"


def read_header(file: Path) -> list[str]:
    """Return the column names of a delimited text file (empty if it cannot be read or is empty)."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return []
    # a character that the last byte cuts in two would make the whole look like another encoding
    text = decode(head[: head.rfind(b"\n") + 2] if len(head) == _HEAD_BYTES else head)[0]
    parsed = _read(text)
    return parsed.columns if isinstance(parsed, _Rows) else []


def sniff_delimiter(header: str) -> str:
    """Return the delimiter of a header line: the one of tab, semicolon, comma and bar that occurs most often."""
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=outside.count) if any(outside.count(c) for c in _DELIMITERS) else ","


def read_text_table(file: Path, problems: Problems) -> TextTable:
    """Read a delimited text file; blank lines are skipped, rows of the wrong length noted and skipped."""
    try:
        data = file.read_bytes()
    except OSError as error:
        problems.error(f"cannot be read: {error.strerror or error}", file=file)
        return TextTable(file, [], {}, [])
    if data.startswith(b"PK\x03\x04"):
        problems.error("is an Excel workbook (or another archive), no text", file=file, hint="save it as CSV UTF-8")
        return TextTable(file, [], {}, [])
    text, encoding = decode(data)
    if encoding == "cp1252":
        problems.warning(
            "is neither UTF-8 nor marked as UTF-16; read as Windows-1252, which may misread accents",
            file=file,
            hint="save it as CSV UTF-8",
        )
    parsed = _read_regular(text) or _read(text)
    if isinstance(parsed, str):
        problems.error(f"is no delimited text: {parsed}", file=file)
        return TextTable(file, [], {}, [])
    if not parsed.columns:
        problems.error("the file is empty", file=file, hint="the first line must name the columns")
        return TextTable(file, [], {}, [])
    if parsed.open_quote is not None:
        problems.error(
            'a quote (") is opened and never closed; what follows cannot be told apart',
            file=file,
            line=parsed.open_quote,
            hint="close it, or double a quote that belongs to the text",
        )
    for sign, severity in (("\0", "error"), ("\ufffd", "warning")):
        if sign in text:
            message, hint = "holds bytes that are no text", "export the table anew as CSV UTF-8"
            line = text.count("\n", 0, text.index(sign)) + 1
            (problems.error if severity == "error" else problems.warning)(message, file=file, line=line, hint=hint)
    _check_header(file, parsed.columns, parsed.header_line, problems)
    cells, lines = (parsed.cells, parsed.lines) if isinstance(parsed, _Regular) else _cells(file, parsed, problems)
    return TextTable(file, parsed.columns, cells, lines, parsed.header_line)


def _cells(file: Path, parsed: _Rows, problems: Problems) -> tuple[dict[str, list[str]], list[int]]:
    """Return the cells of every column, and the lines, of the rows that are as long as they should be."""
    count = len(parsed.columns)
    rows, lines = parsed.rows, parsed.lines
    # a spreadsheet may end every row with empty cells; in a single row they are a sign that its cells have moved
    widths = set(map(len, rows))
    width = widths.pop() if len(widths) == 1 else count
    if widths or width != count:
        kept = []
        for place, (values, line) in enumerate(zip(rows, lines, strict=True)):
            if len(values) != width or width < count or any(value.strip() for value in values[count:]):
                problems.error(
                    f"the row has {len(values)} values, the header {count} columns",
                    file=file,
                    line=line,
                    hint="put values that hold the delimiter into double quotes",
                )
            else:
                kept.append(place)
        rows, lines = [rows[place] for place in kept], [lines[place] for place in kept]
    columns: list[tuple[str, ...]] = list(zip(*rows, strict=True)) or [()] * count
    return {name: _unguarded(column) for name, column in zip(parsed.columns, columns, strict=False)}, lines


def _unguarded(column: Sequence[str]) -> list[str]:
    """Return a column's cells without the apostrophes that keep spreadsheets from running them."""
    return list(map(without_guard, column)) if GUARD in "".join(column) else list(column)


@dataclass(frozen=True)
class _Rows:
    """Text taken apart: the header, the other rows with the lines on which they end, and where a quote stays open."""

    columns: list[str]
    header_line: int
    rows: list[list[str]]
    lines: list[int]
    open_quote: int | None = None


@dataclass(frozen=True)
class _Regular:
    """Text taken apart whose rows all have as many cells as the header, none of them quoted."""

    columns: list[str]
    header_line: int
    cells: dict[str, list[str]]
    lines: list[int]
    open_quote: int | None = None


def _read_regular(text: str) -> _Regular | None:
    """Take text apart as :func:`_read` and :func:`_cells` do, in a tenth of the time; None where it is not regular."""
    if '"' in text:
        return None
    text, delimiter, excel = _prepared(text)
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    counts = set(map(str.count, lines, repeat(delimiter)))
    if excel or len(counts) != 1 or max(map(len, lines)) > csv.field_size_limit():
        return None
    width = counts.pop() + 1
    flat = delimiter.join(lines).split(delimiter)
    columns = [value.strip() for value in flat[:width]]
    cells = [flat[width + column :: width] for column in range(width)]
    # Where the first cell says nothing, the row may be blank, and is no row.
    if not any(columns) or not all(map(str.strip, cells[0])):
        return None
    if GUARD in text:
        cells = list(map(_unguarded, cells))
    return _Regular(columns, 1, dict(zip(columns, cells, strict=True)), list(range(2, len(lines) + 1)))


def _prepared(text: str) -> tuple[str, str, bool]:
    """Return text with plain line ends, its delimiter, and whether Excel's line names it."""
    # Python's own universal newlines, inside quotes too; the other line separators of Unicode are text
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    filled = text.lstrip("\n \t")
    excel = re.match(r"sep=(.)[ \t]*(?:\n|$)", filled, re.IGNORECASE)
    first = filled.split("\n", 2)[1 if excel else 0 :][:1]
    return text, excel[1] if excel else sniff_delimiter(first[0] if first else ""), excel is not None


def _read(text: str) -> _Rows | str:
    """Take delimited text apart; the csv module's message where it cannot."""
    text, delimiter, excel = _prepared(text)
    open_quote = None
    reader: Any = None
    try:
        if '"' in text:
            stream = io.StringIO(text if text.endswith("\n") else text + "\n", newline="\n")
            reader = csv.reader(itertools.chain(stream, [_END]), delimiter=delimiter)
            rows, lines, open_quote = _quoted_rows(reader)
        else:  # every line is a row
            reader = csv.reader(text.split("\n"), delimiter=delimiter)
            rows = list(reader)
            lines = list(range(1, len(rows) + 1))
    except csv.Error as error:
        return f"{error} (line {reader.line_num})"
    filled_rows = [place for place, values in enumerate(rows) if any(map(str.strip, values))]
    while excel and filled_rows and delimiter.join(rows[filled_rows[0]]).strip().lower().startswith("sep="):
        del filled_rows[0]
    if not filled_rows:
        return _Rows([], 1, [], [], open_quote)
    head, *rest = filled_rows
    columns = [value.strip() for value in rows[head]]
    return _Rows(columns, lines[head], [rows[place] for place in rest], [lines[place] for place in rest], open_quote)


def _quoted_rows(reader: Any) -> tuple[list[list[str]], list[int], int | None]:
    """Return the rows of a reader, the lines on which they end, and the line on which a quote stays open."""
    rows: list[list[str]] = []
    lines: list[int] = []
    before = 0
    for values in reader:
        start, before = before + 1, reader.line_num
        if values == [_END]:
            break
        if values and values[-1].endswith(_END):
            return rows, lines, start
        rows.append(values)
        lines.append(reader.line_num)
    return rows, lines, None


def _check_header(file: Path, columns: Sequence[str], line: int, problems: Problems) -> None:
    for name in sorted({c for c in columns if c and list(columns).count(c) > 1}):
        problems.error(
            f"the column '{name}' occurs twice", file=file, line=line, column=name, hint="rename one of them"
        )
