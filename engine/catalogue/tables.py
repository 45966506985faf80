"""Delimited text with exact line numbers, and the builder that turns its values into a catalogue's table."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.catalogue.fields import (
    KNOWN_VIEWPOINTS,
    inside,
    normalise_viewpoint,
    parse_box,
    parse_date,
    parse_size,
    text_or_none,
)
from engine.catalogue.problems import Problems

_FIRST_YEAR = 1839  # of photography
_FIELDS = (
    "image_id",
    "path",
    "individual_id",
    "viewpoint",
    "date",
    "timestamp",
    "encounter_id",
    "width",
    "height",
    "box",
    "species",
)


@dataclass(frozen=True)
class TextTable:
    """A delimited text file as it stands.

    Attributes:
        file: the file.
        columns: names of the columns, stripped.
        rows: one dict per data row, column -> text.
        lines: the line of the file on which each row ends, counted from 1.
    """

    file: Path
    columns: list[str]
    rows: list[dict[str, str]]
    lines: list[int]


def decode(data: bytes) -> str:
    """Decode UTF-8 (with or without byte order mark), UTF-16 with one, or else Latin-1 / Windows-1252."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_header(file: Path) -> list[str]:
    """Return the column names of a delimited text file (empty if it cannot be read or is empty)."""
    try:
        with file.open("rb") as stream:
            head = decode(stream.readline(65536))
    except OSError:
        return []
    return next(iter(csv.reader([head.strip("\r\n")], delimiter=sniff_delimiter(head))), [])


def sniff_delimiter(header: str) -> str:
    """Return the delimiter of a header line: the one of tab, semicolon and comma that occurs most often."""
    outside = "".join(header.split('"')[::2])
    return max("\t;,", key=outside.count) if any(outside.count(c) for c in "\t;,") else ","


def read_text_table(file: Path, problems: Problems) -> TextTable:
    """Read a delimited text file; blank lines are skipped, rows of the wrong length noted and skipped."""
    try:
        text = decode(file.read_bytes())
    except OSError as error:
        problems.error(f"cannot be read: {error.strerror or error}", file=file)
        return TextTable(file, [], [], [])
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sniff_delimiter(first))
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    lines: list[int] = []
    try:
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if not columns:
                columns = [value.strip() for value in values]
                _check_header(file, columns, reader.line_num, problems)
            elif len(values) != len(columns):
                problems.error(
                    f"the row has {len(values)} values, the header {len(columns)} columns",
                    file=file,
                    line=reader.line_num,
                    hint="put values that hold the delimiter into double quotes",
                )
            else:
                rows.append(dict(zip(columns, values, strict=True)))
                lines.append(reader.line_num)
    except csv.Error as error:
        problems.error(f"is no delimited text: {error}", file=file, line=reader.line_num)
    if not columns:
        problems.error("the file is empty", file=file, hint="the first line must name the columns")
    return TextTable(file, columns, rows, lines)


def _check_header(file: Path, columns: Sequence[str], line: int, problems: Problems) -> None:
    for name in sorted({c for c in columns if c and list(columns).count(c) > 1}):
        problems.error(
            f"the column '{name}' occurs twice", file=file, line=line, column=name, hint="rename one of them"
        )


