"""Which column of a table means what: common names of every field, and the columns that mean nothing here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.catalogue.boxes import BOX_FIELDS, are_positions_on_earth
from engine.catalogue.problems import Problems

SYNONYMS = {
    "path": "path image_path file_path filepath file_name filename file image photo photograph picture img "
    "image_name photo_name encounter_mediaasset0",
    "image_id": "image_id photo_id id",
    "individual_id": "individual_id individual individual_name whale_id animal_id identity identity_id whale animal "
    "animal_name name nickname catalog_id catalogue_id catalog_number catalogue_number subject subject_id "
    "markedindividual_individualid encounter_individualid",
    "viewpoint": "viewpoint view side orientation aspect viewing_angle",
    "date": "date day date_captured captured capture_date date_taken observation_date event_date eventdate",
    "timestamp": "timestamp datetime date_time datetime_original datetimeoriginal time_stamp",
    "time": "time time_of_day capture_time time_taken event_time eventtime",
    "year": "year encounter_year",
    "month": "month encounter_month",
    "day": "day day_of_month encounter_day",
    "encounter_id": "encounter_id encounter sighting_id sighting",
    "species": "species scientific_name",
    "width": "width image_width",
    "height": "height image_height",
    "box": "bbox box bounding_box",
    "box_x": "x bbox_x box_x x_min xmin x1 left_edge",
    "box_y": "y bbox_y box_y y_min ymin y1 top_edge",
    "box_w": "w bbox_w box_w bbox_width box_width",
    "box_h": "h bbox_h box_h bbox_height box_height",
    "box_x2": "x_max xmax x2 bbox_x2 right_edge",
    "box_y2": "y_max ymax y2 bbox_y2 bottom_edge",
}
"""Names that a table may use for a field, in the order of preference (case, spaces, dots and hyphens do not matter)."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean.

    Attributes:
        used: field of the catalogue -> the table's name for it.
        ignored: column -> why nothing of it is used, "" where its name says nothing here.
        notes: what was decided about columns whose names can be read in two ways.
    """

    used: dict[str, str]
    ignored: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def report(self, file: Path, line: int | None, problems: Problems) -> None:
        """Note what was decided and which columns are ignored."""
        for note in self.notes:
            problems.info(note, file=file, line=line)
        if self.ignored:
            names = ", ".join(f"{name} ({reason})" if reason else name for name, reason in self.ignored.items())
            word = "columns are" if len(self.ignored) > 1 else "column is"
            problems.info(f"{len(self.ignored)} {word} not used: {names}", file=file, line=line)


def match_columns(names: Sequence[str]) -> dict[str, str]:
    """Return field -> column for the columns of a table whose meaning is known by their names alone.

    ``id`` names the photograph where another column names the individual, and the individual otherwise. ``day`` is a
    day of the month beside a year, and a date otherwise.
    """
    plain = {re.sub(r"[\s.-]+", "_", name.strip().lower()): name for name in reversed(names) if name.strip()}
    columns: dict[str, str] = {}
    order = [name for name in SYNONYMS if name != "date"] + ["date"]
    if "year" not in {name for name in SYNONYMS if any(word in plain for word in SYNONYMS[name].split())}:
        order = [name for name in SYNONYMS if name not in ("month", "day")]
    for field_name in order:
        column = next((plain[word] for word in SYNONYMS[field_name].split() if word in plain), None)
        if column is not None and column not in columns.values():
            columns[field_name] = column
    if columns.get("image_id") == plain.get("id") and "id" in plain and "individual_id" not in columns:
        columns["individual_id"] = columns.pop("image_id")
    return columns


def understand_columns(names: Sequence[str], cells: Mapping[str, Sequence[str]]) -> Columns:
    """Say what the columns of a table mean, by their names and, where two readings are possible, their cells.

    ``x, y, width, height`` are the animal's box where nothing else is, unless x and y hold positions on the Earth;
    corners without an extent are no box. Every column is used or named as ignored.
    """
    used = match_columns(names)
    reasons: dict[str, str] = {}
    notes: list[str] = []
    box = {name for name in BOX_FIELDS if name in used} - {"box"}
    if {"box_x", "box_y"} <= box and not box & {"box_w", "box_h", "box_x2", "box_y2"}:
        if are_positions_on_earth(*(cells[used[name]] for name in ("box_x", "box_y"))):
            reasons |= {used.pop(name): "longitude or latitude, by its values" for name in ("box_x", "box_y")}
        elif {"width", "height"} <= set(used) and "box" not in used:
            used["box_w"], used["box_h"] = used.pop("width"), used.pop("height")
            corner_and_size = ", ".join(used[name] for name in ("box_x", "box_y", "box_w", "box_h"))
            notes.append(f"{corner_and_size} are read as the animal's box")
        else:
            reasons |= {used.pop(name): "a corner without a size is no box" for name in ("box_x", "box_y")}
    elif box and not ({"box_x", "box_y", "box_w", "box_h"} <= box or {"box_x", "box_y", "box_x2", "box_y2"} <= box):
        reasons |= {used.pop(name): "part of a box without the rest" for name in sorted(box)}
    for name in names:
        if name not in used.values():
            reasons.setdefault(name or "(a column without a name)", _rival(name, used))
    return Columns(used, {name: reason for name, reason in reasons.items() if name not in used.values()}, notes)


def _rival(name: str, used: Mapping[str, str]) -> str:
    """Return why a column with a known name is not used: another one has its meaning."""
    for field_name, column in match_columns([name]).items():
        if field_name in used:
            return f"'{used[field_name]}' is taken for the {field_name}"
        if column == name and field_name in ("month", "day"):
            return "without a year"
    return ""
