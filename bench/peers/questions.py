"""The questions that all peers are asked.

Each question is one photograph from above under one of three rules (:mod:`bench.protocols`). The rules are masks over
the catalogue, so that every peer sees exactly the same candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from bench.protocols import TOP_PLACES, Rule, allowed
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.training.ranker_training import choose_queries
from features.records import BoolArray

ASKED: tuple[Rule, ...] = ("all", "other_encounter", "other_year")
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Question:
    """One photograph under one rule.

    Attributes:
        query: row of the photograph in the catalogue.
        rule: one of :data:`ASKED`.
        allowed: (N,) bool, the photographs that may be answers.
        relevant: (N,) bool, those of them that show the same individual; at least one.
    """

    query: int
    rule: Rule
    allowed: BoolArray
    relevant: BoolArray


@dataclass(frozen=True, eq=False)
class Sheet:
    """What is asked of whom.

    Attributes:
        index: the described photographs, from above and labelled.
        questions: the questions.
    """

    index: CatalogIndex
    questions: tuple[Question, ...]

    @property
    def catalog(self) -> Catalog:
        """The photographs."""
        return self.index.catalog

    @property
    def individuals(self) -> npt.NDArray[np.str_]:
        """(N,) names."""
        return self.catalog.table["individual_id"].to_numpy(str)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a peer answered.

    Attributes:
        scores: for each question (N,) scores of the catalogue, larger is more alike; -inf is no answer. What the
            question does not allow is ignored.
        seconds_photo: time to describe one photograph.
        seconds_query: time of one question in a described catalogue.
        called_new: for each question, True where the peer says that the individual is in no photograph; None if it has
            no such answer.
    """

    scores: Sequence[Scores]
    seconds_photo: float
    seconds_query: float
    called_new: npt.NDArray[np.bool_] | None = None


class Peer(Protocol):
    """A method of re-identification."""

    name: ClassVar[str]
    source: ClassVar[str]

    def answer(self, sheet: Sheet) -> Answers:
        """Describe the photographs and answer every question."""


def questions_of(catalog: Catalog, count: int, seed: int) -> tuple[Question, ...]:
    """Return the questions: ``count`` photographs, individuals in turn, under every rule that leaves them a match."""
    names = catalog.keys.individual_id
    questions = []
    for image_id in choose_queries(catalog, count, seed):
        row = catalog.position(image_id)
        for rule in ASKED:
            mask = allowed(catalog.row(image_id), catalog, rule)
            relevant = mask & (names == names[row])
            if relevant.any():
                questions.append(Question(row, rule, mask, relevant))
    return tuple(questions)


def hits_of(question: Question, scores: Scores) -> BoolArray:
    """Return which of the first places of a peer's list are right; ties by row."""
    rows = np.flatnonzero(question.allowed & (scores > -np.inf))
    return question.relevant[rows[np.argsort(-scores[rows], kind="stable")][:TOP_PLACES]]
