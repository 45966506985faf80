"""The questions that all peers are asked, and what their answers are worth.

Each question is one photograph from above under one of three rules: it is searched among all photographs but itself
(``all``), without those of its own encounter (``other_encounter``), or among those of other years only
(``other_year``). The rules are masks over the catalogue, so that every peer sees exactly the same candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.index import CatalogIndex
from engine.training.ranker_training import choose_queries
from features.records import BoolArray
from reranker.metrics import average_precision, bootstrap_by_group, paired_bootstrap

RULES = {"all": "all matches", "other_encounter": "other encounters", "other_year": "other years"}
TOP = 20
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Question:
    """One photograph under one rule.

    Attributes:
        query: row of the photograph in the catalogue.
        rule: a key of :data:`RULES`.
        allowed: (N,) bool, the photographs that may be answers.
        relevant: (N,) bool, those of them that show the same individual; at least one.
    """

    query: int
    rule: str
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
    table = catalog.table
    names = table["individual_id"].to_numpy(str)
    years = table["date"].dt.year.to_numpy(float)
    questions = []
    for image_id in choose_queries(catalog, count, seed):
        row = catalog.position(image_id)
        record = table.iloc[row].to_dict()
        elsewhere = CandidateFilter(exclude_encounter=True).mask_for(record, catalog)
        masks = {
            "all": CandidateFilter().mask_for(record, catalog),
            "other_encounter": elsewhere,
            # NaN, an unknown year, differs from itself: it is left out on both sides.
            "other_year": elsewhere & ~np.isnan(years) & ~np.isnan(years[row]) & (years != years[row]),
        }
        for rule, allowed in masks.items():
            relevant = allowed & (names == names[row])
            if relevant.any():
                questions.append(Question(row, rule, allowed, relevant))
    return tuple(questions)


def ranked(scores: Scores, allowed: BoolArray) -> npt.NDArray[np.intp]:
    """Return the rows of the first :data:`TOP` answers, best first; ties by row."""
    rows = np.flatnonzero(allowed & (scores > -np.inf))
    return rows[np.argsort(-scores[rows], kind="stable")][:TOP]


def judge(sheet: Sheet, answers: Answers) -> dict[str, Any]:
    """Return (Q,) average precision, whether the first answer is right, and "new" where the peer says so."""
    hits = [
        q.relevant[ranked(np.asarray(s, np.float64), q.allowed)]
        for q, s in zip(sheet.questions, answers.scores, strict=True)
    ]
    precision = [average_precision(h, int(q.relevant.sum()), TOP) for q, h in zip(sheet.questions, hits, strict=True)]
    return {
        "ap20": np.array(precision),
        "top1": np.array([bool(h[:1].any()) for h in hits], float),
        "called_new": answers.called_new,
    }


def figures_of(sheet: Sheet, judged: dict[str, dict[str, Any]], reference: str | None) -> list[dict[str, Any]]:
    """Return one record per peer and rule, with 95 % intervals over whales.

    Args:
        sheet: the questions.
        judged: peer -> :func:`judge`.
        reference: the peer that every other is compared with; None compares nothing.
    """
    rules = np.array([q.rule for q in sheet.questions])
    who = sheet.individuals[[q.query for q in sheet.questions]]
    records = []
    for name, found in judged.items():
        for rule in RULES:
            asked = rules == rule
            if not asked.any():
                continue
            record: dict[str, Any] = {"peer": name, "rule": rule, "queries": int(asked.sum())}
            record["individuals"] = len(set(who[asked]))
            record["map20"] = bootstrap_by_group(found["ap20"][asked], who[asked])._asdict()
            record["top1"] = bootstrap_by_group(found["top1"][asked], who[asked])._asdict()
            if reference is not None and reference != name:
                best = judged[reference]["ap20"][asked]
                record["difference"] = paired_bootstrap(found["ap20"][asked], best, who[asked])._asdict()
            if found["called_new"] is not None:
                record["called_new"] = float(found["called_new"][asked].mean())
            records.append(record)
    return records
