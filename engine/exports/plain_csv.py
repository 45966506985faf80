"""The catalogue as one CSV table, read back as ``csv``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.csv_output import write_csv
from engine.catalogue.encounters import is_known
from engine.exports.records import ExportError, ExportSettings, Written, photographs

_BOX = ("box_x", "box_y", "box_w", "box_h")


def write_plain_csv(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write one row per animal: photograph, individual, viewpoint, date, encounter, species, box.

    Paths are relative to the table where the photographs lie below it, and absolute otherwise.
    """
    table, folder = catalog.table, Path(settings.relative_to or output.absolute().parent)
    paths = [path_from(folder, path) for path in table["path"]]
    outside = sum(Path(path).is_absolute() for path in paths)
    sizes = [size if size is not None else (pd.NA, pd.NA) for size in table["photo_size"]]
    boxes = [box if box is not None else (pd.NA,) * 4 for box in table["box"]]
    columns = {
        "image_id": table["image_id"],
        "path": paths,
        "individual_id": table["individual_id"],
        "viewpoint": table["viewpoint"],
        "date": [when_written(row) for row in table.to_dict("records")],
        "encounter_id": table["encounter_id"],
        "species": table["species"],
        "width": pd.array([width for width, _ in sizes], dtype="Int64"),
        "height": pd.array([height for _, height in sizes], dtype="Int64"),
    }
    if any(box is not None for box in table["box"]):
        columns |= {name: pd.array([box[side] for box in boxes], dtype="Int64") for side, name in enumerate(_BOX)}
    save_table(pd.DataFrame(columns), output)
    notes = []
    if outside:
        notes.append(
            f"{photographs(outside)} do not lie below {folder}: their paths are absolute, and the table is no "
            "catalogue there; write it beside the photographs for that"
        )
    return Written((output,), tuple(notes))


def path_from(folder: Path, path: str) -> str:
    """Return a photograph's path from a folder that it lies below, with plain separators; as it is otherwise."""
    below = os.path.normpath(path).startswith(f"{os.path.normpath(folder)}{os.sep}")
    return Path(path).relative_to(folder).as_posix() if below else path


def save_table(table: pd.DataFrame, output: Path) -> None:
    """Write a table whole or not at all, its texts guarded against spreadsheets that would run them.

    Raises:
        ExportError: the file cannot be written.
    """
    part = output.with_name(f".{output.name}.part{os.getpid()}")
    try:
        write_csv(table, part)
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ExportError(f"{output} cannot be written: {error.strerror or error}") from error


def save_text(text: str, output: Path) -> None:
    """Write a text whole or not at all.

    Raises:
        ExportError: the file cannot be written.
    """
    part = output.with_name(f".{output.name}.part{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ExportError(f"{output} cannot be written: {error.strerror or error}") from error


def when_written(row: Mapping[Any, Any]) -> str | None:
    """Return when a photograph was taken, as far as that is known: a time, a day, a month or a year in ISO 8601."""
    if is_known(row["timestamp"]):
        text = pd.Timestamp(row["timestamp"]).isoformat()
        if is_known(row["utc_offset"]):
            minutes = int(row["utc_offset"])
            text += f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
        return text
    if is_known(row["date"]):
        return pd.Timestamp(row["date"]).date().isoformat()
    if not is_known(row["earliest"]):
        return None
    first, last = pd.Timestamp(row["earliest"]), pd.Timestamp(row["latest"])
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.year:04d}-{first.month:02d}"
    return f"{first.year:04d}" if first.year == last.year else None
