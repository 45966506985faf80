"""A review at work: the catalogue, the file of decisions, their replay and the queue, kept in step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.encounters import is_known
from engine.review.decision_table import ReviewFile
from engine.review.decisions import PAIR_KINDS, Decision, ReviewError
from engine.review.naming import check
from engine.review.questions import questions_of
from engine.review.queue import Queue
from engine.review.replay import ReviewState, known_of
from engine.review.reviewed import record_of, with_new_photographs
from engine.review.standing import Standing


@dataclass(frozen=True)
class Ranked:
    """One photograph of an answer: its id, the probability, and what was found (None where nothing was measured)."""

    image: str
    probability: float
    cosine: float | None = None
    matches: int | None = None
    inliers: int | None = None


class Review:
    """Everything that pages and programs ask of a review. One thread at a time may use it.

    Args:
        catalog: the catalogue as it was read.
        file: where decisions are kept; other processes may write to it meanwhile.
        votes: how many reviewers must say the same before a link holds.
        by_encounter: photographs of one encounter are one question.

    Attributes:
        photographs: the catalogue with the photographs that the review added.
        state: the replay of all decisions.
        queue: the questions.
    """

    def __init__(self, catalog: Catalog, file: ReviewFile, votes: int = 1, by_encounter: bool = True) -> None:
        self.catalog, self.file = catalog, file
        self.by_encounter = by_encounter
        self.photographs = with_new_photographs(catalog, file)
        self.state = ReviewState(*known_of(self.photographs.table), votes)
        self._ranked: dict[str, dict[str, Ranked]] = {}
        self._parts: dict[str, dict[str, Any]] = {}
        self._keys: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {}
        self.queue = Queue(self.state)
        self._ask(self.photographs.ids)
        self.refresh()
        self.learn(self.file.answered())

    def _ask(self, images: Sequence[str]) -> None:
        """Take up what is known of photographs, and what they ask."""
        for row in self.photographs.subset(images).table.to_dict("records"):
            self.rows[str(row["image_id"])] = {str(name): value for name, value in row.items()}
        views = {image: view for image in images if is_known(view := self.rows[image]["viewpoint"])}
        self.queue.viewpoints.update(views)
        asked = questions_of(self.photographs.table, self.by_encounter)
        self.queue.add(one for one in asked if self.queue.questions.get(one.key) != one)

    def refresh(self) -> None:
        """Take up the decisions that were written since, by whomever."""
        if self.file.last() > self.state.last:
            new = self.file.decisions(self.state.last)
            self._keys.update(one.key for one in new if one.key)
            self.queue.forget(self.state.extend(new))

    def add_photographs(self, table: pd.DataFrame) -> list[str]:
        """Add photographs that are no part of the catalogue, and ask who they show; returns their ids.

        Args:
            table: rows of a catalogue's table, with ids that neither the catalogue nor the review has.
        """
        records = [record_of(row) for row in table.to_dict("records")]
        taken = [record["image_id"] for record in records if record["image_id"] in self.rows]
        if taken:
            raise ReviewError(f"there is a photograph {taken[0]!r} already: give the new one another id")
        self.file.add_photographs((record["image_id"], record) for record in records)
        self.photographs = with_new_photographs(self.catalog, self.file)
        names, encounters = known_of(self.photographs.table)
        new = [record["image_id"] for record in records]
        touched = self.state.add_photographs({image: names[image] for image in new}, encounters)
        self._ask(new)
        self.queue.forget(touched)
        return new

    def learn(self, images: Iterable[str]) -> None:
        """Take up the engine's answers to photographs, as they are in the file."""
        for image, record in self.file.answers(list(images)).items():
            ranked = [Ranked(*values) for values in record["photographs"]]
            self._ranked[image] = {one.image: one for one in ranked}
            self._parts[image] = record.get("parts", {})
            self.queue.answer(image, {one.image: one.probability for one in ranked})

    def ranked(self, query: str, image: str) -> Ranked | None:
        """Return what was found of a photograph beside one that was asked; None if it is not among the answers."""
        return self._ranked.get(query, {}).get(image)

    def parts(self, query: str, image: str) -> dict[str, Any] | None:
        """Return what the ranker's features added to a pair's score, as plain values; None if nobody asked."""
        return self._parts.get(query, {}).get(image)

    def standing(self, image: str) -> Standing:
        """Return how the question of a photograph stands.

        Raises:
            ReviewError: no question has this photograph.
        """
        question = self.queue.question_of(image)
        if question is None:
            raise ReviewError(f"there is no question about {image!r}")
        return self.queue.standing(question.key)

    def decide(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Write decisions, all or none, and return them as they are in the table.

        What was shown and with which probability is added where it is known and not said.

        Raises:
            ReviewError: one of them cannot be made (:func:`engine.review.naming.check`).
        """
        written = self.file.append(self.ready(decisions))
        self.refresh()
        return written

    def ready(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Return decisions as they are to be written, if they can be made; :meth:`decide` says the rest."""
        self.refresh()
        for decision in decisions:
            if decision.key not in self._keys:
                check(decision, self.state)
        return [self._with_probability(decision) for decision in decisions]

    def _with_probability(self, decision: Decision) -> Decision:
        if decision.kind not in PAIR_KINDS or decision.probability is not None:
            return decision
        query, image = decision.images
        question = self.queue.question_of(query)
        if question is None:
            return decision
        standing = self.queue.standing(question.key)
        for rank, candidate in enumerate(standing.candidates, start=1):
            if image in candidate.images:
                shown = {"question": question.key, "rank": rank, "name": candidate.name, **decision.shown}
                return decision.replace(probability=candidate.probability, shown=shown)
        return decision

    def other_photographs(self, name: str) -> list[str]:
        """Return an individual's photographs today, [] if there is none of that name."""
        return self.state.photographs_of(name)

    def when(self, image: str) -> str:
        """Return what is known of when a photograph was taken: YYYY-MM-DD, YYYY-MM or YYYY, "" if nothing is."""
        row = self.rows[image]
        if not is_known(row["earliest"]) or not is_known(row["latest"]):
            return ""
        first, last = (row[name].isoformat()[:10] for name in ("earliest", "latest"))
        return next((first[:length] for length in (10, 7, 4) if first[:length] == last[:length]), "")

    def day(self, image: str) -> str:
        """Return the day on which a photograph was taken, YYYY-MM-DD, "" if it is not known."""
        date = self.rows[image]["date"]
        return date.isoformat()[:10] if is_known(date) else ""
