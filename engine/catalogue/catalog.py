"""Photographs and what is known of them: one table, whatever the source."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.catalogue.collector import no_collection
from engine.catalogue.dates import When, parse_when
from engine.catalogue.encounters import CandidateKeys, derive_encounters, same_encounter
from engine.catalogue.fields import name_or_none, normalise_viewpoint, text_of
from engine.catalogue.filters import CandidateFilter, FilterReport
from engine.catalogue.formats import read_catalog
from engine.catalogue.paths import photo_files, real_path
from engine.catalogue.problems import CatalogError
from engine.catalogue.summary import CatalogSummary, summary_of
from engine.catalogue.text_columns import plain_names

__all__ = [
    "COLUMNS",
    "CandidateFilter",
    "Catalog",
    "CatalogError",
    "CatalogSummary",
    "FilterReport",
    "derive_encounters",
    "same_encounter",
]

COLUMNS = (
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
    "photo_size",
    "earliest",
    "latest",
    "utc_offset",
)
"""The columns of every catalogue's table, in this order."""

_IDS = ("image_id", "path")
_NAMES = ("individual_id", "viewpoint", "encounter_id", "species")
_DAYS = ("date", "earliest", "latest")
_READ = (*_IDS, *_NAMES, "box", "photo_size")


@dataclass(frozen=True, eq=False)
class Catalog:
    """Photographs and what is known of them.

    Attributes:
        table: one row per photograph, RangeIndex, the columns :data:`COLUMNS`: image_id (str, unique), path (str,
            absolute), individual_id, viewpoint ("top", "left", "right", another word), encounter_id, species (str, or
            None where not known), date (datetime64, midnight, or NaT), timestamp (datetime64 or NaT), width and height
            (Int64, or NA: pixels of the photograph as it is used, upright and after the box), box ((x, y, width,
            height) in whole pixels of the upright photograph, or None). Copied when the catalogue is made; treat it as
            read-only.
        root: the folder it was read from.
        source: the format it was read from ("challenge", "coco", "megadetector", "happywhale", "csv", "folders",
            "photos", "table").

    Raises:
        CatalogError: image_id or path is missing, or two rows share an image_id.
    """

    table: pd.DataFrame
    root: Path
    source: str = "table"

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _normalise(self.table))
        object.__setattr__(self, "root", Path(self.root))

    @classmethod
    def read(cls, path: Path | str, format: str = "auto", *, allow_outside: bool = False) -> Catalog:
        """Read a catalogue in any of the supported formats (see :mod:`engine.catalogue.formats`).

        Args:
            path: a folder, a CSV or a COCO JSON file.
            format: "auto" or one of :data:`engine.catalogue.formats.FORMATS`.
            allow_outside: accept photographs whose path leads out of the catalogue's folder.

        Raises:
            CatalogError: on the first thing that makes the catalogue unusable. Photographs are not opened
                (:func:`engine.catalogue.check.check_catalog` does).
        """
        with no_collection():
            reading = read_catalog(Path(path), format=format, allow_outside=allow_outside)
            reading.problems.log()
            if not reading.canonical:
                return cls(reading.table, reading.root, reading.source)
            return cls._made(_normalise(reading.table, canonical=True), Path(reading.root), reading.source)

    @classmethod
    def _made(cls, table: pd.DataFrame, root: Path, source: str) -> Catalog:
        """Return the catalogue of a table whose rows are as they must be: nothing to check or convert again."""
        found = object.__new__(cls)
        for name, value in (("table", table), ("root", root), ("source", source)):
            object.__setattr__(found, name, value)
        return found

    @classmethod
    def from_photos(
        cls,
        paths: Iterable[Path | str],
        viewpoint: str | None = None,
        date: dt.date | str | None = None,
        *,
        avoid: Collection[str] = (),
    ) -> Catalog:
        """Make a catalogue of loose photographs, for instance queries.

        Args:
            paths: files; a folder stands for the photographs in it (not in its sub-folders). A file that is named
                twice counts once.
            viewpoint, date: the same for all, None = unknown; the date may be a month or a year.
            avoid: ids that must not be given (those of the catalogue to be searched: ``IMG_0001`` is a common name).

        Returns:
            A catalogue whose image_id is the file's stem, made unique with ``-2``, ``-3`` …

        Raises:
            CatalogError: no photograph given, a file does not exist, or the date cannot be read.
        """
        files = photo_files(paths)
        when = when_given(date)
        taken = set(avoid)
        table = pd.DataFrame([{"image_id": _unique(file.stem, taken), "path": str(file.absolute())} for file in files])
        table["viewpoint"] = normalise_viewpoint(viewpoint)[0]
        for name in _DAYS:
            table[name] = pd.NaT if when is None else pd.Timestamp(getattr(when, name))
        return cls(table, files[0].absolute().parent, "photos")

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return f"Catalog({len(self):,} photographs, source={self.source!r}, root={str(self.root)!r})"

    @property
    def ids(self) -> list[str]:
        """The image ids, in the order of the table."""
        return self.table["image_id"].tolist()

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        return {image_id: position for position, image_id in enumerate(self.table["image_id"])}

    @cached_property
    def _rows_of_file(self) -> Mapping[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for position, path in enumerate(self.table["path"]):
            rows.setdefault(real_path(path), []).append(position)
        return rows

    def rows_of(self, path: Path | str) -> list[int]:
        """Return the row numbers of a file, by whatever path it is named: one for each animal in it, or none."""
        return list(self._rows_of_file.get(real_path(path), []))

    @cached_property
    def keys(self) -> CandidateKeys:
        """The columns that filters ask for, as plain arrays (made once)."""
        return CandidateKeys.of(self.table)

    def position(self, image_id: str) -> int:
        """Return the row number of a photograph.

        Raises:
            KeyError: there is no such id.
        """
        try:
            return self._positions[image_id]
        except KeyError:
            raise KeyError(f"no photograph {image_id!r} in the catalogue {self.root}") from None

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._positions

    def row(self, image_id: str) -> pd.Series:
        """Return one photograph's row (KeyError if there is none)."""
        return self.table.iloc[self.position(image_id)]

    def subset(self, ids: Iterable[str]) -> Catalog:
        """Return the catalogue of these photographs, in the order given (KeyError if one is not there)."""
        return self.take([self.position(image_id) for image_id in ids])

    def take(self, positions: Iterable[int]) -> Catalog:
        """Return the catalogue of the photographs at these row numbers, in the order given."""
        return Catalog._made(self.table.iloc[list(positions)].reset_index(drop=True), self.root, self.source)

    def filter(self, candidates: CandidateFilter) -> tuple[Catalog, FilterReport]:
        """Apply the rules that hold for every query.

        Returns:
            The catalogue of the candidates left, and the counts. The rules that depend on the query (itself, its
            encounter) are :meth:`CandidateFilter.mask_for`.
        """
        kept, report = candidates.apply(self.table)
        return self.take(kept.nonzero()[0]), report

    def summary(self) -> CatalogSummary:
        """Return what is in the catalogue, in numbers."""
        return summary_of(self.table)


def when_given(date: dt.date | str | None) -> When | None:
    """Return what a person's date means: a day, or text that may also be a month or a year.

    Raises:
        CatalogError: the text cannot be read.
    """
    if date is None:
        return None
    try:
        return parse_when(date) if isinstance(date, str) else When(date, date)
    except ValueError as error:
        raise CatalogError(str(error)) from None


def _typed(name: str, given: pd.Series) -> pd.Series:
    """Return a column in its type; ValueError, TypeError or OverflowError where a value has none."""
    if name in _IDS or name in _NAMES:
        return pd.Series(_texts(given.tolist(), name_or_none if name in _NAMES else _id_or_none), dtype=object)
    if name in ("box", "photo_size"):
        tuples = np.empty(len(given), dtype=object)  # filled one by one: NumPy would unpack a list of tuples
        for position, sides in enumerate(given):
            tuples[position] = tuple(map(int, sides)) if isinstance(sides, tuple | list) else None
        return pd.Series(tuples)
    if name in ("width", "height"):
        return pd.to_numeric(given).astype("Int64")
    if name == "utc_offset":
        return pd.to_numeric(given).astype("Float64")
    times = pd.to_datetime(given).astype("datetime64[s]")
    return times.dt.normalize() if name in _DAYS else times


def _texts(values: list[Any], read: Callable[[Any], str | None]) -> list[str | None]:
    """Return what the values of a column mean; most are text, of which each spelling is read once."""
    missing = np.fromiter((value is None or value is pd.NA or value is pd.NaT for value in values), bool, len(values))
    given = values if not missing.any() else [values[row] for row in np.flatnonzero(~missing).tolist()]
    if set(map(type, given)) <= {str}:
        meanings = (plain_names if read is name_or_none else _plain_ids)(given)
        if meanings is None:
            known = {text: read(text) for text in dict.fromkeys(given)}
            meanings = list(map(known.__getitem__, given))
    else:
        meanings = list(map(read, given))
    if len(meanings) == len(values):
        return meanings
    found: list[str | None] = [None] * len(values)
    for row, meaning in zip(np.flatnonzero(~missing).tolist(), meanings, strict=True):
        found[row] = meaning
    return found


def _plain_ids(texts: Sequence[str]) -> list[str | None] | None:
    """Return what printable texts mean as ids; None where one of them is not printable."""
    return [text.strip() or None for text in texts] if "".join(texts).isprintable() else None


def _id_or_none(value: object) -> str | None:
    return text_of(value) or None


def _unique(stem: str, taken: set[str]) -> str:
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _normalise(table: pd.DataFrame, canonical: bool = False) -> pd.DataFrame:
    """Return a new table with exactly the catalogue's columns and types; the caller's stays as it is.

    Args:
        table: what is known of photographs.
        canonical: a reader found that ids are there, each once, and that they, names and boxes are as they must be.
    """
    missing = [name for name in ("image_id", "path") if name not in table.columns]
    if missing:
        raise CatalogError(
            f"the table has no column {' and '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    columns: dict[str, pd.Series] = {}
    for name in COLUMNS:
        given = table[name].reset_index(drop=True) if name in table.columns else pd.Series([None] * len(table))
        try:
            columns[name] = given if canonical and name in _READ else _typed(name, given)
        except (ValueError, TypeError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise CatalogError(f"column {name!r} of the table: {reason}") from error
    columns["date"] = columns["date"].fillna(columns["timestamp"].dt.normalize())
    # a day is its own first and last; without it, one day alone is what is left of a date that was taken away
    stale = columns["date"].isna() & (columns["earliest"] == columns["latest"])
    for name in ("earliest", "latest"):
        columns[name] = columns["date"].fillna(columns[name].mask(stale))
    result = pd.DataFrame(columns, index=pd.RangeIndex(len(table)))
    if canonical:
        return result
    for name in ("image_id", "path"):
        if result[name].isna().any():
            raise CatalogError(f"row {int(result[name].isna().argmax())} of the table has no {name}")
    twice = result["image_id"][result["image_id"].duplicated()]
    if len(twice):
        raise CatalogError(f"image_id {twice.iloc[0]!r} occurs more than once; ids must be unique")
    return result
