"""Readers of delimited tables, and of folders named by individual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.catalogue.boxes import BOX_FIELDS
from engine.catalogue.builder import TableBuilder
from engine.catalogue.columns import SYNONYMS, Columns, match_columns, understand_columns
from engine.catalogue.paths import photo_folder, photos_in, stem_of
from engine.catalogue.problems import Problems
from engine.catalogue.tables import TextTable, read_header, read_text_table
from features.photo_formats import looks_like_photo

HAPPYWHALE_SPECIES = {
    "bottlenose_dolpin": "bottlenose_dolphin",
    "kiler_whale": "killer_whale",
    "pilot_whale": "short_finned_pilot_whale",
    "globis": "short_finned_pilot_whale",
}
"""Species names of the Happywhale set that are misspelt, or doubles of another, and what they are read as: two
spellings and two names of pilot whales, put right as is usual among those who use the set."""


def read_challenge(path: Path, builder: TableBuilder) -> None:
    """Read ``metadata.csv`` of the challenge; every column but image_id and path may be missing."""
    table = read_text_table(path if path.is_file() else path / "metadata.csv", builder.problems)
    if _has(table, ["image_id", "path"], builder.problems):
        _add_rows(table, builder)


def read_happywhale(path: Path, builder: TableBuilder) -> None:
    """Read Happywhale's ``train.csv`` with ``train_images/`` (or photographs beside it), or a bare ``test_images/``."""
    file = path if path.is_file() else path / "train.csv"
    if not file.is_file():
        for photo in photos_in(path / "test_images", builder.problems):
            builder.add({"image_id": photo.name, "path": str(photo.absolute())}, path / "test_images", None)
        return
    table = read_text_table(file, builder.problems)
    if not _has(table, ["image", "individual_id"], builder.problems):
        return
    if "species" in table.cells:
        species = map(str.strip, table.cells["species"])
        table.cells["species"] = [HAPPYWHALE_SPECIES.get(name, name) for name in species]
    _add_rows(table, builder, ids=table.cells["image"], folders=("train_images",))


def read_plain_csv(path: Path, builder: TableBuilder) -> None:
    """Read any table with a column that names the photograph; the other columns by their common names.

    Without a column for ids, the path's stem is the id where stems are unique, the path itself otherwise, with ``-b1``,
    ``-b2`` … behind it where a photograph shows several animals. Relative paths start from the table's folder, or from
    a sub-folder such as ``images`` if the photographs lie there.
    """
    file = path if path.is_file() else table_of(path)
    if file is None:
        found = ", ".join(file.name for file in tables_in(path)) or "none"
        builder.problems.error(f"the folder must hold exactly one CSV file; found: {found}", file=path)
        return
    _add_rows(read_text_table(file, builder.problems), builder)


def read_folders(path: Path, builder: TableBuilder) -> None:
    """Read ``root/INDIVIDUAL/photograph``; photographs right in the root belong to no known individual.

    Deeper folders are left out with a warning. The id is the file's stem where stems are unique, otherwise the
    path from the root.
    """
    if not path.is_dir():
        builder.problems.error("is not a folder", file=path)
        return
    photographs: list[tuple[Path, str | None]] = [(photo, None) for photo in photos_in(path, builder.problems)]
    for folder in folders_in(path):
        if not any(folder.iterdir()):
            builder.problems.warning("the folder is empty", file=folder)
        if not folder.name.isprintable():
            builder.problems.warning(f"the folder's name {folder.name!a} is no readable text; rename it", file=path)
            continue
        photographs += [(photo, folder.name) for photo in photos_in(folder, builder.problems)]
        deeper = [child for child in folders_in(folder) if any(looks_like_photo(p) for p in child.rglob("*"))]
        if deeper:
            builder.problems.warning(
                f"photographs in deeper folders are left out ({', '.join(child.name for child in deeper[:5])})",
                file=folder,
                hint="one level of folders, named by individual, is read",
            )
    unique = len({photo.stem for photo, _ in photographs}) == len(photographs)
    for photo, individual in photographs:
        relative = photo.relative_to(path).as_posix()
        values = {"image_id": photo.stem if unique else relative, "path": relative, "individual_id": individual}
        builder.add(values, photo, None)


def tables_in(folder: Path) -> list[Path]:
    """Return the CSV and TSV files right in a folder."""
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in (".csv", ".tsv") and not f.name.startswith("."))


def table_of(folder: Path) -> Path | None:
    """Return the table of a folder: its only CSV file, or of several the one that published sets call theirs.

    Sets for competitions put files of answers beside ``metadata.csv`` or ``train.csv``.
    """
    files = tables_in(folder)
    if len(files) == 1:
        return files[0]
    published = [folder / name for name in ("metadata.csv", "train.csv")]
    return next((file for file in published if file in files and "path" in match_columns(read_header(file))), None)


def folders_in(path: Path) -> list[Path]:
    """Return the folders right in a folder, hidden ones left out."""
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _add_rows(
    table: TextTable,
    builder: TableBuilder,
    ids: Sequence[str] | None = None,
    folders: Sequence[str] | None = None,
) -> None:
    """Add every row of a table, its columns understood by their names.

    Args:
        table: what was read.
        builder: takes the rows.
        ids: id of each row; by default the column for it, or made from the paths.
        folders: sub-folders in which the photographs may lie, by default all the usual ones.
    """
    if not table.columns:
        return
    columns = understand_columns(table.columns, table.cells)
    if "path" not in columns.used:
        builder.problems.error(
            f"no column names the photographs; the columns are: {', '.join(table.columns)}",
            file=table.file,
            line=table.header_line,
            hint=f"name one of them {', '.join(SYNONYMS['path'].split())}",
        )
        return
    columns.report(table.file, table.header_line, builder.problems)
    paths = [path.strip() for path in table.cells[columns.used["path"]]]
    if ids is None:
        ids = _ids(table, columns, paths)
    folder = photo_folder(builder.root, paths) if folders is None else photo_folder(builder.root, paths, folders)
    names = {"image_id": columns.used["path"], "box": _box_name(columns.used), **columns.used}
    cells = {name: table.cells[column] for name, column in columns.used.items()}
    builder.add_table({**cells, "image_id": ids}, table.file, table.lines, names, folder)


def _ids(table: TextTable, columns: Columns, paths: Sequence[str]) -> list[str]:
    """Return the id of every row: the table's own, or made from the paths."""
    if "image_id" in columns.used:
        return table.cells[columns.used["image_id"]]
    stems = list(map(stem_of, paths))
    names = stems if len(set(stems)) == len(set(paths)) else list(paths)
    box_columns = [table.cells[columns.used[name]] for name in BOX_FIELDS if name in columns.used]
    counts = Counter(names)
    numbers: Counter[str] = Counter()
    ids = []
    for row, name in enumerate(names):
        if counts[name] > 1 and any(cells[row].strip() for cells in box_columns):
            numbers[name] += 1
            name = f"{name}-b{numbers[name]}"
        ids.append(name)
    return ids


def _box_name(used: Mapping[str, str]) -> str:
    return ", ".join(used[name] for name in BOX_FIELDS if name in used)


def _has(table: TextTable, needed: Sequence[str], problems: Problems) -> bool:
    missing = [name for name in needed if name not in table.columns]
    if missing and table.columns:
        problems.error(
            f"the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} {'are' if len(missing) > 1 else 'is'} "
            f"missing; found: {', '.join(table.columns)}",
            file=table.file,
            line=table.header_line,
            hint="add it, or read the table as format 'csv', which knows other names",
        )
    return not missing
