"""The one way from the values of a source, whatever its format, to the rows of a catalogue's table."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.boxes import BOX_FIELDS, Box, box_values, from_fractions, parse_box
from engine.catalogue.dates import DATE_FIELDS, When, when_of
from engine.catalogue.fields import (
    KNOWN_VIEWPOINTS,
    is_shortened_number,
    name_or_none,
    normalise_viewpoint,
    parse_size,
    text_of,
)
from engine.catalogue.paths import NameFinder, exists, inside
from engine.catalogue.problems import Problems
from engine.catalogue.text_columns import (
    almost_the_same,
    by_spelling,
    files_there,
    named,
    once,
    plain_name,
    plain_names,
    plain_paths,
    read_times,
    stripped,
)
from features.records import BoolArray

_FIRST_YEAR = 1839  # of photography
_NAMES = ("individual_id", "encounter_id", "species")
_DATES = ("date", "timestamp", "earliest", "latest")
_OBJECTS = ("image_id", "path", "individual_id", "viewpoint", "encounter_id", "width", "height", "box", "species")
_COLUMNS = (*_OBJECTS, "photo_size", "utc_offset", *_DATES)

Place = tuple[Path, int | None]
"""(file, line) where something stands; line None where lines have no meaning."""


@dataclass
class TableBuilder:
    """Collects photographs, reads their values, and notes what is wrong with them.

    Args:
        root: the folder that photographs must lie in.
        problems: the ledger.
        allow_outside: accept paths that lead out of ``root``.

    Attributes:
        rows: photographs that were added one by one since the last table. places: where every photograph stands.
    """

    root: Path
    problems: Problems
    allow_outside: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    _whole: list[pd.DataFrame] = field(default_factory=list)
    _canonical: bool = True
    _later: list[tuple[list[str], list[Place], BoolArray]] = field(default_factory=list)
    _seen: dict[str, Place] = field(default_factory=dict)
    _files: NameFinder = field(default_factory=NameFinder)
    _today: dt.date = field(default_factory=dt.date.today)

    def add(
        self,
        values: Mapping[str, Any],
        file: Path,
        line: int | None,
        columns: Mapping[str, str] | None = None,
        folder: Path | None = None,
        *,
        photo_size: tuple[int, int] | None = None,
    ) -> None:
        """Add one photograph.

        Args:
            values: field of the catalogue -> value as it stands in the source; missing fields are unknown.
            file, line: where it stands.
            columns: field -> the source's name for it, for messages.
            folder: the folder that relative paths start from (default: the root).
            photo_size: (width, height) of the upright photograph; given where the box holds fractions of it.
        """
        names = columns or {}

        def where(name: str) -> dict[str, Any]:
            return {"file": file, "line": line, "column": names.get(name, name), "value": values.get(name)}

        # only an empty id or path is missing: unlike an animal, a photograph may well be called "unknown"
        texts: dict[str, str] = {}
        for name in ("image_id", "path"):
            try:
                texts[name] = text_of(values.get(name))
            except ValueError as error:
                self.problems.error(str(error), **where(name))
                return
            if not texts[name]:
                self.problems.error("the value is missing", **where(name), hint="every photograph needs one")
                return
        image_id = texts["image_id"]
        self._see()
        if image_id in self._seen:
            other, other_line = self._seen[image_id]
            line_text = "" if other_line is None else f"line {other_line}"
            place = line_text if other == file and line_text else ", ".join(filter(None, [str(other), line_text]))
            self.problems.error(
                f"'{image_id}' occurs before, in {place}", **where("image_id"), hint="give every photograph its own id"
            )
            return
        full = self._path(texts["path"], folder, where("path"))
        if full is None:
            return
        self._seen[image_id] = (file, line)
        when = self._when(values, where)
        size = photo_size or self._size(values, where)
        box = self._box(values, size, where, fractions=photo_size is not None)
        used = (box[2], box[3]) if box is not None else size
        row: dict[str, Any] = {"image_id": image_id, "path": str(full), "box": box, "photo_size": size}
        row |= {name: self._name(name, values, where) for name in _NAMES}
        row["viewpoint"] = self._viewpoint(values, where)
        row |= {name: None if when is None else getattr(when, name) for name in (*_DATES, "utc_offset")}
        row |= {"width": used[0] if used else None, "height": used[1] if used else None}
        self.rows.append(row)
        self.places.append((file, line))

    def resolve(self, path: str, folder: Path | None = None) -> Path:
        """Return the absolute path of a photograph as a source names it, from ``folder`` (default: the root).

        Raises:
            ValueError: it leads out of the root although that is not allowed, or no file can be called so.
        """
        base = folder or self.root
        return inside(self.root, path if Path(path).is_absolute() else f"{base.absolute()}/{path}", self.allow_outside)

    def add_table(
        self,
        cells: Mapping[str, Sequence[str]],
        file: Path,
        lines: Sequence[int],
        columns: Mapping[str, str],
        folder: Path,
    ) -> None:
        """Add the photographs of a text table: what :meth:`add` makes of each row, and says of it, in their order.

        Args:
            cells: field of the catalogue -> its text in every row; ``image_id`` and ``path`` among them.
            file, lines: where the rows stand.
            columns: field -> the source's name for it, for messages.
            folder: the folder that relative paths start from.
        """
        self._take_rows()
        self._see()
        count, first = len(lines), len(self.places)
        ids, plain = stripped(cells["image_id"])
        plain &= once(ids)
        if self._seen:
            plain &= np.array([image_id not in self._seen for image_id in ids], bool)
        paths, there = self._plain_files(cells["path"], folder)
        plain &= there
        for name in BOX_FIELDS:
            if name in cells:
                plain &= np.array([not cell.strip() for cell in cells[name]], bool)
        read: dict[str, Any] = {"image_id": ids, "path": paths, "box": [None] * count}
        canonical = True
        for name in (*_NAMES, "viewpoint", "width", "height"):
            read[name] = [None] * count
            if name in cells:
                names = plain_names(cells[name]) if name in _NAMES else None
                canonical &= name not in _NAMES or names is not None
                read[name], good = (names, True) if names is not None else self._spelled(name, cells[name])
                plain &= good
        read |= self._times(cells, count, plain)
        sizes: list[Any] = list(zip(read["width"], read["height"], strict=True))
        if None in read["width"] or None in read["height"]:
            sizes = [None if None in size else size for size in sizes]
            both = [size or (None, None) for size in sizes]
            read["width"], read["height"] = ([size[side] for size in both] for side in (0, 1))
        read["photo_size"] = sizes
        places: list[Place] = list(zip(repeat(file), lines, strict=False))
        if plain.all():
            self.places += places
            self._whole.append(_frame(read))
            self._canonical &= canonical
        else:
            self._add_mixed(read, plain, cells, places, columns, folder, first)
        self._later.append((ids, places, plain))

    def _see(self) -> None:
        """Remember the ids of whole tables, which nobody asks for while there is one."""
        for ids, places, plain in self._later:
            self._seen.update((ids[row], places[row]) for row in np.flatnonzero(plain).tolist())
        self._later.clear()

    def _add_mixed(
        self,
        read: Mapping[str, Any],
        plain: BoolArray,
        cells: Mapping[str, Sequence[str]],
        places: Sequence[Place],
        columns: Mapping[str, str],
        folder: Path,
        first: int,
    ) -> None:
        """Add a table's rows, those that are not plain one by one."""
        self._canonical = False
        taken = []
        for row in np.flatnonzero(~plain).tolist():
            before = len(self.rows)
            self.add({name: column[row] for name, column in cells.items()}, *places[row], columns, folder)
            taken += [row] * (len(self.rows) - before)
        rows = np.concatenate([np.flatnonzero(plain), np.array(taken, np.int64)])
        order = np.argsort(rows, kind="stable")
        both = pd.concat([_frame(read)[plain], _frame_of_rows(self.rows)], ignore_index=True)
        self._whole.append(both.iloc[order].reset_index(drop=True))
        self.rows.clear()
        self.places[first:] = [places[row] for row in rows[order].tolist()]

    def _plain_files(self, cells: Sequence[str], folder: Path) -> tuple[list[str], BoolArray]:
        """Return the absolute paths of plain ones in the root, and the mask of those at which a file lies."""
        texts, plain = stripped(cells)
        plain &= plain_paths(texts)
        base = str(inside(self.root, str(folder.absolute()), True))
        root = os.path.abspath(self.root)  # noqa: PTH100 - links are not followed, as in `inside`
        if not (self.allow_outside or base == root or base.startswith(root.rstrip(os.sep) + os.sep)):
            return texts, np.zeros(len(texts), bool)
        if plain.all():
            plain = files_there(base, texts)
        else:
            plain[plain] = files_there(base, [texts[row] for row in np.flatnonzero(plain).tolist()])
        start = base.rstrip(os.sep) + os.sep
        return [start + text for text in texts], plain

    def _spelled(self, name: str, cells: Sequence[str]) -> tuple[list[Any], BoolArray]:
        """Return what the cells of a column mean, and the mask of those of which nothing has to be said."""
        ledger = Problems(strict=False)
        alone = TableBuilder(self.root, ledger)

        def read(text: str) -> tuple[Any, bool]:
            if name in _NAMES and plain_name(text):
                return named(text), True
            before = len(ledger)
            if name in _NAMES:
                value: Any = alone._name(name, {name: text}, _nowhere)
            elif name == "viewpoint":
                value = alone._viewpoint({name: text}, _nowhere)
            else:
                value = alone._side(name, {name: text}, _nowhere)
            return value, len(ledger) == before

        return by_spelling(cells, read)

    def _times(self, cells: Mapping[str, Sequence[str]], count: int, plain: BoolArray) -> dict[str, Any]:
        """Return the columns of times; rows of which something is to be said leave ``plain``."""
        dates, timestamps = (read_times(cells.get(name, [""] * count)) for name in ("date", "timestamp"))
        simple = (dates.plain | ~dates.given) & (timestamps.plain | ~timestamps.given)
        for name in ("time", "year", "month", "day"):
            if name in cells:
                simple &= np.array([not cell.strip() for cell in cells[name]], bool)
        day = np.where(dates.plain, dates.day, timestamps.day)
        differ = dates.plain & timestamps.plain & (dates.day != timestamps.day)
        odd = (day > np.datetime64(self._today)) | (day < np.datetime64(dt.date(_FIRST_YEAR, 1, 1)))
        plain &= ~(simple & (differ | odd))
        stamp = np.where(np.isnat(timestamps.moment), dates.moment, timestamps.moment)
        found: dict[str, Any] = {name: day.astype("datetime64[s]") for name in ("date", "earliest", "latest")}
        found |= {"timestamp": stamp.astype("datetime64[s]"), "utc_offset": [None] * count}
        rows = np.flatnonzero(plain & ~simple).tolist()
        if rows:
            self._other_times(cells, rows, plain, found)
        return found

    def _other_times(
        self, cells: Mapping[str, Sequence[str]], rows: Sequence[int], plain: BoolArray, found: Mapping[str, Any]
    ) -> None:
        """Read the times of rows that write them in another way, each spelling once."""
        names = [name for name in DATE_FIELDS if name in cells]
        ledger = Problems(strict=False)
        alone = TableBuilder(self.root, ledger, _today=self._today)
        known: dict[tuple[str, ...], tuple[When | None, bool]] = {}
        for row in rows:
            texts = tuple(cells[name][row] for name in names)
            if texts not in known:
                before = len(ledger)
                when = alone._when(dict(zip(names, texts, strict=True)), _nowhere)
                known[texts] = when, len(ledger) == before
            when, good = known[texts]
            plain[row] = good
            for name in _DATES:
                found[name][row] = np.datetime64("NaT") if when is None else _second(getattr(when, name))
            found["utc_offset"][row] = None if when is None else when.utc_offset

    def __len__(self) -> int:
        return len(self.places)

    def table(self) -> pd.DataFrame:
        """Return what was collected, as columns of a catalogue."""
        self._take_rows()
        if not self._whole:
            return _frame_of_rows([])
        return self._whole[0] if len(self._whole) == 1 else pd.concat(self._whole, ignore_index=True)

    @property
    def canonical(self) -> bool:
        """Whether every name and id was plain text, so that it would be read as itself again."""
        return self._canonical and not self.rows

    def _take_rows(self) -> None:
        if self.rows:
            self._canonical = False
            self._whole.append(_frame_of_rows(self.rows))
            self.rows.clear()

    def compare_names(self, file: Path) -> None:
        """Warn of animals, encounters and species whose names differ so little that they may be meant for one."""
        table = self.table()
        for name in _NAMES:
            for alike in almost_the_same([value for value in dict.fromkeys(table[name]) if value is not None]):
                some = ", ".join(f"'{value}'" for value in alike[:4])
                self.problems.warning(
                    f"{some} are almost the same name and count as {len(alike)}",
                    file=file,
                    column=name,
                    hint="write one of them throughout if they are one",
                )

    def _path(self, path: str, folder: Path | None, where: dict[str, Any]) -> Path | None:
        try:
            full = self.resolve(path, folder)
        except ValueError as error:
            self.problems.error(
                str(error), **where, hint="move the photograph into the folder, or allow photographs from outside"
            )
            return None
        if not any(sign in path for sign in "\n\r") and exists(full):
            return full
        if any(sign in path for sign in "\n\r"):
            self.problems.warning("the path holds a line break; is a quote missing?", **where)
        other = self._files.other_spelling(full, self.root) if not exists(full) else None
        if other is None:
            return full  # whoever opens the photograph says that it is not there
        existing, certain = other
        if certain:
            self.problems.warning(
                f"the file's name is written in another Unicode form than the table's; {existing.name!a} is taken",
                **where,
            )
            return existing
        self.problems.warning(f"there is no such file, but '{existing.name}'; upper and lower case differ", **where)
        return full

    def _name(self, name: str, values: Mapping[str, Any], where: Callable[[str], dict[str, Any]]) -> str | None:
        try:
            text = name_or_none(values.get(name))
        except ValueError as error:
            self.problems.error(str(error), **where(name))
            return None
        if text is not None and is_shortened_number(text):
            self.problems.warning(
                f"'{text}' is a long number that a spreadsheet has cut short: several may have become one",
                **where(name),
                hint="format the column as text before it is saved",
            )
        if text is not None and any(sign in str(values.get(name)).strip() for sign in "\n\r"):
            self.problems.warning("the name holds a line break; is a quote missing?", **where(name))
        return text

    def _when(self, values: Mapping[str, Any], where: Callable[[str], dict[str, Any]]) -> When | None:
        when, errors, warnings = when_of({name: values[name] for name in DATE_FIELDS if name in values})
        for name, message in errors:
            self.problems.error(message, **where(name))
        for name, message in warnings:
            self.problems.warning(message, **where(name))
        if when is not None and (when.earliest > self._today or when.latest.year < _FIRST_YEAR):
            time = "in the future" if when.earliest > self._today else "before there were photographs"
            name = next(name for name in (*DATE_FIELDS, "date") if values.get(name))
            self.problems.warning(f"the date {when.earliest} lies {time}", **where(name))
        return when

    def _size(self, values: Mapping[str, Any], where: Callable[[str], dict[str, Any]]) -> tuple[int, int] | None:
        width, height = (self._side(name, values, where) for name in ("width", "height"))
        return None if width is None or height is None else (width, height)

    def _side(self, name: str, values: Mapping[str, Any], where: Callable[[str], dict[str, Any]]) -> int | None:
        try:
            return parse_size(values.get(name))
        except ValueError as error:
            self.problems.error(str(error), **where(name))
            return None

    def _box(
        self,
        values: Mapping[str, Any],
        size: tuple[int, int] | None,
        where: Callable[[str], dict[str, Any]],
        *,
        fractions: bool,
    ) -> Box | None:
        try:
            given = box_values(values)
            if given is None:
                return None
            box = from_fractions(given, size) if fractions and size is not None else parse_box(given, size)
        except ValueError as error:
            self.problems.error(str(error), **where("box"))
            return None
        return None if size is not None and box == (0, 0, *size) else box

    def _viewpoint(self, values: Mapping[str, Any], where: Callable[[str], dict[str, Any]]) -> str | None:
        try:
            viewpoint, understood = normalise_viewpoint(values.get("viewpoint"))
        except ValueError as error:
            self.problems.error(str(error), **where("viewpoint"))
            return None
        if not understood:
            self.problems.warning(
                f"the viewpoint '{viewpoint}' is not understood and kept as it is",
                **where("viewpoint"),
                hint=f"known ones: {', '.join(KNOWN_VIEWPOINTS)}; leave it empty where it is unknown",
            )
        return viewpoint


def _nowhere(name: str) -> dict[str, Any]:
    """Return no place: what is said of a single spelling is said again where it stands."""
    return {}


def _second(time: dt.date | dt.datetime | None) -> np.datetime64:
    return np.datetime64("NaT") if time is None else np.datetime64(time, "s")


def _frame_of_rows(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as columns of a catalogue."""
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _COLUMNS}
    # by way of NumPy: seconds hold any year, while pandas 2 would go through nanoseconds (1677 to 2262)
    return _frame(columns | {name: np.array(columns[name], dtype="datetime64[s]") for name in _DATES})


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return columns of lists, and of times, as a table."""
    objects = (*_OBJECTS, "photo_size", "utc_offset")
    ready: dict[str, Any] = {name: pd.Series(_objects(columns[name]), dtype=object) for name in objects}
    return pd.DataFrame(ready | {name: pd.Series(columns[name]) for name in _DATES})


def _objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    """Return an array of objects as they are: NumPy would unpack a list of tuples."""
    found = np.empty(len(values), object)
    found[:] = values
    return found
