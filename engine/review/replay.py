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

Decisions are taken in one by one: of the names, links and votes, only what a decision changes is computed again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from engine.review.contradictions import Contradiction, contradictions_of
from engine.review.decisions import NAMING_KINDS, PAIR_KINDS, Decision
from engine.review.given_names import GivenNames
from engine.review.links import Edge, Links, Node
from engine.review.votes import Vote, Votes


@dataclass(frozen=True)
class Touched:
    """What some decisions concern.

    Attributes:
        spoken_of: photographs of the groups that they speak of.
        linked: those whose name, or group without a name, changed.
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
        decisions, rows: all of them, in order, and by number.
        last: number of the last row replayed.
        counting: the rows that nobody took back, undos among them.
        votes: what was said of pairs.
        skipped: reviewer -> question put off -> row.
    """

    def __init__(
        self, names: Mapping[str, str | None], encounters: Mapping[str, str] | None = None, votes: int = 1
    ) -> None:
        self.catalogue_names = dict(names)
        self.encounters = dict(encounters or {})
        self.votes_needed = votes
        self.last = 0
        self.decisions: list[Decision] = []
        self.rows: dict[int, Decision] = {}
        self._contradictions: list[Contradiction] | None = None
        self._rebuild()

    # --- building -----------------------------------------------------------------------------------------------------

    def extend(self, decisions: Iterable[Decision]) -> Touched:
        """Add decisions, in the order of their rows; return the photographs that they concern."""
        new = [one for one in decisions if one.number > self.last]
        if new:
            self.decisions += new
            self.rows.update((one.number, one) for one in new)
            self.last = new[-1].number
        return self._take(new)

    @contextlib.contextmanager
    def trying(self, decision: Decision) -> Iterator[ReviewState]:
        """Give this state as it would be after one more decision; it is as it was afterwards."""
        contradictions, last = self._contradictions, self.last
        row = decision.replace(number=last + 1)
        self.extend([row])
        try:
            yield self
        finally:
            self.rows.pop(self.decisions.pop().number)
            self.last = last
            self._take([], [row])
            self._contradictions = contradictions

    def add_photographs(
        self, names: Mapping[str, str | None], encounters: Mapping[str, str] | None = None
    ) -> Touched | None:
        """Add photographs that came later, as the catalogue would have named them.

        Returns:
            The photographs that they concern, None where they may concern any.
        """
        simple = all(name is None and image not in self.base for image, name in names.items())
        self.catalogue_names.update(names)
        self.encounters.update(encounters or {})
        if not simple:
            self._rebuild()
            return None
        changed: dict[str, None] = {}
        for image in names:
            self._know(image)
            if image in self.encounters:
                self._unnamed_of.setdefault(self.encounters[image], []).append(image)
                changed[self.encounters[image]] = None
        return self._relink([edge for one in changed for edge in self._stars.get(one, ())], self._star_edges(changed))

    def active(self) -> list[Decision]:
        """Return the decisions that nobody took back, undos left out."""
        return [one for one in self.decisions if one.kind != "undo" and one.number in self.counting]

    def _rebuild(self) -> None:
        self.counting: set[int] = set()
        self.votes = Votes(self.votes_needed, self._unit)
        self.skipped: dict[str, dict[str, int]] = {}
        self.links = Links()
        self._given = GivenNames(self.catalogue_names)
        self._stars: dict[str, list[Edge]] = {}
        self._unnamed_of: dict[str, list[str]] = {}
        for image, name in self.catalogue_names.items():
            self.links.add(image)
            if name is not None:
                self.links.join(("name", name), image)
            elif image in self.encounters:
                self._unnamed_of.setdefault(self.encounters[image], []).append(image)
        for edge in self._star_edges(self._unnamed_of):
            self.links.join(*edge)
        self._take(self.decisions)

    def _take(self, new: Sequence[Decision], gone: Sequence[Decision] = ()) -> Touched:
        """Take rows in, and others out that :attr:`decisions` holds no more; only what that changes is done."""
        flipped = self._count(new, gone)
        self._note(new, gone, flipped)
        renamed, retired, cuts, joins = self._rename(new, flipped)
        pairs = dict.fromkeys(one.pair for one in (*new, *flipped) if one.kind in PAIR_KINDS)
        pairs.update(dict.fromkeys(self.rows[number].pair for number in retired if number in self.rows))
        settled = self.votes.settle(
            pairs, sorted(renamed), lambda number: number in self.counting and number not in self._given.retired
        )
        changed = [one for one in settled if one.before != one.now]
        cuts += [one.pair for one in changed if one.before == "same"]
        joins += [one.pair for one in changed if one.now == "same"]
        touched = self._relink(cuts, joins, renamed, {image for one in settled for image in one.pair})
        for one in changed:
            if one.before == "different":
                self.links.let_together(*one.pair)
            if one.now == "different":
                self.links.keep_apart(*one.pair)
        return touched

    def _count(self, new: Sequence[Decision], gone: Sequence[Decision]) -> list[Decision]:
        """Find out which rows count; return those of before that count no more, or again."""
        numbers = {one.number for one in new}
        if not any(one.kind == "undo" for one in (*new, *gone)):
            self.counting |= numbers
            self.counting -= {one.number for one in gone}
            return list(gone)
        undone: set[int] = set()
        for one in reversed(self.decisions):
            if one.kind == "undo" and one.number not in undone and one.target < one.number:
                undone.add(one.target)
        before, self.counting = self.counting, self.rows.keys() - undone
        flipped = (before ^ self.counting) - numbers
        return [*(self.rows[number] for number in sorted(flipped & self.rows.keys())), *gone]

    def _note(self, new: Sequence[Decision], gone: Sequence[Decision], flipped: Sequence[Decision]) -> None:
        """Keep what was said of every pair, and what was put off."""
        for one in new:
            if one.kind in PAIR_KINDS:
                self.votes.note(one)
                for image in one.images:
                    self._know(image)
        for one in gone:
            if one.kind in PAIR_KINDS:
                self.votes.forget(one)
        again = any(one.kind == "skip" for one in flipped)
        if again:
            self.skipped = {}
        for one in self.decisions if again else new:
            if one.kind == "skip" and one.number in self.counting:
                self.skipped.setdefault(one.who, {}).update(dict.fromkeys(one.images, one.number))

    def _rename(
        self, new: Sequence[Decision], flipped: Sequence[Decision]
    ) -> tuple[set[str], set[int], list[Edge], list[Edge]]:
        """Give names anew where they change.

        Returns:
            Photographs that are named otherwise; rows of links that were cut through, or are so no more; and the links
            to take away and to add.
        """
        given, loose, retired = self._given, set(self._given.loose), set(self._given.retired)
        if any(one.kind in (*NAMING_KINDS, "same") for one in flipped):
            given = GivenNames(self.catalogue_names, self.active())
            for image in self.base:
                given.base.setdefault(image, None)
            before = given.differences(self._given)
        else:
            for one in new:
                if one.number in self.counting:
                    given.take(one)
            before = {image: name for image, name in given.changed.items() if name != given.base[image]}
        given.changed.clear()
        self._given = given
        cuts: list[Edge] = [(("name", name), image) for image, name in before.items() if name is not None]
        joins: list[Edge] = [(("name", name), image) for image in before if (name := self.base[image]) is not None]
        moved = dict.fromkeys(
            self.encounters[image] for image in sorted(loose ^ given.loose) if image in self.encounters
        )
        cuts += [edge for encounter in moved for edge in self._stars.get(encounter, ())]
        return set(before), retired ^ given.retired, cuts, joins + self._star_edges(moved)

    def _star_edges(self, encounters: Iterable[str]) -> list[Edge]:
        """Return the links that hold unnamed photographs of encounters together, but for those that were taken out.

        What the catalogue left unnamed stays with its encounter, although a reviewer has named it since.
        """
        for encounter in encounters:
            first, *others = [*(i for i in self._unnamed_of.get(encounter, ()) if i not in self._given.loose), ""]
            self._stars[encounter] = [(first, other) for other in others if other]
        return [edge for encounter in encounters for edge in self._stars[encounter]]

    def _unit(self, image: str) -> Node:
        """Return what votes on a photograph are counted for: an individual, an encounter, or itself."""
        name = self.base.get(image)
        if name is not None:
            return ("name", name)
        return ("encounter", self.encounters[image]) if image in self.encounters else image

    def _know(self, image: str) -> None:
        self.base.setdefault(image, None)
        self.links.add(image)

    def _relink(
        self, cuts: Sequence[Edge], joins: Sequence[Edge], renamed: Collection[str] = (), said: Collection[str] = ()
    ) -> Touched:
        """Take links away, add others, and return whom that concerns, with those named or spoken of otherwise."""
        self._contradictions = None
        ends = {node for edge in (*cuts, *joins) for node in edge}
        before = {image: self.name(image) for image in self.links.around(ends)}
        self.links.cut(cuts)
        for edge in joins:
            self.links.join(*edge)
        near = self.links.around({*ends, *said}) | before.keys()
        linked = {image for image, name in before.items() if (now := self.name(image)) is None or now != name}
        linked.update(renamed)
        # Who was said to be another than one of these is now another than whoever this one is.
        opposite = {other for image in linked for other in self.links.own_apart(image)}
        return Touched(near | self.links.around(opposite), linked)

    # --- asking -------------------------------------------------------------------------------------------------------

    @property
    def base(self) -> dict[str, str | None]:
        """Photograph -> the name that the catalogue or a decision gives it, before links count."""
        return self._given.base

    @property
    def named_by(self) -> dict[str, int]:
        """Photograph -> row of the decision that named it."""
        return self._given.named_by

    @property
    def retired(self) -> frozenset[int]:
        """Rows of links that a split or move cut through."""
        return frozenset(self._given.retired)

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
        for pair in self.votes.pairs_of(image):
            other = pair[1] if pair[0] == image else pair[0]
            for vote in self.votes.last_words.get(pair, {}).values():
                yield other, vote

    def votes_on(self, image: str) -> list[Vote]:
        """Return every last word on a photograph and another."""
        return [vote for _, vote in self.votes_of(image)]

    def pair_votes(self, first: str, second: str) -> list[Vote]:
        """Return the reviewers' last words on a pair."""
        pair = (first, second) if first <= second else (second, first)
        return list(self.votes.last_words.get(pair, {}).values())

    def verdict(self, first: str, second: str) -> str:
        """Return what holds of two photographs: "same", "different", "both" (a contradiction) or "" (open)."""
        linked, apart = self.links.linked(first, second), self.links.apart(first, second)
        return "both" if linked and apart else "same" if linked else "different" if apart else ""

    def rejected(self, image: str) -> tuple[set[str], set[str]]:
        """Return what a photograph's group is kept apart from: individuals by name, and unnamed groups by
        :meth:`engine.review.links.Links.group`.

        A rejected individual is its name alone, although a contradiction may link it with another.
        """
        names: set[str] = set()
        groups: set[str] = set()
        for other in self.links.others_apart(image):
            name = self.name(other)
            if name is None:
                groups.add(self.links.group(other))
            else:
                names.add(name)
        return names, groups

    def contradictions(self) -> list[Contradiction]:
        """Return all contradictions, the newest first."""
        if self._contradictions is None:
            self._contradictions = contradictions_of(self)
        return self._contradictions


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
