"""A catalogue as it is after all decisions: the new photographs among the old, everybody under today's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from engine.catalogue.catalog import COLUMNS, Catalog
from engine.review.decision_table import ReviewFile
from engine.review.replay import ReviewState, known_of, replay_on

_TIMES = ("date", "timestamp", "earliest", "latest")


def record_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of a catalogue's table as plain JSON values, as :meth:`ReviewFile.add_photographs` keeps it."""
    record: dict[str, Any] = {}
    for name in COLUMNS:
        value = row.get(name)
        if isinstance(value, tuple):
            record[name] = list(value)
        elif value is None or pd.isna(value):
            record[name] = None
        elif name in _TIMES:
            record[name] = pd.Timestamp(value).isoformat()
        elif name in ("width", "height"):
            record[name] = int(value)
        else:
            record[name] = float(value) if name == "utc_offset" else str(value)
    return record


def with_new_photographs(catalog: Catalog, review: ReviewFile) -> Catalog:
    """Return the catalogue with the photographs that the review added; of one id, the catalogue's own is kept."""
    records = [record for image, record in review.photographs().items() if image not in catalog]
    if not records:
        return catalog
    new = pd.DataFrame(records)
    for name in _TIMES:
        new[name] = pd.to_datetime(new[name], format="ISO8601")
    for name in ("box", "photo_size"):
        new[name] = new[name].map(tuple, na_action="ignore")
    return Catalog(pd.concat([catalog.table.astype(object), new.astype(object)]), catalog.root, catalog.source)


def reviewed_catalog(catalog: Catalog, path: Path | str, votes: int = 1) -> tuple[Catalog, ReviewState]:
    """Return a catalogue with all decisions of a review's file applied, and the state that they lead to.

    Args:
        catalog: as it was read, before any decision.
        path: the review's file.
        votes: how many reviewers must say the same before a link holds.

    Returns:
        The catalogue's photographs and those that the review added, with ``individual_id`` as it is today (None for
        what is not decided or contradictory); and the replay, which knows the contradictions.

    Raises:
        ReviewError: the file is no review's.
    """
    with ReviewFile(path) as review:
        every = with_new_photographs(catalog, review)
        state = replay_on(every.table, review.decisions(), votes)
    return named_as_today(every, state), state


def named_as_today(catalog: Catalog, state: ReviewState) -> Catalog:
    """Return a catalogue with the names that a state gives to its photographs."""
    names = pd.Series([state.name(image) for image in catalog.ids], dtype=object)
    # An encounter's id says who was seen: it goes on to stand for the photographs that it stood for.
    return Catalog(catalog.table.assign(individual_id=names), catalog.root, catalog.source)


def names_before(catalog: Catalog) -> dict[str, str | None]:
    """Return what a catalogue says of its photographs' names."""
    return known_of(catalog.table)[0]
