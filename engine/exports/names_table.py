"""Names that come back: a table from Wildbook, or any other, becomes decisions on a catalogue.

Nothing of the catalogue is changed: each name that differs from today's becomes a decision that anybody can look at
and undo. A cell that is empty or means "not known" says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.catalogue.catalog import Catalog
from engine.catalogue.columns import match_columns
from engine.catalogue.fields import name_or_none, text_of
from engine.catalogue.paths import real_path, written_path
from engine.catalogue.problems import Problems
from engine.catalogue.tables import TextTable, read_text_table
from engine.exports.records import ExportError, few, photographs
from engine.exports.wildbook import KEY_FILE
from engine.review.decisions import Decision, ReviewError

#: Wildbook's columns of photographs; an encounter has one name for all of them.
_ASSET = re.compile(r"encounter[ ._-]*mediaasset[ ._-]*\d+", re.IGNORECASE)


@dataclass(frozen=True)
class NewNames:
    """What a table of names says that the catalogue does not say today.

    Attributes:
        decisions: what to add to a review's file, in this order.
        notes: what was left out, and why.
    """

    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]


def decisions_from_table(file: Path | str, catalog: Catalog, who: str) -> NewNames:
    """Read a table of names and say which decisions it amounts to.

    Photographs are found by the catalogue's id, by their path, by the key that an export to Wildbook wrote beside its
    sheets, or by their file's name if no other photograph has it. An individual all of whose photographs get one other
    name is renamed, or merged where that name is another's; otherwise photographs are moved, split off, or become a new
    individual.

    Args:
        file: CSV, TSV or .xlsx.
        catalog: with today's names.
        who: the reviewer's name that the decisions bear.

    Raises:
        CatalogError: the table cannot be read.
        ExportError: it names no photographs or no individuals, or one photograph twice under two names.
    """
    path = Path(file)
    table = _workbook(path) if path.suffix.lower() == ".xlsx" else read_text_table(path, Problems(strict=True))
    wanted, notes = _wanted(table, catalog)
    today: dict[str, str | None] = dict(zip(catalog.ids, catalog.table["individual_id"], strict=True))
    changes = {image: name for image, name in wanted.items() if today[image] != name}
    same = len(wanted) - len(changes)
    if same:
        notes.append(f"{photographs(same)} with the name that they have today already")
    shown = {"table": path.name}
    decisions = []
    for kind, images, name, individual in _steps(changes, today):
        try:
            decisions.append(Decision(kind, who, images, name, individual, shown=shown))
        except ReviewError as error:
            raise ExportError(f"{path}: {error}") from error
    return NewNames(tuple(decisions), tuple(notes))


def _steps(changes: Mapping[str, str], today: Mapping[str, str | None]) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Return (kind, photographs, name, individual) of the decisions that lead from today's names to others."""
    of_individual: dict[str, list[str]] = {}
    for image, name in today.items():
        if name is not None:
            of_individual.setdefault(name, []).append(image)
    whole = {
        name: changes[images[0]]
        for name, images in of_individual.items()
        if len({changes.get(image) for image in images}) == 1 and images[0] in changes
    }
    steps: list[tuple[str, tuple[str, ...], str, str]] = []
    there = set(of_individual)
    for individual, name in whole.items():
        if name not in there:
            steps.append(("rename", (), name, individual))
            there = {*there, name} - {individual}
        elif name not in whole and name in of_individual:
            steps.append(("merge", (), name, individual))
            there.discard(individual)
    done = {step[3] for step in steps}
    groups: dict[tuple[str | None, str], list[str]] = {}
    for image, name in changes.items():
        if today[image] not in done:
            groups.setdefault((today[image], name), []).append(image)
    for (old, name), images in groups.items():
        kind = "move" if name in there else "new_individual" if old is None else "split"
        steps.append((kind, tuple(images), name, old if kind == "split" and old is not None else ""))
        there.add(name)
    return steps


