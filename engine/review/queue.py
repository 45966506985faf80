"""The queue of questions: orders, filters with their counts, and what comes next."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.review.questions import Question
from engine.review.replay import ReviewState, Touched
from engine.review.standing import OPEN, STATUSES, Answer, Standing, standing_of

ORDERS: dict[str, Callable[[Standing], tuple[float | str, ...]]] = {
    "settles most": lambda one: (-one.settles, one.question.key),
    "most certain": lambda one: (-(one.best.probability if one.best else 0.0), one.question.key),
    "newest": lambda one: (*(-ord(letter) for letter in one.question.date or "0"), one.question.key),
    "oldest": lambda one: (one.question.date or "9", one.question.key),
}
"""Every order of the queue: name -> what a question is sorted by."""


@dataclass(frozen=True)
class Wanted:
    """What the queue is to show.

    Attributes:
        order: one of :data:`ORDERS`.
        status: one of :data:`engine.review.standing.STATUSES`, "" for all.
        viewpoint, year: of the question, "" for all.
        text: part of a photograph's id or of a name, "" for all.
        who: the reviewer; what this one skipped comes last.
    """

    order: str = "settles most"
    status: str = ""
    viewpoint: str = ""
    year: str = ""
    text: str = ""
    who: str = ""


class Queue:
    """All questions with how they stand; what did not change is not computed again.

    Args:
        state: the replay of all decisions.

    Attributes:
        viewpoints: photograph -> viewpoint, of those where it is known.
    """

    def __init__(self, state: ReviewState) -> None:
        self.state = state
        self.viewpoints: dict[str, str] = {}
        self.questions: dict[str, Question] = {}
        self.answers: dict[str, Answer] = {}
        self._standings: dict[str, Standing] = {}
        self._asked: dict[str, set[str]] = {}  # photograph -> questions that it is part of
        self._offered: dict[str, set[str]] = {}  # photograph -> questions that it is among the answers of
        self._contradictory: frozenset[str] = frozenset()
        # What was asked of the queue since anything changed: many who look ask for the same.
        self._orders: dict[Wanted, list[Standing]] = {}
        self._counts: dict[Wanted, dict[str, dict[str, int]]] = {}
        self._progress: dict[str, int] = {}

    def _changed(self) -> None:
        self._orders.clear()
        self._counts.clear()
        self._progress.clear()

    def add(self, questions: Iterable[Question]) -> None:
        """Add questions; one of a key that is there takes its place."""
        self._changed()
        for question in questions:
            self.questions[question.key] = question
            self._standings.pop(question.key, None)
            for image in question.images:
                self._asked.setdefault(image, set()).add(question.key)
                for other in self.answers.get(image, ()):
                    self._offered.setdefault(other, set()).add(question.key)

    def answer(self, image: str, answer: Answer) -> None:
        """Add the engine's answer to one photograph."""
        self.answers[image] = answer
        for other in answer:
            self._offered.setdefault(other, set()).update(self._asked.get(image, ()))
        group = set(self.state.group(image))
        self.forget(Touched(group, set()))

    def forget(self, touched: Touched | None) -> None:
        """Let what concerns some photographs be computed again; everything if None."""
        self._changed()
        now = frozenset(image for one in self.state.contradictions() for image in one.images)
        if touched is None:
            self._standings.clear()
        else:
            for image in touched.spoken_of | (now ^ self._contradictory):
                for key in self._asked.get(image, ()):
                    self._standings.pop(key, None)
            for image in touched.linked:
                for key in self._offered.get(image, ()):
                    self._standings.pop(key, None)
        self._contradictory = now

    def standing(self, key: str) -> Standing:
        """Return how a question stands (KeyError if there is none of that key)."""
        if key not in self._standings:
            self._standings[key] = standing_of(
                self.questions[key], self.answers, self.state, self.viewpoints, self._contradictory
            )
        return self._standings[key]

    def question_of(self, image: str) -> Question | None:
        """Return the question that a photograph belongs to, None if it is none's."""
        keys = self._asked.get(image)
        return self.questions[min(keys)] if keys else None

    def all(self) -> list[Standing]:
        """Return how all questions stand, in the order in which they came."""
        return [self.standing(key) for key in self.questions]

    def wanted(self, wanted: Wanted) -> list[Standing]:
        """Return the questions to show, in order; those that the reviewer skipped come last. Not to be changed."""
        nobodys = dataclasses.replace(wanted, who="")
        if nobodys not in self._orders:
            found = [one for one in self.all() if _fits(one, wanted)]
            self._orders[nobodys] = sorted(found, key=ORDERS[wanted.order])
        found, skipped = self._orders[nobodys], self.state.skipped.get(wanted.who)
        return sorted(found, key=lambda one: skipped.get(one.question.key, 0)) if skipped else found

    def counts(self, wanted: Wanted) -> dict[str, dict[str, int]]:
        """Return, for every filter, how many questions each of its values leaves with the other filters as they are."""
        asked = dataclasses.replace(wanted, who="", order="")
        if asked not in self._counts:
            counts: dict[str, dict[str, int]] = {}
            for name, value_of in _FILTERS.items():
                others = dataclasses.replace(asked, **{name: ""})
                counts[name] = dict(Counter(value_of(one) for one in self.all() if _fits(one, others)))
            counts["status"] = {status: counts["status"].get(status, 0) for status in STATUSES}
            self._counts[asked] = counts
        return self._counts[asked]

    def progress(self) -> dict[str, int]:
        """Return how many questions there are of every status, and in all."""
        if not self._progress:
            counted = Counter(one.status for one in self.all())
            self._progress = {**{status: counted[status] for status in STATUSES}, "all": len(self.questions)}
        return self._progress

    def beside(self, key: str, wanted: Wanted, step: int = 1) -> str | None:
        """Return the question that follows one in the queue (or precedes it: -1), None at the end.

        From a question that the filters do not show, the walk starts at the first.
        """
        keys = [one.question.key for one in self.wanted(wanted)]
        if key not in keys:
            return keys[0] if keys else None
        place = keys.index(key) + step
        return keys[place] if 0 <= place < len(keys) else None

    def waiting_after(self, key: str, order: Sequence[str]) -> str | None:
        """Return the first open question behind one, and from the start again; None if there is no other.

        Args:
            key: of the question that was looked at.
            order: the keys of the queue as it was when it was looked at.
        """
        place = order.index(key) + 1 if key in order else 0
        for other in (*order[place:], *order[:place]):
            if other != key and self.standing(other).status == OPEN:
                return other
        return None


_FILTERS: dict[str, Callable[[Standing], str]] = {
    "status": lambda one: one.status,
    "viewpoint": lambda one: one.question.viewpoint or "unknown",
    "year": lambda one: one.question.year or "unknown",
}


def _fits(one: Standing, wanted: Wanted) -> bool:
    for name, value_of in _FILTERS.items():
        asked = getattr(wanted, name)
        if asked and value_of(one) != asked:
            return False
    if not wanted.text:
        return True
    text = wanted.text.lower()
    texts: Sequence[str] = (*one.question.images, one.name, one.best.name or "" if one.best else "")
    return any(text in each.lower() for each in texts)
