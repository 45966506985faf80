"""The catalogue that is exported: everybody under today's name, as far as the reviewers are certain enough of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.exports.records import ExportError, photographs
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision
from engine.review.replay import ReviewState, replay_on
from engine.review.reviewed import named_as_today, with_new_photographs

CERTAINTIES = ("guessing", "fairly sure", "certain")
"""How sure a reviewer can be, from the least."""

_NAMING = ("same", "new_individual", "split", "move", "merge")


def catalogue_today(
    catalog: Catalog, decisions: Path | None = None, votes: int = 1, min_certainty: str = "guessing"
) -> tuple[Catalog, tuple[str, ...]]:
    """Return a catalogue under the names of today, and what there is to say of it.

    A photograph keeps its name if the decisions of that certainty alone give it the same one. A decision without a
    certainty, which nobody asked for, counts as certain; so do the names that the catalogue came with.

    Args:
        catalog: as it was read.
        decisions: a review's file; None takes the catalogue as it is.
        votes: how many reviewers must say the same before a link holds.
        min_certainty: one of :data:`CERTAINTIES`; photographs named with less certainty become unnamed.

    Raises:
        ExportError: there is no such file.
        ReviewError: the file is no review's.
    """
    _refuse_unknown(min_certainty)
    if decisions is None:
        return catalog, ()
    if not decisions.is_file():
        raise ExportError(f"{decisions}: there is no such file of decisions")
    with ReviewFile(decisions) as review:
        rows = review.decisions()
        every = with_new_photographs(catalog, review)
    return names_today(every, replay_on(every.table, rows, votes), min_certainty)


def names_today(every: Catalog, state: ReviewState, min_certainty: str = "guessing") -> tuple[Catalog, tuple[str, ...]]:
    """Return a catalogue under the names that a replay gives, and what there is to say of it.

    Args:
        every: the catalogue with the photographs that the review added.
        state: the replay of all decisions.
        min_certainty: as :func:`catalogue_today` takes it.

    Raises:
        ExportError: there is no such certainty.
    """
    _refuse_unknown(min_certainty)
    today = named_as_today(every, state)
    notes = []
    if state.contradictions():
        notes.append(
            f"contradictions that stand in the review: {len(state.contradictions()):,}; what had no name before stays "
            "without"
        )
    if min_certainty != CERTAINTIES[0]:
        today, more = _certain(every, today, state, min_certainty)
        notes += more
    return today, tuple(notes)


def _refuse_unknown(certainty: str) -> None:
    if certainty not in CERTAINTIES:
        raise ExportError(f"there is no certainty {certainty!r}; choose among {', '.join(CERTAINTIES)}")


def _certain(every: Catalog, today: Catalog, state: ReviewState, min_certainty: str) -> tuple[Catalog, list[str]]:
    """Take away the names that rest on less certain decisions; return the catalogue left and notes."""
    least = CERTAINTIES.index(min_certainty)
    rows = state.decisions
    sure = [one for one in rows if one.kind not in _NAMING or _certainty(one) >= least]
    certain = replay_on(every.table, sure, state.votes_needed)
    names = today.table["individual_id"]
    kept = [name if name == certain.name(image) else None for image, name in zip(today.ids, names, strict=True)]
    lost = sum(name is not None for name in names) - sum(name is not None for name in kept)
    unasked = sum(one.kind in _NAMING and not one.confidence for one in rows)
    notes = []
    if lost:
        notes.append(f"{photographs(lost)} without a name: what names them is less than {min_certainty!r}")
    if unasked:
        notes.append(f"{unasked:,} decisions say nothing of their certainty and count as certain")
    names = pd.Series(kept, dtype=object)
    return Catalog(today.table.assign(individual_id=names), today.root, today.source), notes


def _certainty(decision: Decision) -> int:
    return CERTAINTIES.index(decision.confidence) if decision.confidence else len(CERTAINTIES)
