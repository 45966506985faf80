"""Photographs and what is known of them: one table, whatever the source."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.catalogue.fields import normalise_viewpoint, parse_date
from engine.catalogue.filters import CandidateFilter, CandidateKeys, FilterReport, derive_encounters, same_encounter
from engine.catalogue.problems import CatalogError
from features.photo_formats import is_photo

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
)
"""The columns of every catalogue's table, in this order."""

_TEXT = ("image_id", "path", "individual_id", "viewpoint", "encounter_id", "species")


@dataclass(frozen=True)
class CatalogSummary:
    """What is in a catalogue, in numbers.

    Attributes:
        photographs, individuals, encounters: counts (of the known ones).
        unlabelled: photographs without an individual.
        first_date, last_date: ISO dates, None where no date is known.
        undated: photographs without a date.
        viewpoints: viewpoint -> photographs; "unknown" for those without one.
        species: species -> photographs (empty where none is known).
        per_individual: photographs per individual: min, 25 %, median, 75 %, max (empty without labels).
        single: individuals with one photograph only.
    """

    photographs: int
    individuals: int
    encounters: int
    unlabelled: int
    first_date: str | None
    last_date: str | None
    undated: int
    viewpoints: dict[str, int]
    species: dict[str, int]
    per_individual: dict[str, float]
    single: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return dict(self.__dict__)

    def __str__(self) -> str:
        lines = [
            f"{self.photographs:,} photographs, {self.individuals:,} individuals, {self.encounters:,} encounters",
        ]
        if self.unlabelled:
            lines.append(f"{self.unlabelled:,} photographs without an individual")
        span = f"{self.first_date} to {self.last_date}" if self.first_date else "none known"
        lines.append(f"dates: {span}" + (f" ({self.undated:,} undated)" if self.undated and self.first_date else ""))
        lines.append("viewpoints: " + ", ".join(f"{view} {count:,}" for view, count in self.viewpoints.items()))
        if self.species:
            lines.append("species: " + ", ".join(f"{name} {count:,}" for name, count in self.species.items()))
        if self.per_individual:
            spread = ", ".join(f"{name} {value:g}" for name, value in self.per_individual.items())
            lines.append(f"photographs per individual: {spread} ({self.single:,} individuals with one only)")
        return "\n".join(lines)


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
        source: the format it was read from ("challenge", "coco", "happywhale", "csv", "folders", "photos", "table").

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
            format: "auto", "challenge", "coco", "happywhale", "csv" or "folders".
            allow_outside: accept photographs whose path leads out of the catalogue's folder.

        Raises:
            CatalogError: on the first thing that makes the catalogue unusable. Photographs are not opened
                (:func:`engine.catalogue.check.check_catalog` does).
        """
        from engine.catalogue.formats import read_catalog

        reading = read_catalog(Path(path), format=format, allow_outside=allow_outside)
        reading.problems.log()
        return cls(reading.table, reading.root, reading.source)

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
            paths: files; a folder stands for the photographs in it (not in its sub-folders).
            viewpoint, date: the same for all, None = unknown.
            avoid: ids that must not be given (those of the catalogue to be searched: ``IMG_0001`` is a common name).

        Returns:
            A catalogue whose image_id is the file's stem, made unique with ``-2``, ``-3`` …

        Raises:
            CatalogError: no photograph given, a file does not exist, or the date cannot be read.
        """
        files: list[Path] = []
        for path in map(Path, paths):
            if path.is_dir():
                files += sorted(child for child in path.iterdir() if child.is_file() and is_photo(child))
            elif path.is_file():
                files.append(path)
            else:
                raise CatalogError(f"{path}: no such photograph")
        if not files:
            raise CatalogError("no photographs given; name at least one file, or a folder that holds some")
        try:
            day = parse_date(date)[0] if isinstance(date, str) else date
        except ValueError as error:
            raise CatalogError(str(error)) from None
        taken = set(avoid)
        table = pd.DataFrame([{"image_id": _unique(file.stem, taken), "path": str(file.absolute())} for file in files])
        table["viewpoint"] = normalise_viewpoint(viewpoint)[0]
        table["date"] = pd.Timestamp(day) if day is not None else pd.NaT
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
        return Catalog(self.table.iloc[list(positions)], self.root, self.source)

    def filter(self, candidates: CandidateFilter) -> tuple[Catalog, FilterReport]:
        """Apply the rules that hold for every query.

        Returns:
            The catalogue of the candidates left, and the counts. The rules that depend on the query (itself, its
            encounter) are :meth:`CandidateFilter.mask_for`.
        """
        kept, report = candidates.apply(self.table)
        return self.take(kept.nonzero()[0]), report

    def with_sizes(self) -> Catalog:
        """Return the catalogue with unknown sizes read from the files' headers (those of unreadable files stay NA)."""
        from features.photo import PhotoError, image_size

        sizes = []
        for path, box, width, height in zip(*(self.table[c] for c in ("path", "box", "width", "height")), strict=True):
            size = (width, height)
            if box is not None:
                size = box[2:]
            elif pd.isna(width) or pd.isna(height):
                with contextlib.suppress(PhotoError):
                    size = image_size(Path(path))
            sizes.append(size)
        table = self.table.assign(width=[width for width, _ in sizes], height=[height for _, height in sizes])
        return Catalog(table, self.root, self.source)

    def summary(self) -> CatalogSummary:
        """Return what is in the catalogue, in numbers."""
        table = self.table
        counts = table["individual_id"].dropna().value_counts()
        quantiles = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}
        dates = table["date"].dropna()
        views = table["viewpoint"].fillna("unknown").value_counts()
        return CatalogSummary(
            photographs=len(table),
            individuals=len(counts),
            encounters=int(table["encounter_id"].nunique()),
            unlabelled=int(table["individual_id"].isna().sum()),
            first_date=None if dates.empty else dates.min().date().isoformat(),
            last_date=None if dates.empty else dates.max().date().isoformat(),
            undated=int(table["date"].isna().sum()),
            viewpoints={str(view): int(count) for view, count in views.items()},
            species={str(name): int(count) for name, count in table["species"].dropna().value_counts().items()},
            per_individual={k: float(counts.quantile(q)) for k, q in quantiles.items()} if len(counts) else {},
            single=int((counts == 1).sum()),
        )


