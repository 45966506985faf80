"""Catalogues as they are found on disk, read into one table.

* ``challenge``: a folder with ``metadata.csv`` (image_id, path, …) as "Where's Whale-do?" publishes it; the columns
  timestamp, whale_id and encounter_id may be missing (the test set's table).
* ``coco``: a JSON file, or a folder that holds one, as LILA and Wildbook publish it (see :mod:`engine.catalogue.coco`).
* ``happywhale``: a folder with ``train.csv`` (image, species, individual_id) and ``train_images/``, or with
  ``test_images/`` alone.
* ``csv``: a CSV or TSV file, or a folder that holds exactly one, with any column that names the photograph; the other
  columns by synonyms (:data:`SYNONYMS`).
* ``folders``: a folder with one sub-folder of photographs per individual, or with photographs only (then without
  individuals).

Nothing here opens a photograph. Every reader takes a ledger of problems: a strict one raises on the first error.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from engine.catalogue.filters import derive_encounters
from engine.catalogue.problems import CatalogError, Problem, Problems
from engine.catalogue.tables import TableBuilder, TextTable, read_header, read_text_table
from features.photo_formats import is_photo

FORMATS = ("challenge", "coco", "happywhale", "csv", "folders")

CHALLENGE_COLUMNS = {
    "image_id": "image_id",
    "path": "path",
    "individual_id": "whale_id",
    "viewpoint": "viewpoint",
    "date": "date",
    "timestamp": "timestamp",
    "encounter_id": "encounter_id",
    "width": "width",
    "height": "height",
}

SYNONYMS = {
    "path": "path image_path file_path filepath file_name filename file image photo photograph picture",
    "image_id": "image_id photo_id id",
    "individual_id": "individual_id individual whale_id animal_id identity whale animal name",
    "viewpoint": "viewpoint view side orientation aspect",
    "date": "date day date_captured captured",
    "timestamp": "timestamp datetime date_time time",
    "encounter_id": "encounter_id encounter sighting_id sighting",
    "species": "species",
    "width": "width image_width",
    "height": "height image_height",
    "box": "bbox box bounding_box",
    "box_x": "x bbox_x box_x x_min left_edge",
    "box_y": "y bbox_y box_y y_min top_edge",
    "box_w": "w bbox_w box_w bbox_width box_width",
    "box_h": "h bbox_h box_h bbox_height box_height",
}
"""Names that a plain CSV may use for a field, in the order of preference (case, spaces and hyphens do not matter)."""

HAPPYWHALE_SPECIES = {
    "bottlenose_dolpin": "bottlenose_dolphin",
    "kiler_whale": "killer_whale",
    "pilot_whale": "short_finned_pilot_whale",
    "globis": "short_finned_pilot_whale",
}
"""Species names of the Happywhale set that are misspelt, or doubles of another, and what they are read as: two
spellings and two names of pilot whales, put right as is usual among those who use the set."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a reader found.

    Attributes:
        table: columns of a catalogue.
        root: the folder that paths were resolved in.
        source: the format.
        places: (file, line) of each row; line None where lines have no meaning.
        photo_sizes: (width, height) of each whole photograph as the source states it, None where it does not.
        problems: what was noted.
    """

    table: pd.DataFrame
    root: Path
    source: str
    places: list[tuple[Path, int | None]]
    photo_sizes: list[tuple[int, int] | None]
    problems: Problems


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
    from engine.catalogue.coco import read_coco

    path = Path(path)
    if format not in ("auto", *FORMATS):
        raise CatalogError(f"there is no format {format!r}; known ones: auto, {', '.join(FORMATS)}")
    if not path.exists():
        raise CatalogError(Problem("error", "no such file or folder", str(path)))
    ledger = problems if problems is not None else Problems(strict=True)
    source = sniff(path) if format == "auto" else format
    root = path if path.is_dir() else path.parent
    builder = TableBuilder(root.absolute(), ledger, allow_outside)
    readers: dict[str, Callable[[Path, TableBuilder], None]] = {
        "challenge": read_challenge,
        "coco": read_coco,
        "happywhale": read_happywhale,
        "csv": read_plain_csv,
        "folders": read_folders,
    }
    readers[source](path, builder)
    if not builder.rows:
        ledger.error("the catalogue holds no photographs", file=path, hint=f"read as format '{source}'")
    table = builder.table()
    if table["encounter_id"].isna().all():
        table["encounter_id"] = derive_encounters(table)
    return Reading(table, builder.root, source, builder.places, builder.photo_sizes, ledger)


def sniff(path: Path) -> str:
    """Return the format of a file or folder.

    Raises:
        CatalogError: it is none of them; the message lists what was looked for.
    """
    if path.is_file():
        return _sniff_file(path)
    if "image_id" in read_header(path / "metadata.csv"):
        return "challenge"
    if find_coco(path):
        return "coco"
    if "individual_id" in read_header(path / "train.csv") or (path / "test_images").is_dir():
        return "happywhale"
    if len(_csv_files(path)) == 1:
        return "csv"
    if any(is_photo(child) for child in path.iterdir()) or any(_photos_in(folder) for folder in _folders(path)):
        return "folders"
    tables = ", ".join(file.name for file in _csv_files(path)) or "none"
    raise CatalogError(
        Problem(
            "error",
            "no catalogue found. Looked for: metadata.csv with a column image_id (challenge); a JSON file with "
            "images and annotations, here or in annotations/ (COCO); train.csv with a column individual_id, or "
            f"test_images/ (Happywhale); exactly one CSV file (found: {tables}); photographs, here or in sub-folders "
            "named by individual",
            str(path),
            hint="name the table itself, or say the format",
        )
    )


def _sniff_file(path: Path) -> str:
    if path.suffix.lower() == ".json":
        return "coco"
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        header = read_header(path)
        if path.name == "metadata.csv" and {"image_id", "path"} <= set(header):
            return "challenge"
        return "happywhale" if {"image", "species", "individual_id"} <= set(header) else "csv"
    hint = "give the folder it lies in" if is_photo(path) else "give a folder, a .csv, .tsv or COCO .json file"
    raise CatalogError(Problem("error", "is not a catalogue", str(path), hint=hint))


def read_challenge(path: Path, builder: TableBuilder) -> None:
    """Read ``metadata.csv`` of the challenge; columns that the test set lacks may be missing."""
    table = read_text_table(path if path.is_file() else path / "metadata.csv", builder.problems)
    columns = {name: column for name, column in CHALLENGE_COLUMNS.items() if column in table.columns}
    if not _has(table, ["image_id", "path"], builder.problems):
        return
    for row, line in zip(table.rows, table.lines, strict=True):
        builder.add({name: row[column] for name, column in columns.items()}, table.file, line, columns)


def read_happywhale(path: Path, builder: TableBuilder) -> None:
    """Read Happywhale's ``train.csv`` with ``train_images/`` (or photographs beside it), or a bare ``test_images/``."""
    file = path if path.is_file() else path / "train.csv"
    if not file.is_file():
        for photo in _photos_in(path / "test_images"):
            builder.add({"image_id": photo.name, "path": str(photo.absolute())}, path / "test_images", None)
        return
    table = read_text_table(file, builder.problems)
    if not _has(table, ["image", "individual_id"], builder.problems):
        return
    columns = {"image_id": "image", "path": "image", "individual_id": "individual_id", "species": "species"}
    columns = {name: column for name, column in columns.items() if column in table.columns}
    folder = builder.root / "train_images"
    if not folder.is_dir():
        folder = builder.root
    for row, line in zip(table.rows, table.lines, strict=True):
        values = {name: row[column] for name, column in columns.items()}
        species = values.get("species", "").strip()
        values["species"] = HAPPYWHALE_SPECIES.get(species, species)
        builder.add(values, table.file, line, columns, folder)


