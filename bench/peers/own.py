"""The whole engine's own answers to the peers' questions."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from bench.matching_time import MatchingTime
from bench.out_of_fold import OutOfFold
from bench.peers.questions import Answers, Question, Scores, Sheet
from bench.protocols import filter_of


class OwnEngine:
    """Everything: shortlist, matching, verification and ranker, each query by a ranker that never saw its whale."""

    name: ClassVar[str] = "scarmatch"
    source: ClassVar[str] = "the whole engine, ranker out of fold"

    def __init__(self, rankers: OutOfFold, time: MatchingTime) -> None:
        self._rankers, self._time = rankers, time

    def answer(self, sheet: Sheet) -> Answers:
        """Ask the engine through its public API, questions with the same candidates together."""
        catalog, ranking = sheet.catalog, 0.0
        years = catalog.table["date"].dt.year.to_numpy(float)
        groups: dict[tuple[str, float], list[int]] = {}
        for number, question in enumerate(sheet.questions):
            year = years[question.query] if question.rule == "other_year" else 0.0
            groups.setdefault((question.rule, year), []).append(number)
        scores: list[Scores] = [np.full(len(catalog), -np.inf) for _ in sheet.questions]
        for numbers in groups.values():
            first: Question = sheet.questions[numbers[0]]
            # The engine's filter knows no years: those of the query's own leave the catalogue.
            others = np.flatnonzero(~np.isnan(years) & (years != years[first.query]))
            rows = others if first.rule == "other_year" else np.arange(len(catalog))
            asked = sheet.index.take([sheet.questions[number].query for number in numbers])
            raw = self._rankers.matcher.pairs(asked, sheet.index.take(rows), filter_of(first.rule), neighbours=True)
            started = time.perf_counter()
            answers = self._rankers.rank(raw)
            ranking += time.perf_counter() - started
            found = {str(name): part for name, part in answers.groupby("query_id")}
            for number in numbers:
                part = found.get(catalog.ids[sheet.questions[number].query])
                if part is not None:
                    positions = [catalog.position(name) for name in part["image_id"]]
                    scores[number][positions] = part["probability"].to_numpy(float)
        lists = self._rankers.matcher.settings.shortlist
        listed = lists.longest(len(catalog) - 1)
        seconds = listed * self._time.seconds_first + lists.rescored(listed) * self._time.seconds_lightglue
        return Answers(scores, self._time.seconds_photo, seconds + ranking / max(len(sheet.questions), 1))
