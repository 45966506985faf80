"""Votes on pairs of photographs: each reviewer's last word, and what holds when enough of them say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from engine.review.decisions import Decision
from engine.review.links import Node

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Vote:
    """One reviewer's last word on a pair: the decision's kind and row."""

    who: str
    kind: str
    number: int


@dataclass(frozen=True)
class Settled:
    """A pair on which votes were counted again: what held before, and what holds now."""

    pair: Pair
    before: str
    now: str


class Votes:
    """What was said of pairs, and what follows.

    Args:
        needed: how many reviewers must say the same before it holds.
        unit_of: photograph -> what it is counted as: an individual, an encounter, or itself.

    Attributes:
        last_words: pair -> reviewer -> vote, of the rows that count.
        disputed: pairs on which reviewers disagree.
    """

    def __init__(self, needed: int, unit_of: Callable[[str], Node]) -> None:
        self.last_words: dict[Pair, dict[str, Vote]] = {}
        self.disputed: set[Pair] = set()
        self._needed, self._unit_of = needed, unit_of
        self._said: dict[Pair, list[Decision]] = {}
        self._pairs_of: dict[str, list[Pair]] = {}
        self._verdicts: dict[Pair, str] = {}
        self._alike: dict[frozenset[Node], dict[Pair, None]] = {}  # pairs whose votes are counted together
        self._units_of: dict[Pair, frozenset[Node]] = {}

    def note(self, decision: Decision) -> None:
        """Take in what a row says of a pair; it is counted by :meth:`settle`."""
        if decision.pair not in self._said:
            for image in decision.pair:
                self._pairs_of.setdefault(image, []).append(decision.pair)
        self._said.setdefault(decision.pair, []).append(decision)

    def forget(self, decision: Decision) -> None:
        """Take a row out, as if it had never been noted."""
        self._said[decision.pair].remove(decision)

    def pairs_of(self, image: str) -> Iterable[Pair]:
        """Return the pairs of a photograph of which anything was ever said."""
        return self._pairs_of.get(image, ())

    def settle(self, pairs: Iterable[Pair], renamed: Iterable[str], counts: Callable[[int], bool]) -> list[Settled]:
        """Count the votes on some pairs again.

        Args:
            pairs: of which something was said or taken back.
            renamed: photographs that are counted as something else now.
            counts: whether a row counts.

        Returns:
            Those pairs, and others whose votes are counted with theirs.
        """
        asked = dict.fromkeys(pairs)
        for pair in asked:
            votes = {one.who: Vote(one.who, one.kind, one.number) for one in self._said[pair] if counts(one.number)}
            if votes:
                self.last_words[pair] = votes
            else:
                self.last_words.pop(pair, None)
        if self._needed > 1:  # otherwise what is said of other pairs changes nothing
            asked |= self._counted_together({**asked, **{pair: None for i in renamed for pair in self.pairs_of(i)}})
        settled = []
        for pair in asked:
            now = self._verdict(pair)
            settled.append(Settled(pair, self._verdicts.get(pair, ""), now))
            self._verdicts[pair] = now
            if now == "disputed":
                self.disputed.add(pair)
            else:
                self.disputed.discard(pair)
        return settled

    def verdict(self, pair: Pair) -> str:
        """Return what holds of a pair, as :meth:`settle` found it; "" where nothing was said."""
        return self._verdicts.get(pair, "")

    def _counted_together(self, pairs: Iterable[Pair]) -> dict[Pair, None]:
        """Put pairs where they are counted now; return all that are counted with them, there and where they were."""
        units: dict[frozenset[Node], None] = {}
        for pair in pairs:
            before = self._units_of.pop(pair, None)
            if before is not None:
                self._alike[before].pop(pair)
                units[before] = None
            if pair in self.last_words:
                now = self._units_of[pair] = frozenset(self._unit_of(image) for image in pair)
                self._alike.setdefault(now, {})[pair] = None
                units[now] = None
        return {pair: None for unit in units for pair in self._alike[unit]}

    def _verdict(self, pair: Pair) -> str:
        """Return what holds of a pair: "same", "different", "disputed", "open" (votes are missing), what was said of
        it that is no link, or "" where nothing was."""
        votes = self.last_words.get(pair)
        if not votes:
            return ""
        kinds = {vote.kind for vote in votes.values()}
        if {"same", "different"} <= kinds:
            return "disputed"
        for kind in ("same", "different"):
            if kind in kinds:
                return kind if self._supporters(pair, kind) >= self._needed else "open"
        return max(votes.values(), key=lambda vote: vote.number).kind

    def _supporters(self, pair: Pair, kind: str) -> int:
        """Return how many reviewers said so of a pair, or of another of the same two."""
        alike = self._alike[self._units_of[pair]] if self._needed > 1 else (pair,)
        return len({vote.who for one in alike for vote in self.last_words[one].values() if vote.kind == kind})