def read_plain_csv(path: Path, builder: TableBuilder) -> None:
    """Read any table with a column that names the photograph; the other columns by :data:`SYNONYMS`.

    Without a column for ids, the path's stem is the id where stems are unique, the path itself otherwise. Relative
    paths start from the table's folder, or from its sub-folder ``images`` if the first photograph lies there.
    """
    if path.is_dir():
        files = _csv_files(path)
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            builder.problems.error(f"the folder must hold exactly one CSV file; found: {found}", file=path)
            return
        path = files[0]
    table = read_text_table(path, builder.problems)
    columns = match_columns(table.columns)
    if "path" not in columns:
        builder.problems.error(
            f"no column names the photographs; the columns are: {', '.join(table.columns) or 'none'}",
            file=path,
            line=1,
            hint=f"name one of them {', '.join(SYNONYMS['path'].split())}",
        )
        return
    paths = [row[columns["path"]].strip() for row in table.rows]
    ids = paths
    if "image_id" in columns:
        ids = [row[columns["image_id"]] for row in table.rows]
    elif len({Path(text).stem for text in paths}) == len(set(paths)):
        ids = [Path(text).stem for text in paths]
    first = next((text for text in paths if text), "")
    images = builder.root / "images"
    folder = images if not (builder.root / first).exists() and (images / first).exists() else builder.root
    for row, line, image_id in zip(table.rows, table.lines, ids, strict=True):
        values: dict[str, object] = {name: row[column] for name, column in columns.items()}
        values |= {"image_id": image_id, "box": _box_of(values)}
        builder.add(values, path, line, {"image_id": columns["path"], "box": "x, y, w, h", **columns}, folder)


