"""Today's state of a catalogue: what all decisions mean together.

**Links.** "Same" links two photographs (must-link), "different" keeps them apart (cannot-link). Links carry on: A with
B and B with C make one group of all three, and what is kept apart from one of a group is kept apart from all.
Photographs of one name are linked, and so are unnamed ones of one encounter, which show one animal by definition.

**Names.** A group that reaches exactly one name bears it. One that reaches two is a contradiction, and nothing is
merged by itself: named photographs keep their names, the others have none until a person merges or takes back. Split,
move, merge and rename change the names of the photographs that they list; links that a split or move cuts through are
retired.

**Votes.** A reviewer's last word on two photographs counts. A link holds when as many reviewers as are asked for said
so, of these two photographs or of others of the same two individuals (or encounters), and nobody says the opposite of
the pair.

**Undo.** An undone row counts as if it had never been, and an undone undo as if it had not been either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from engine.review.decisions import PAIR_KINDS, Decision
from engine.review.links import Links, Node

Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Vote:
    """One reviewer's last word on a pair: the decision's kind and row."""

    who: str
    kind: str
    number: int


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


@dataclass(frozen=True)
class Touched:
    """What some decisions concern.

    Attributes:
        spoken_of: photographs of the groups that they speak of.
        linked: those whose group, and so perhaps name, changed.
    """

    spoken_of: set[str]
    linked: set[str]


class ReviewState:
    """The replay of decisions, to which further ones can be added.

    Args:
        names: photograph -> the name that the catalogue gives it, None if it is unnamed; in the catalogue's order.
        encounters: photograph -> its encounter, of those that have one.
        votes: how many reviewers must say the same before a link holds.

    Attributes:
        last: number of the last row replayed.
    """

    def __init__(
        self, names: Mapping[str, str | None], encounters: Mapping[str, str] | None = None, votes: int = 1
    ) -> None:
        self.catalogue_names = dict(names)
        self.encounters = dict(encounters or {})
        self.votes_needed = votes
        self.last = 0
        self.decisions: list[Decision] = []
        self._contradictions: list[Contradiction] | None = None
        self._counting: set[int] | None = None
        self._rebuild()

    # --- building -----------------------------------------------------------------------------------------------------

    def extend(self, decisions: Iterable[Decision]) -> Touched | None:
        """Add decisions, in the order of their rows.

        Returns:
            The photographs that they concern, None where they may concern any.
        """
        new = [one for one in decisions if one.number > self.last]
        touched = Touched(set(), set())
        whole = False
        for decision in new:
            self.decisions.append(decision)
            self.last = decision.number
            if decision.kind == "skip":
                self.skipped.setdefault(decision.who, {}).update(dict.fromkeys(decision.images, decision.number))
            elif decision.kind in PAIR_KINDS and not whole and self._vote(decision):
                groups = [self.links.members(image) for image in decision.images]
                touched.spoken_of.update(*groups)
                if decision.kind == "same":
                    touched.linked.update(*groups)
            else:
                whole = True
        self._contradictions = None
        if whole:
            self._counting = None
            self._rebuild()
        elif self._counting is not None:
            self._counting.update(one.number for one in new)
        return None if whole else touched

    def add_photographs(self, names: Mapping[str, str | None], encounters: Mapping[str, str] | None = None) -> None:
        """Add photographs that came later, as the catalogue would have named them."""
        self.catalogue_names.update(names)
        self.encounters.update(encounters or {})
        self._rebuild()

    @property
    def counting(self) -> set[int]:
        """The rows that nobody took back, undos among them."""
        if self._counting is None:
            undone: set[int] = set()
            for decision in reversed(self.decisions):
                if decision.kind == "undo" and decision.number not in undone and decision.target < decision.number:
                    undone.add(decision.target)
            self._counting = {one.number for one in self.decisions} - undone
        return self._counting

    def active(self) -> list[Decision]:
        """Return the decisions that nobody took back, undos left out."""
        counting = self.counting
        return [one for one in self.decisions if one.kind != "undo" and one.number in counting]

    def _rebuild(self) -> None:
        self.base: dict[str, str | None] = dict(self.catalogue_names)
        self.votes: dict[Pair, dict[str, Vote]] = {}
        self._pairs_of: dict[str, list[Pair]] = {}
        self.skipped: dict[str, dict[str, int]] = {}
        self._contradictions = None
        self._named_by: dict[str, int] = {}
        active = self.active()
        retired: set[int] = set()
        loose: set[str] = set()
        past: dict[str, list[Decision]] = {}
        for decision in active:
            if decision.kind == "new_individual":
                for image in decision.images:
                    self._name(image, decision.name, decision.number)
            elif decision.kind in ("split", "move"):
                moved = set(decision.images)
                loose |= moved
                for image in decision.images:
                    self._name(image, decision.name, decision.number)
                    retired |= {one.number for one in past.get(image, ()) if self._cut(one, moved, decision.name)}
            elif decision.kind in ("merge", "rename"):
                for image in [image for image, name in self.base.items() if name == decision.individual]:
                    self._name(image, decision.name, decision.number)
            elif decision.kind == "skip":
                self.skipped.setdefault(decision.who, {}).update(dict.fromkeys(decision.images, decision.number))
            elif decision.kind == "same":
                for image in decision.images:
                    past.setdefault(image, []).append(decision)
        self.retired = frozenset(retired)
        self._join_known(loose)
        for decision in active:
            if decision.kind in PAIR_KINDS and decision.number not in retired:
                for image in decision.images:
                    self.base.setdefault(image, None)
                    self.links.add(image)
                self._remember(decision)
        self._supporters: dict[tuple[str, frozenset[Node]], set[str]] = {}
        for pair, votes in self.votes.items():
            for vote in votes.values():
                self._supporters.setdefault((vote.kind, self._units(pair)), set()).add(vote.who)
        self._disputed_pairs: list[Pair] = []
        for pair in self.votes:
            verdict = self._verdict(pair)
            if verdict == "disputed":
                self._disputed_pairs.append(pair)
            if verdict in ("same", "different"):
                self._join(pair, verdict)

    def _name(self, image: str, name: str, number: int) -> None:
        self.base[image] = name
        self._named_by[image] = number

    def _cut(self, decision: Decision, moved: set[str], name: str) -> bool:
        """Tell whether naming some photographs cuts through an earlier link: the other side stays elsewhere."""
        outside = [image for image in decision.images if image not in moved]
        return bool(outside) and self.base.get(outside[0]) != name

    def _join_known(self, loose: set[str]) -> None:
        """Link the photographs of one name, and the unnamed ones of one encounter."""
        self.links = Links()
        first: dict[str, str] = {}
        for image, name in self.base.items():
            self.links.add(image)
            if name is not None:
                self.links.join(("name", name), image)
            # What the catalogue left unnamed stays with its encounter, although a reviewer has named it since.
            if self.catalogue_names.get(image) is None and image in self.encounters and image not in loose:
                other = first.setdefault(self.encounters[image], image)
                if other != image:
                    self.links.join(other, image)

    def _vote(self, decision: Decision) -> bool:
        """Add a vote where that only adds to what is known; False where a vote or link changes, and nothing is done."""
        pair = decision.pair
        before = dict(self.votes.get(pair, {}))
        # With several votes asked for, one of another pair may count for this one and the other way round.
        if self.votes_needed > 1 or any(vote.kind != decision.kind for vote in before.values()):
            return False
        for image in pair:
            self.base.setdefault(image, None)
            self.links.add(image)
        self._remember(decision)
        self._supporters.setdefault((decision.kind, self._units(pair)), set()).add(decision.who)
        if not before and decision.kind in ("same", "different"):
            self._join(pair, decision.kind)
        return True

    def _remember(self, decision: Decision) -> None:
        if decision.pair not in self.votes:
            for image in decision.pair:
                self._pairs_of.setdefault(image, []).append(decision.pair)
        self.votes.setdefault(decision.pair, {})[decision.who] = _vote(decision)

    def _join(self, pair: Pair, verdict: str) -> None:
        if verdict == "same":
            self.links.join(*pair)
        else:
            self.links.keep_apart(*pair)

    def _units(self, pair: Pair) -> frozenset[Node]:
        """Return what a pair's votes are counted for: two individuals, or encounters, or photographs."""
        units: list[Node] = []
        for image in pair:
            name = self.base.get(image)
            if name is not None:
                units.append(("name", name))
            else:
                units.append(("encounter", self.encounters[image]) if image in self.encounters else image)
        return frozenset(units)

    def _verdict(self, pair: Pair) -> str:
        """Return what holds of a pair: "same", "different", "disputed", "open" (votes are missing), or what was said
        of it that is no link."""
        kinds = {vote.kind for vote in self.votes[pair].values()}
        if {"same", "different"} <= kinds:
            return "disputed"
        for kind in ("same", "different"):
            if kind in kinds:
                enough = len(self._supporters[kind, self._units(pair)]) >= self.votes_needed
                return kind if enough else "open"
        return max(self.votes[pair].values(), key=lambda vote: vote.number).kind

    # --- asking -------------------------------------------------------------------------------------------------------

    def group(self, image: str) -> list[str]:
        """Return the photographs linked with one, itself among them."""
        return self.links.members(image)

    def name(self, image: str) -> str | None:
        """Return a photograph's name today; None if it has none, or if its group reaches two and it had none before."""
        own = self.base.get(image)
        if own is not None:
            return own
        names = self.links.names(image)
        return next(iter(names)) if len(names) == 1 else None

    def names(self) -> dict[str, str | None]:
        """Return every photograph's name today."""
        return {image: self.name(image) for image in self.base}

    def photographs_of(self, name: str) -> list[str]:
        """Return an individual's photographs, [] if there is none of that name."""
        return [image for image in self.links.members(("name", name)) if self.name(image) == name]

    def individuals(self) -> dict[str, list[str]]:
        """Return name -> photographs, in the catalogue's order."""
        found: dict[str, list[str]] = {}
        for image, name in self.names().items():
            if name is not None:
                found.setdefault(name, []).append(image)
        return found

    def votes_of(self, image: str) -> Iterator[tuple[str, Vote]]:
        """Yield (other photograph, vote) for every last word on a photograph and another."""
        for pair in self._pairs_of.get(image, ()):
            other = pair[1] if pair[0] == image else pair[0]
            for vote in self.votes[pair].values():
                yield other, vote

    def votes_on(self, image: str) -> list[Vote]:
        """Return every last word on a photograph and another."""
        return [vote for _, vote in self.votes_of(image)]

    def pair_votes(self, first: str, second: str) -> list[Vote]:
        """Return the reviewers' last words on a pair."""
        pair = (first, second) if first <= second else (second, first)
        return list(self.votes.get(pair, {}).values())

    def verdict(self, first: str, second: str) -> str:
        """Return what holds of two photographs: "same", "different", "both" (a contradiction) or "" (open)."""
        linked, apart = self.links.linked(first, second), self.links.apart(first, second)
        return "both" if linked and apart else "same" if linked else "different" if apart else ""

    def rejected(self, image: str) -> tuple[set[str], set[Node]]:
        """Return what a photograph's group is kept apart from: individuals by name, and unnamed groups by their root.

        A rejected individual is its name alone, although a contradiction may link it with another.
        """
        names: set[str] = set()
        groups: set[Node] = set()
        for other in self.links.others_apart(image):
            name = self.name(other)
            if name is None:
                groups.add(self.links.root(other))
            else:
                names.add(name)
        return names, groups

    def contradictions(self) -> list[Contradiction]:
        """Return all contradictions, the newest first."""
        if self._contradictions is None:
            found = [*self._disputed(), *self._linked_and_different(), *self._two_names()]
            self._contradictions = sorted(found, key=lambda one: -max(one.decisions, default=0))
        return self._contradictions

    def _disputed(self) -> Iterable[Contradiction]:
        for pair in self._disputed_pairs:
            numbers = sorted(vote.number for vote in self.votes[pair].values())
            yield Contradiction("reviewers disagree", pair, tuple(numbers), self._names_of(pair))

    def _linked_and_different(self) -> Iterable[Contradiction]:
        for pair in self.links.broken():
            way = self.links.way(*pair)
            images = tuple(node for node in way if isinstance(node, str))
            rows = self._rows_between(way) | {vote.number for vote in self.pair_votes(*pair)}
            yield Contradiction("linked and different", images, tuple(sorted(rows)), self._names_of(images))

    def _two_names(self) -> Iterable[Contradiction]:
        for names in self.links.shared_names():
            ordered = sorted(names)
            for other in ordered[1:]:
                way = self.links.way(("name", ordered[0]), ("name", other))
                images = tuple(node for node in way if isinstance(node, str))
                yield Contradiction("two names", images, tuple(sorted(self._rows_between(way))), (ordered[0], other))

    def _rows_between(self, way: list[Node]) -> set[int]:
        """Return the rows that the links along a way come from."""
        rows: set[int] = set()
        for first, second in itertools.pairwise(way):
            if isinstance(first, str) and isinstance(second, str):
                rows |= {vote.number for vote in self.pair_votes(first, second) if vote.kind == "same"}
            else:
                image = second if isinstance(second, str) else first
                if isinstance(image, str) and image in self._named_by:
                    rows.add(self._named_by[image])
        return rows

    def _names_of(self, images: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for image in images if (name := self.name(image)) is not None))


