"""A Wildbook bulk import: sheets with Wildbook's column names, and the photographs under names that it keeps.

Columns and rules are those of Wildbook's documentation ("Bulk Import", docs.wildme.org): a row is an encounter of one
individual; place, year, photograph, genus and epithet are required; at most 200 rows a sheet; file names are unique and
hold English letters, digits, dots and spaces alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.csv_output import guarded
from engine.catalogue.encounters import is_known
from engine.exports.names import file_names, plain_name
from engine.exports.placing import new_folder, place, those_there
from engine.exports.plain_csv import save_table
from engine.exports.records import ExportError, ExportSettings, Written, few, photographs

#: Encounters of one sheet, at most.
ROWS = 200
#: Beside the sheets: which file is which photograph of the catalogue.
KEY_FILE = "photographs.csv"


def write_wildbook(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write ``bulk-import-N.xlsx`` (or ``.csv``), ``photographs/`` to upload, and a key from file to photograph.

    Photographs of one individual in one encounter are one row. Unnamed encounters are marked "unapproved". A viewpoint
    becomes a keyword of its photograph. Hours are left empty after midnight, which Wildbook counts as hour 24.

    Raises:
        ExportError: the place is missing, a species is no two-part name, or there is nothing to write.
    """
    if not settings.location.strip():
        raise ExportError(
            "Wildbook asks where every encounter was: name the location (--location), an id of its menu of locations"
        )
    table, notes = those_there(catalog.table)
    dated = table["earliest"].notna() & (table["earliest"].dt.year == table["latest"].dt.year)
    if not dated.all():
        notes.append(f"{photographs(int((~dated).sum()))} left out: Wildbook asks for the year, which is not known")
    table = table[dated]
    if table.empty:
        raise ExportError(f"{catalog.root}: no photograph is left to write. {'; '.join(notes)}")
    names = {path: name for (_, path), name in file_names((("", p) for p in table["path"]), plain_name, ".").items()}
    encounters = [_encounter(group, names, settings) for group in _groups(table)]
    sheets = [_sheet(encounters[first : first + ROWS]) for first in range(0, len(encounters), ROWS)]
    formulas = [name for name in table["individual_id"].dropna().unique() if guarded(name) != name]
    if settings.sheet == "csv" and formulas:
        notes.append(
            f"individuals that a spreadsheet takes for formulas have an apostrophe before them: {few(formulas)}"
        )
    with new_folder(output) as part:
        files = []
        for number, sheet in enumerate(sheets, start=1):
            files.append(f"bulk-import-{number}.{settings.sheet}")
            if settings.sheet == "xlsx":
                _save_workbook(sheet, part / files[-1])
            else:
                save_table(sheet, part / files[-1])
        key = pd.DataFrame({"file": [names[path] for path in table["path"]], "image_id": table["image_id"].to_numpy()})
        save_table(key, part / KEY_FILE)
        place(((path, part / "photographs" / name) for path, name in names.items()), settings.photos)
    if len(sheets) > 1:
        notes.append(f"{len(encounters):,} encounters on {len(sheets)} sheets: Wildbook takes {ROWS} at a time")
    return Written((*(output / file for file in files), output / "photographs", output / KEY_FILE), tuple(notes))


def _groups(table: pd.DataFrame) -> list[list[dict[Any, Any]]]:
    """Return the photographs of every encounter of one individual, in the order of their first ones."""
    groups: dict[tuple[object, ...], list[dict[Any, Any]]] = {}
    for row in table.to_dict("records"):
        alone = row["encounter_id"] is None
        key = ("photograph", row["image_id"]) if alone else ("encounter", row["encounter_id"], row["individual_id"])
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _encounter(group: Sequence[dict[Any, Any]], names: dict[str, str], settings: ExportSettings) -> dict[str, Any]:
    """Return one row of the sheet, column -> value; None where nothing is known."""
    first = min(
        group, key=lambda row: (row["earliest"], row["timestamp"] if is_known(row["timestamp"]) else pd.Timestamp.max)
    )
    genus, epithet = _species(group[0]["species"], settings)
    row: dict[str, Any] = {}
    for number, photo in enumerate({photo["path"]: photo for photo in group}.values()):
        row[f"Encounter.mediaAsset{number}"] = names[photo["path"]]
        row[f"Encounter.mediaAsset{number}.keywords"] = photo["viewpoint"]
    day, month = first["date"], (first["earliest"].month == first["latest"].month)
    time = first["timestamp"] if is_known(first["timestamp"]) and first["timestamp"].hour else None
    return {
        **row,
        "MarkedIndividual.individualID": first["individual_id"],
        "Encounter.genus": genus,
        "Encounter.specificEpithet": epithet,
        "Encounter.year": first["earliest"].year,
        "Encounter.month": first["earliest"].month if month else None,
        "Encounter.day": day.day if is_known(day) else None,
        "Encounter.hour": None if time is None else time.hour,
        "Encounter.minutes": None if time is None else time.minute,
        "Encounter.locationID": settings.location.strip(),
        "Encounter.otherCatalogNumbers": first["encounter_id"],
        "Encounter.submitterID": settings.submitter.strip() or None,
        "Encounter.state": "unapproved" if first["individual_id"] is None else "approved",
    }


def _species(species: str | None, settings: ExportSettings) -> tuple[str, str]:
    """Return (genus, epithet) of an animal's species, or of the one given for all."""
    for text in (species, settings.species):
        words = (text or "").replace("_", " ").split()
        if len(words) == 2 and all(word.isalpha() for word in words):
            return words[0].capitalize(), words[1].lower()
    unknown = "no species" if species is None else f"'{species}'"
    raise ExportError(
        f"the catalogue gives {unknown}, Wildbook asks for genus and epithet: name the species (--species), "
        'as in "Delphinapterus leucas"'
    )


def _sheet(encounters: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return a sheet without the columns that hold nothing; photographs first, in their order."""
    columns = list(dict.fromkeys(name for row in encounters for name in row))
    assets = [name for name in columns if name.startswith("Encounter.mediaAsset")]
    assets.sort(key=lambda name: (name.endswith(".keywords"), int("".join(c for c in name if c.isdigit()))))
    order = [*assets, *(name for name in columns if name not in assets)]
    held = [name for name in order if any(row.get(name) is not None for row in encounters)]
    return pd.DataFrame([[row.get(name) for name in held] for row in encounters], columns=held, dtype=object)


def _save_workbook(sheet: pd.DataFrame, output: Path) -> None:
    """Write an Excel workbook; texts stay texts, whatever they begin with.

    Raises:
        ExportError: the library for it is not installed.
    """
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise ExportError("an .xlsx sheet needs the extra scarmatch[excel]; or ask for --sheet csv") from error
    book = Workbook()
    page = book.active
    for row_number, values in enumerate([list(sheet.columns), *sheet.to_numpy().tolist()], start=1):
        for column, value in enumerate(values, start=1):
            if value is not None:
                cell = page.cell(row_number, column, value)
                if isinstance(value, str):
                    cell.data_type = "s"  # "=1+1" is a name here, no formula
    book.save(output)
