"""Decisions that cannot all be true: found, never resolved, because nothing is merged by itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.review.links import Node

if TYPE_CHECKING:
    from engine.review.replay import ReviewState


@dataclass(frozen=True)
class Contradiction:
    """Decisions that cannot all be true.

    Attributes:
        kind: "linked and different" (a pair kept apart that other links join), "two names" (a group that reaches
            several names) or "reviewers disagree" (about one pair).
        images: the photographs to look at, side by side: the pair and, between its two, the way that links them.
        decisions: the rows that are at odds, the newest last.
        names: the individuals that take part.
    """

    kind: str
    images: tuple[str, ...]
    decisions: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for the same contradiction, whatever else is decided."""
        return f"{self.kind}: {', '.join(sorted({self.images[0], self.images[-1]}))}"


def contradictions_of(state: ReviewState) -> list[Contradiction]:
    """Return all contradictions of a state, the newest first."""
    found = [*_disputed(state), *_linked_and_different(state), *_two_names(state)]
    return sorted(found, key=lambda one: (-max(one.decisions, default=0), one.key))


def _disputed(state: ReviewState) -> Iterable[Contradiction]:
    for pair in sorted(state.votes.disputed):
        numbers = sorted(vote.number for vote in state.pair_votes(*pair))
        yield Contradiction("reviewers disagree", pair, tuple(numbers), _names_of(state, pair))


def _linked_and_different(state: ReviewState) -> Iterable[Contradiction]:
    for pair in state.links.broken():
        way = state.links.way(*pair)
        images = tuple(node for node in way if isinstance(node, str))
        rows = _rows_between(state, way) | {vote.number for vote in state.pair_votes(*pair)}
        yield Contradiction("linked and different", images, tuple(sorted(rows)), _names_of(state, images))


def _two_names(state: ReviewState) -> Iterable[Contradiction]:
    for first, *others in state.links.shared_names():
        for other in others:
            way = state.links.way(("name", first), ("name", other))
            images = tuple(node for node in way if isinstance(node, str))
            yield Contradiction("two names", images, tuple(sorted(_rows_between(state, way))), (first, other))


def _rows_between(state: ReviewState, way: list[Node]) -> set[int]:
    """Return the rows that the links along a way come from."""
    rows: set[int] = set()
    for first, second in itertools.pairwise(way):
        if isinstance(first, str) and isinstance(second, str):
            rows |= {vote.number for vote in state.pair_votes(first, second) if vote.kind == "same"}
        else:
            image = second if isinstance(second, str) else first
            if isinstance(image, str) and image in state.named_by:
                rows.add(state.named_by[image])
    return rows


def _names_of(state: ReviewState, images: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for image in images if (name := state.name(image)) is not None))