def replay(
    decisions: Iterable[Decision],
    names: Mapping[str, str | None],
    encounters: Mapping[str, str] | None = None,
    votes: int = 1,
) -> ReviewState:
    """Return today's state: see :class:`ReviewState` for the arguments. The same rows always give the same state."""
    state = ReviewState(names, encounters, votes)
    state.extend(decisions)
    return state


def replay_on(table: pd.DataFrame, decisions: Iterable[Decision], votes: int = 1) -> ReviewState:
    """Return today's state of the photographs of a catalogue's table (image_id, individual_id, encounter_id)."""
    names, encounters = known_of(table)
    return replay(decisions, names, encounters, votes)


def known_of(table: pd.DataFrame) -> tuple[dict[str, str | None], dict[str, str]]:
    """Return what a catalogue's table says of names and encounters, as :class:`ReviewState` takes them."""
    names: dict[str, str | None] = {}
    encounters: dict[str, str] = {}
    columns = (table[name] for name in ("image_id", "individual_id", "encounter_id"))
    for image, name, encounter in zip(*columns, strict=True):
        names[str(image)] = str(name) if pd.notna(name) else None
        if pd.notna(encounter):
            encounters[str(image)] = str(encounter)
    return names, encounters


def _vote(decision: Decision) -> Vote:
    return Vote(decision.who, decision.kind, decision.number)
