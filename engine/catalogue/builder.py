"""The one way from the values of a source, whatever its format, to the rows of a catalogue's table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.catalogue.boxes import Box, box_values, from_fractions, parse_box
from engine.catalogue.dates import DATE_FIELDS, When, when_of
from engine.catalogue.fields import (
    KNOWN_VIEWPOINTS,
    is_shortened_number,
    likeness,
    name_or_none,
    normalise_viewpoint,
    parse_size,
    text_of,
)
from engine.catalogue.paths import NameFinder, exists, inside
from engine.catalogue.problems import Problems

_FIRST_YEAR = 1839  # of photography
_NAMES = ("individual_id", "encounter_id", "species")
_DATES = ("date", "timestamp", "earliest", "latest")

Place = tuple[Path, int | None]
"""(file, line) where something stands; line None where lines have no meaning."""


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
    places: list[Place] = field(default_factory=list)
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

    def table(self) -> pd.DataFrame:
        """Return what was collected, as columns of a catalogue."""
        names = ["image_id", "path", "individual_id", "viewpoint", "date", "timestamp", "encounter_id", "width"]
        names += ["height", "box", "species", "photo_size", "earliest", "latest", "utc_offset"]
        table = pd.DataFrame({name: pd.Series([row[name] for row in self.rows], dtype=object) for name in names})
        for name in _DATES:
            # by way of NumPy: seconds hold any year, while pandas 2 would go through nanoseconds (1677 to 2262)
            table[name] = pd.Series(np.array([row[name] for row in self.rows], dtype="datetime64[s]"))
        return table

    def compare_names(self, file: Path) -> None:
        """Warn of animals, encounters and species whose names differ so little that they may be meant for one."""
        for name in _NAMES:
            spellings: dict[str, list[str]] = {}
            for value in dict.fromkeys(row[name] for row in self.rows if row[name] is not None):
                spellings.setdefault(likeness(value), []).append(value)
            for alike in spellings.values():
                if len(alike) > 1:
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