@dataclass
class TableBuilder:
    """Collects photographs row by row, reads their values, and notes what is wrong with them.

    Args:
        root: the folder that photographs must lie in.
        problems: the ledger.
        allow_outside: accept paths that lead out of ``root``.
    """

    root: Path
    problems: Problems
    allow_outside: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[tuple[Path, int | None]] = field(default_factory=list)
    photo_sizes: list[tuple[int, int] | None] = field(default_factory=list)
    _seen: dict[str, tuple[Path, int | None]] = field(default_factory=dict)
    _today: dt.date = field(default_factory=dt.date.today)

    def add(
        self,
        values: Mapping[str, Any],
        file: Path,
        line: int | None,
        columns: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Add one photograph.

        Args:
            values: field of the catalogue -> value as it stands in the source; missing fields are unknown.
            file, line: where it stands.
            columns: field -> the source's name for it, for messages.
            folder: the folder that relative paths start from (default: the root).
        """
        names = columns or {}

        def where(name: str) -> dict[str, Any]:
            return {"file": file, "line": line, "column": names.get(name, name), "value": values.get(name)}

        # only an empty id or path is missing: unlike an animal, a photograph may well be called "unknown"
        image_id, path = (str(values.get(name) or "").strip() for name in ("image_id", "path"))
        if not image_id or not path:
            name = "path" if image_id else "image_id"
            self.problems.error("the value is missing", **where(name), hint="every photograph needs one")
            return
        if image_id in self._seen:
            other, other_line = self._seen[image_id]
            line_text = "" if other_line is None else f"line {other_line}"
            place = line_text if other == file and line_text else ", ".join(filter(None, [str(other), line_text]))
            self.problems.error(
                f"'{image_id}' occurs before, in {place}", **where("image_id"), hint="give every photograph its own id"
            )
            return
        full = self._path(path, folder, where("path"))
        if full is None:
            return
        self._seen[image_id] = (file, line)
        date, timestamp = self._date_and_time(values, where)
        size = self._size(values, where)
        box = self._box(values, size, where)
        used = (box[2], box[3]) if box is not None else size
        row: dict[str, Any] = {
            name: text_or_none(values.get(name)) for name in ("individual_id", "encounter_id", "species")
        }
        row |= {"image_id": image_id, "path": str(full), "viewpoint": self._viewpoint(values, where)}
        row |= {"date": date, "timestamp": timestamp, "box": box}
        row |= {"width": used[0] if used else None, "height": used[1] if used else None}
        self.rows.append(row)
        self.places.append((file, line))
        self.photo_sizes.append(size)

    def table(self) -> pd.DataFrame:
        """Return what was collected, as columns of a catalogue."""
        table = pd.DataFrame({name: pd.Series([row[name] for row in self.rows], dtype=object) for name in _FIELDS})
        for name in ("date", "timestamp"):
            # by way of NumPy: seconds hold any year, while pandas 2 would go through nanoseconds (1677 to 2262)
            table[name] = pd.Series(np.array([row[name] for row in self.rows], dtype="datetime64[s]"))
        return table

    def _path(self, path: str, folder: Path | None, where: dict[str, Any]) -> Path | None:
        try:
            base = folder or self.root
            relative = path if Path(path).is_absolute() else f"{base.absolute()}/{path}"
            return inside(self.root, relative, self.allow_outside)
        except ValueError as error:
            self.problems.error(
                str(error), **where, hint="move the photograph into the folder, or allow photographs from outside"
            )
            return None

    def _date_and_time(self, values: Mapping[str, Any], where: Any) -> tuple[dt.date | None, dt.datetime | None]:
        parsed: dict[str, tuple[dt.date, dt.datetime | None]] = {}
        for name in ("date", "timestamp"):
            text = text_or_none(values.get(name))
            if text is None:
                continue
            try:
                parsed[name] = parse_date(text)
            except ValueError as error:
                self.problems.error(str(error), **where(name))
        date, timestamp = parsed.get("date"), parsed.get("timestamp")
        if date and timestamp and date[0] != timestamp[0]:
            self.problems.warning(f"the date {date[0]} is not the day of the timestamp {timestamp[0]}", **where("date"))
        day = (date or timestamp or (None, None))[0]
        if day is not None and (day > self._today or day.year < _FIRST_YEAR):
            when = "in the future" if day > self._today else "before there were photographs"
            self.problems.warning(f"the date {day} lies {when}", **where("date" if date else "timestamp"))
        return day, (timestamp[1] if timestamp else None) or (date[1] if date else None)

    def _size(self, values: Mapping[str, Any], where: Any) -> tuple[int, int] | None:
        sides: list[int | None] = []
        for name in ("width", "height"):
            try:
                sides.append(parse_size(values.get(name)))
            except ValueError as error:
                self.problems.error(str(error), **where(name))
                sides.append(None)
        width, height = sides
        return None if width is None or height is None else (width, height)

    def _box(
        self, values: Mapping[str, Any], size: tuple[int, int] | None, where: Any
    ) -> tuple[int, int, int, int] | None:
        given = values.get("box")
        if given is None:
            return None
        try:
            box = parse_box(given, size)
        except ValueError as error:
            self.problems.error(str(error), **where("box"))
            return None
        return None if size is not None and box == (0, 0, *size) else box

    def _viewpoint(self, values: Mapping[str, Any], where: Any) -> str | None:
        viewpoint, understood = normalise_viewpoint(values.get("viewpoint"))
        if not understood:
            self.problems.warning(
                f"the viewpoint '{viewpoint}' is not understood and kept as it is",
                **where("viewpoint"),
                hint=f"known ones: {', '.join(KNOWN_VIEWPOINTS)}; leave it empty where it is unknown",
            )
        return viewpoint