def _unique(stem: str, taken: set[str]) -> str:
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _normalise(table: pd.DataFrame) -> pd.DataFrame:
    """Return a new table with exactly the catalogue's columns and types; the caller's stays as it is."""
    missing = [name for name in ("image_id", "path") if name not in table.columns]
    if missing:
        raise CatalogError(
            f"the table has no column {' and '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    columns: dict[str, pd.Series] = {}
    for name in COLUMNS:
        given = table[name].reset_index(drop=True) if name in table.columns else pd.Series([None] * len(table))
        if name in _TEXT:
            columns[name] = pd.Series([None if v is None or pd.isna(v) else str(v) for v in given], dtype=object)
        elif name == "box":
            boxes = np.empty(len(table), dtype=object)  # filled one by one: NumPy would unpack a list of tuples
            for position, box in enumerate(given):
                boxes[position] = tuple(int(side) for side in box) if isinstance(box, tuple | list) else None
            columns[name] = pd.Series(boxes)
        elif name in ("width", "height"):
            columns[name] = pd.to_numeric(given).astype("Int64")
        else:
            times = pd.to_datetime(given).astype("datetime64[s]")
            columns[name] = times.dt.normalize() if name == "date" else times
    columns["date"] = columns["date"].fillna(columns["timestamp"].dt.normalize())
    result = pd.DataFrame(columns, index=pd.RangeIndex(len(table)))
    for name in ("image_id", "path"):
        if result[name].isna().any():
            raise CatalogError(f"row {int(result[name].isna().argmax())} of the table has no {name}")
    twice = result["image_id"][result["image_id"].duplicated()]
    if len(twice):
        raise CatalogError(f"image_id {twice.iloc[0]!r} occurs more than once; ids must be unique")
    return result
