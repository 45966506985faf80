"""What is asked in a review: photographs without a name, those of one encounter together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from engine.catalogue.encounters import is_known


@dataclass(frozen=True)
class Question:
    """Who is this? asked of one or several photographs of one animal.

    Attributes:
        key: its first photograph's id.
        images: its photographs, in the catalogue's order.
        date: YYYY-MM-DD of the first photograph of known date, YYYY where only the year is known, "" if nothing is.
        viewpoint: of the first photograph, "" if unknown.
    """

    key: str
    images: tuple[str, ...]
    date: str = ""
    viewpoint: str = ""

    @property
    def year(self) -> str:
        """The date's year, "" if unknown."""
        return self.date[:4]


def questions_of(table: pd.DataFrame, by_encounter: bool = True) -> list[Question]:
    """Return the questions that a catalogue's photographs without a name ask.

    Args:
        table: a catalogue's table; named photographs are passed over.
        by_encounter: photographs of one encounter are one question.
    """
    groups: dict[str, list[dict[Any, Any]]] = {}
    for row in table[table["individual_id"].isna()].to_dict("records"):
        encounter = row["encounter_id"] if by_encounter and is_known(row["encounter_id"]) else None
        key = f"encounter {encounter}" if encounter is not None else f"photograph {row['image_id']}"
        groups.setdefault(key, []).append(row)
    return [question_of(rows) for rows in groups.values()]


def question_of(rows: Sequence[Mapping[Any, Any]]) -> Question:
    """Return the question that some rows of a catalogue's table ask together."""
    dates = [date for row in rows if (date := _date_of(row))]
    view = rows[0]["viewpoint"]
    images = tuple(str(row["image_id"]) for row in rows)
    return Question(images[0], images, dates[0] if dates else "", str(view) if is_known(view) else "")


def _date_of(row: Mapping[Any, Any]) -> str:
    if is_known(row["date"]):
        return pd.Timestamp(row["date"]).strftime("%Y-%m-%d")
    known = [pd.Timestamp(row[name]) for name in ("earliest", "latest") if is_known(row[name])]
    return f"{known[0].year}" if len({one.year for one in known}) == 1 and len(known) == 2 else ""