def _wanted(table: TextTable, catalog: Catalog) -> tuple[dict[str, str], list[str]]:
    """Return photograph -> the name that a table gives it, and notes of what it does not say."""
    columns = match_columns(table.columns)
    assets = [column for column in table.columns if _ASSET.fullmatch(column.strip())]
    if "individual_id" not in columns:
        raise ExportError(
            f"{table.file}: no column names the individual (MarkedIndividual.individualID, individual_id, name …); "
            f"it has {', '.join(table.columns)}"
        )
    if not assets and not {"image_id", "path"} & set(columns):
        raise ExportError(
            f"{table.file}: no column names the photograph (Encounter.mediaAsset0, image_id, path …); "
            f"it has {', '.join(table.columns)}"
        )
    find = _finder(table.file, catalog)
    wanted: dict[str, tuple[str, int]] = {}
    unknown, several, unnamed = [], [], 0
    for row, line in zip(table.rows, table.lines, strict=True):
        try:
            name = name_or_none(row[columns["individual_id"]])
            cells = [text_of(row[column]) for column in assets]
            image_id, path = (text_of(row[columns[c]]) if c in columns else "" for c in ("image_id", "path"))
        except ValueError as error:
            raise ExportError(f"{table.file}, line {line}: {error}") from None
        photos = [("", cell) for cell in cells if cell] if assets else [(image_id, path)]
        for given_id, given_path in photos:
            images = find(given_id, given_path)
            if name is None:
                unnamed += 1
            elif not images:
                unknown.append(given_id or given_path)
            elif len(images) > 1:
                several.append(given_id or given_path)
            elif wanted.setdefault(images[0], (name, line))[0] != name:
                other, other_line = wanted[images[0]]
                raise ExportError(
                    f"{table.file}: {given_id or given_path!r} is '{other}' in line {other_line} and '{name}' in line "
                    f"{line}; leave one of them"
                )
    notes = []
    if unnamed:
        notes.append(f"{photographs(unnamed)} without a name in the table: nothing is decided about them")
    if unknown:
        notes.append(f"{photographs(len(unknown))} left out, which the catalogue does not have: {few(unknown)}")
    if several:
        notes.append(
            f"{photographs(len(several))} left out, which show several animals or share their file's name: "
            f"{few(several)}; name them by image_id"
        )
    return {image: name for image, (name, _) in wanted.items()}, notes


def _finder(file: Path, catalog: Catalog) -> Callable[[str, str], list[str]]:
    """Return the function from a table's (id, path) to the catalogue's photographs that may be meant."""
    by_path: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for image, path in zip(catalog.ids, catalog.table["path"], strict=True):
        by_path.setdefault(real_path(path), []).append(image)
        by_name.setdefault(Path(path).name.casefold(), []).append(image)
    key = file.with_name(KEY_FILE)
    by_key: dict[str, list[str]] = {}
    if key.is_file() and key != file:
        rows = read_text_table(key, Problems(strict=True)).rows
        for row in rows:
            if row.get("image_id") in catalog:
                by_key.setdefault(row.get("file", ""), []).append(row["image_id"])

    def find(image_id: str, path: str) -> list[str]:
        if image_id in catalog:
            return [image_id]
        text = written_path(path)
        if not text or "\0" in text:
            return []
        if text in by_key:
            return by_key[text]
        for root in (file.parent, catalog.root):
            images = by_path.get(real_path(root / text))
            if images:
                return images
        return by_name.get(PurePosixPath(text).name.casefold(), [])

    return find


def _workbook(file: Path) -> TextTable:
    """Read the first sheet of an Excel workbook as texts.

    Raises:
        ExportError: the library for it is not installed, or the file is no workbook.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ExportError(f"{file}: an .xlsx table needs the extra scarmatch[excel]; or save it as CSV") from error
    try:
        book = load_workbook(file, read_only=True, data_only=True)
        page = book.worksheets[0]
        cells: Sequence[Sequence[object]] = [list(row) for row in page.iter_rows(values_only=True)]
        book.close()
    except FileNotFoundError:
        raise ExportError(f"{file}: there is no such file") from None
    except Exception as error:  # what a damaged archive or a foreign XML raises is not bounded by the library
        raise ExportError(f"{file} cannot be read as an Excel workbook: {error}; save it as CSV") from error
    lines = [number for number, row in enumerate(cells, start=1) if any(value is not None for value in row)]
    if not lines:
        raise ExportError(f"{file}: the first sheet is empty; its first row must name the columns")
    columns = [str(value).strip() if value is not None else "" for value in cells[lines[0] - 1]]
    rows = [
        {
            name: "" if value is None else str(value)
            for name, value in zip(columns, cells[line - 1], strict=False)
            if name
        }
        for line in lines[1:]
    ]
    kept = [name for name in columns if name]
    return TextTable(file, kept, {name: [row.get(name, "") for row in rows] for name in kept}, lines[1:], lines[0])
