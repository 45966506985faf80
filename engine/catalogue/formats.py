"""Catalogues as they are found on disk, read into one table.

* ``challenge``: a folder with ``metadata.csv`` (image_id, path, …) as "Where's Whale-do?" publishes it; the columns
  timestamp, whale_id and encounter_id may be missing (the test set's table).
* ``coco``: a JSON file, or a folder that holds one, as LILA and Wildbook publish it (see :mod:`engine.catalogue.coco`).
* ``megadetector``: a detector's JSON file, with boxes as fractions (see :mod:`engine.catalogue.megadetector`).
* ``happywhale``: a folder with ``train.csv`` (image, species, individual_id) and ``train_images/``, or with
  ``test_images/`` alone.
* ``csv``: a CSV or TSV file, or a folder that holds exactly one, with any column that names the photograph; the other
  columns by synonyms (:data:`engine.catalogue.columns.SYNONYMS`).
* ``folders``: a folder with one sub-folder of photographs per individual, or with photographs only (then without
  individuals).

A file and the folder that holds it are read alike. Photographs are not opened, except that a detector's fractions need
their sizes. Every reader takes a ledger of problems: a strict one raises on the first error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from engine.catalogue.builder import Place, TableBuilder
from engine.catalogue.coco import find_coco, looks_like_coco, read_coco
from engine.catalogue.columns import match_columns
from engine.catalogue.encounters import derive_encounters
from engine.catalogue.megadetector import find_megadetector, looks_like_megadetector, read_megadetector
from engine.catalogue.paths import photos_in
from engine.catalogue.problems import CatalogError, Problem, Problems
from engine.catalogue.readers import (
    folders_in,
    read_challenge,
    read_folders,
    read_happywhale,
    read_plain_csv,
    table_of,
    tables_in,
)
from engine.catalogue.tables import read_header
from features.photo_formats import is_photo

FORMATS = ("challenge", "coco", "megadetector", "happywhale", "csv", "folders")

_READERS: dict[str, Callable[[Path, TableBuilder], None]] = {
    "challenge": read_challenge,
    "coco": read_coco,
    "megadetector": read_megadetector,
    "happywhale": read_happywhale,
    "csv": read_plain_csv,
    "folders": read_folders,
}
_HAPPYWHALE_FIELDS = {"path", "individual_id", "species"}


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader found.

    Attributes:
        table: columns of a catalogue.
        root: the folder that paths were resolved in.
        source: the format.
        places: (file, line) of each row; line None where lines have no meaning.
        problems: what was noted.
        canonical: every name and id of the table is in the one form that a catalogue has.
    """

    table: pd.DataFrame
    root: Path
    source: str
    places: list[Place]
    problems: Problems
    canonical: bool = False


def read_catalog(
    path: Path, format: str = "auto", *, allow_outside: bool = False, problems: Problems | None = None
) -> Reading:
    """Read a catalogue.

    Args:
        path: a folder, or the table itself.
        format: one of :data:`FORMATS`, or "auto" to find out.
        allow_outside: accept photographs whose path leads out of the catalogue's folder.
        problems: the ledger; a strict one by default.

    Raises:
        CatalogError: the path does not exist or holds none of the formats; with a strict ledger, any error.
    """
    path = Path(path)
    if format not in ("auto", *FORMATS):
        raise CatalogError(f"there is no format {format!r}; known ones: auto, {', '.join(FORMATS)}")
    ledger = problems if problems is not None else Problems(strict=True)
    try:
        if not path.exists():
            raise CatalogError(Problem("error", "no such file or folder", str(path)))
        source = sniff(path) if format == "auto" else format
        root = path if path.is_dir() else path.parent
        builder = TableBuilder(root.absolute(), ledger, allow_outside)
        _READERS[source](path, builder)
    except OSError as error:
        place = str(error.filename) if error.filename else str(path)
        raise CatalogError(Problem("error", f"cannot be read: {error.strerror or error}", place)) from error
    if not len(builder):
        ledger.error("the catalogue holds no photographs", file=path, hint=f"read as format '{source}'")
    builder.compare_names(path)
    table = builder.table()
    if table["encounter_id"].isna().all():
        table["encounter_id"] = derive_encounters(table)
    return Reading(table, builder.root, source, builder.places, ledger, builder.canonical)


def sniff(path: Path) -> str:
    """Return the format of a file or folder.

    Raises:
        CatalogError: it is none of them; the message lists what was looked for.
    """
    if path.is_file():
        return _sniff_file(path)
    if _sniff_table(path / "metadata.csv") == "challenge":
        return "challenge"
    if find_coco(path):
        return "coco"
    train = path / "train.csv"
    if _sniff_table(train) == "happywhale" or (not train.is_file() and (path / "test_images").is_dir()):
        return "happywhale"
    table = table_of(path)
    if table is not None:
        return _sniff_table(table)
    if find_megadetector(path):
        return "megadetector"
    if any(is_photo(child) for child in path.iterdir()) or any(photos_in(folder) for folder in folders_in(path)):
        return "folders"
    found = ", ".join(file.name for file in tables_in(path)) or "none"
    raise CatalogError(
        Problem(
            "error",
            "no catalogue found. Looked for: metadata.csv with the columns image_id and path (challenge); a JSON file "
            "with images and annotations, here or in annotations/ (COCO), or with images and detections "
            "(MegaDetector); train.csv with the columns image and individual_id, or test_images/ (Happywhale); exactly "
            f"one CSV file (found: {found}); photographs, here or in sub-folders named by individual",
            str(path),
            hint="name the table itself, or say the format",
        )
    )


def _sniff_file(path: Path) -> str:
    if path.suffix.lower() == ".json":
        return "megadetector" if looks_like_megadetector(path) and not looks_like_coco(path) else "coco"
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _sniff_table(path)
    hint = "give the folder it lies in" if is_photo(path) else "give a folder, a .csv, .tsv or COCO .json file"
    raise CatalogError(Problem("error", "is not a catalogue", str(path), hint=hint))


def _sniff_table(file: Path) -> str:
    """Return the format of a table by its name and header; a published one only if no known column is lost by it."""
    header = read_header(file)
    if file.name == "metadata.csv" and {"image_id", "path"} <= set(header):
        return "challenge"
    known = set(match_columns(header))
    if file.name == "train.csv" and {"image", "individual_id"} <= set(header) and known <= _HAPPYWHALE_FIELDS:
        return "happywhale"
    return "csv"