def match_columns(names: list[str]) -> dict[str, str]:
    """Return field -> column for the columns of a plain CSV whose meaning is known.

    ``id`` names the photograph where another column names the individual, and the individual otherwise.
    """
    plain = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in reversed(names)}
    columns: dict[str, str] = {}
    for field_name, words in SYNONYMS.items():
        found = next((plain[word] for word in words.split() if word in plain), None)
        if found is not None and found not in columns.values():
            columns[field_name] = found
    if columns.get("image_id") == plain.get("id") and "id" in plain and "individual_id" not in columns:
        columns["individual_id"] = columns.pop("image_id")
    return columns


def read_folders(path: Path, builder: TableBuilder) -> None:
    """Read ``root/INDIVIDUAL/photograph``; photographs right in the root belong to no known individual.

    Deeper folders are left out with a warning. The id is the file's stem where stems are unique, otherwise the
    path from the root.
    """
    if not path.is_dir():
        builder.problems.error("is not a folder", file=path)
        return
    photos = [(photo, None) for photo in _photos_in(path)]
    found: list[tuple[Path, str | None]] = list(photos)
    for folder in _folders(path):
        if not any(folder.iterdir()):
            builder.problems.warning("the folder is empty", file=folder)
        found += [(photo, folder.name) for photo in _photos_in(folder)]
        deeper = [child for child in _folders(folder) if any(is_photo(p) for p in child.rglob("*"))]
        if deeper:
            builder.problems.warning(
                f"photographs in deeper folders are left out ({', '.join(child.name for child in deeper[:5])})",
                file=folder,
                hint="one level of folders, named by individual, is read",
            )
    unique = len({photo.stem for photo, _ in found}) == len(found)
    for photo, individual in found:
        relative = photo.relative_to(path).as_posix()
        values = {"image_id": photo.stem if unique else relative, "path": relative, "individual_id": individual}
        builder.add(values, photo, None)


def find_coco(folder: Path) -> list[Path]:
    """Return the COCO JSON files in a folder or its ``annotations`` (also below one folder named ``*.coco``)."""
    places = [folder, folder / "annotations"]
    places += [child / "annotations" for child in sorted(folder.glob("*.coco")) if child.is_dir()]
    files = [file for place in places if place.is_dir() for file in sorted(place.glob("*.json"))]
    return [file for file in files if _looks_like_coco(file)]


def _looks_like_coco(file: Path) -> bool:
    if not file.stat().st_size:
        return False
    # the whole file is searched: a long list of images may stand before the word "annotations"
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b'"images"') >= 0 and data.find(b'"annotations"') >= 0


def _has(table: TextTable, needed: list[str], problems: Problems) -> bool:
    missing = [name for name in needed if name not in table.columns]
    if missing and table.columns:
        problems.error(
            f"the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} {'are' if len(missing) > 1 else 'is'} "
            f"missing; found: {', '.join(table.columns)}",
            file=table.file,
            line=1,
            hint="add it, or read the table as format 'csv', which knows other names",
        )
    return not missing


def _box_of(values: dict[str, object]) -> list[str] | None:
    corner = [str(values.get(name, "")).strip() for name in ("box_x", "box_y", "box_w", "box_h")]
    if any(corner):
        return corner
    text = str(values.get("box", "")).strip()
    return re.findall(r"[^\s,;\[\]()]+", text) if text else None


def _csv_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in (".csv", ".tsv") and not f.name.startswith("."))


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _photos_in(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if is_photo(child) and child.is_file()) if folder.is_dir() else []
