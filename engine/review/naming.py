"""Merge, split, rename, move: what a change of names would do, and what it must not do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from engine.review.contradictions import Contradiction
from engine.review.decisions import NAMING_KINDS, Decision, ReviewError
from engine.review.replay import ReviewState


@dataclass(frozen=True)
class Preview:
    """What a decision would change.

    Attributes:
        renamed: (photograph, its name now, its name then), in the catalogue's order.
        contradictions: those that would be new.
        resolved: those that would be gone.
        retired: rows of earlier decisions that would no longer count.
    """

    renamed: tuple[tuple[str, str | None, str | None], ...]
    contradictions: tuple[Contradiction, ...]
    resolved: tuple[Contradiction, ...]
    retired: tuple[int, ...]


def check(decision: Decision, state: ReviewState) -> None:
    """Refuse a decision that speaks of what is not there, or takes a name that is taken.

    Raises:
        ReviewError: an unknown photograph, individual or row; a new name that another individual has; photographs to
            split off that are not the individual's, or all of them.
    """
    for image in decision.images:
        if image not in state.base:
            raise ReviewError(f"there is no photograph {image!r} in this review")
    if decision.kind == "undo":
        _check_undo(decision, state)
    if decision.kind not in NAMING_KINDS:
        return
    individuals = state.individuals()
    if decision.individual and decision.individual not in individuals:
        raise ReviewError(f"there is no individual {decision.individual!r}: reload the page, it may have been renamed")
    taken = decision.name in individuals
    if decision.kind in ("new_individual", "split", "rename") and taken:
        raise ReviewError(f"the name {decision.name!r} is taken: choose another, or merge or move on purpose")
    if decision.kind in ("move", "merge") and not taken:
        raise ReviewError(f"there is no individual {decision.name!r}: name one that exists, or make a new one")
    if decision.kind == "split":
        own = set(individuals[decision.individual])
        foreign = [image for image in decision.images if image not in own]
        if foreign:
            raise ReviewError(f"{', '.join(foreign)} is not of {decision.individual!r}, so it cannot be split off")
        if own == set(decision.images):
            raise ReviewError(f"all photographs of {decision.individual!r} were chosen: rename it instead")


def _check_undo(decision: Decision, state: ReviewState) -> None:
    if decision.target not in state.rows:
        raise ReviewError(f"there is no decision {decision.target} to take back")
    if state.rows[decision.target].kind != "undo" and decision.target not in state.counting:
        raise ReviewError(f"decision {decision.target} was taken back already")


def preview(decision: Decision, state: ReviewState) -> Preview:
    """Return what a decision would change, without making it.

    Raises:
        ReviewError: it cannot be made; see :func:`check`.
    """
    check(decision, state)
    names, retired = state.names(), state.retired
    before = {one.key: one for one in state.contradictions()}
    with state.trying(decision) as after:
        renamed = [(image, old, now) for image, old in names.items() if (now := after.name(image)) != old]
        then = {one.key: one for one in after.contradictions()}
        more = after.retired - retired
    return Preview(
        tuple(renamed),
        tuple(one for key, one in then.items() if key not in before),
        tuple(one for key, one in before.items() if key not in then),
        tuple(sorted(more)),
    )


def free_name(state: ReviewState, taken: Iterable[str] = ()) -> str:
    """Return a name that nobody has, in the manner of the names that there are: the next number, or "new-1".

    >>> from engine.review.replay import replay
    >>> free_name(replay([], {"a": "CIB007", "b": "CIB012", "c": "Sedna"}))
    'CIB013'
    """
    names = {*state.individuals(), *taken}
    numbered = [match for name in names if (match := re.fullmatch(r"(.*?)(\d+)", name))]
    if numbered and 2 * len(numbered) >= len(names):
        last = max(numbered, key=lambda match: (int(match[2]), match[1]))
        prefix, width = last[1], len(last[2])
    else:
        last, prefix, width = None, "new-", 1
    number = int(last[2]) + 1 if last else 1
    while f"{prefix}{number:0{width}d}" in names:
        number += 1
    return f"{prefix}{number:0{width}d}"


def last_of(who: str, state: ReviewState) -> Decision | None:
    """Return a reviewer's last decision that was not taken back, None if there is none."""
    counting = state.counting
    mine = (one for one in reversed(state.decisions) if one.who == who and one.kind != "undo")
    return next((one for one in mine if one.number in counting), None)
