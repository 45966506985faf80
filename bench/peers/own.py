"""This project's own answers to the peers' questions: the shipped descriptor's cosine, and the whole engine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.out_of_fold import OutOfFold
from bench.peers.cosine import answer_by_cosine, seconds_to_describe
from bench.peers.questions import Answers, Scores, Sheet
from bench.speed.peak import seconds_a_pair
from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex
from engine.matching.measurements import FIRST_STAGE, LIGHTGLUE, MATCHERS
from engine.matching.pair_worker import PairTask
from engine.search.matcher import Matcher
from engine.workers import single_thread
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings

#: Photographs that the time of local matching is measured on: one query, and the others its candidates.
_TIMED = 31


@dataclass(frozen=True)
class LocalTime:
    """What describing and matching cost from nothing, in one process.

    Attributes:
        seconds_photo: global descriptor, regions and keypoints of one photograph (a share of loading the networks too).
        seconds_quick: both matchers of the first stage on one pair.
        seconds_second: LightGlue on one pair.
    """

    seconds_photo: float
    seconds_quick: float
    seconds_second: float

    @classmethod
    def measure(cls, matcher: Matcher, index: CatalogIndex) -> LocalTime:
        """Describe and match some photographs in a store of their own: the real one may know them already."""
        catalog = index.catalog.take(range(min(_TIMED, len(index))))
        with tempfile.TemporaryDirectory(prefix="scarmatch-time-") as folder:
            alone = Matcher(matcher.settings, Path(folder), ranker="fusion", workers=1, device=matcher.device)
            alone.compare([(catalog.ids[0], catalog.ids[0])], alone.index(catalog.take([0])))  # loads and compiles
            started = time.perf_counter()
            fresh = alone.index(catalog)
            described = time.perf_counter() - started
            keys = [item.key for item in fresh.descriptions]
            tasks, worker = [PairTask(keys[0], tuple(keys[1:]))], alone.pair_pool(alone.store_for(fresh.catalog)).worker
            with single_thread():
                spent = {name: seconds_a_pair(worker, tasks, name) for name in MATCHERS}
            alone.close()
        quick = sum(spent[name] for name in FIRST_STAGE)
        return cls(described / max(len(catalog) - 1, 1), quick, spent[LIGHTGLUE])


class OwnCosine:
    """The shipped descriptor alone."""

    name: ClassVar[str] = "scarmatch: cosine alone"
    source: ClassVar[str] = "the shipped descriptor"

    def __init__(self, descriptor: GlobalSettings) -> None:
        self._descriptor = descriptor

    def answer(self, sheet: Sheet) -> Answers:
        """Rank by the vectors of the index."""
        seconds = seconds_to_describe(GlobalDescriptor(self._descriptor), sheet.catalog)
        return answer_by_cosine(sheet, sheet.index.vectors, seconds)


class OwnEngine:
    """Everything: shortlist, matching, verification and ranker, each query by a ranker that never saw its whale."""

    name: ClassVar[str] = "scarmatch"
    source: ClassVar[str] = "the whole engine, ranker out of fold"

    def __init__(self, judges: OutOfFold, time: LocalTime) -> None:
        self._judges, self._time = judges, time

    def answer(self, sheet: Sheet) -> Answers:
        """Ask the engine through its public API, questions with the same candidates together."""
        catalog = sheet.catalog
        years = catalog.table["date"].dt.year.to_numpy(float)
        groups: dict[tuple[str, float], list[int]] = {}
        for number, question in enumerate(sheet.questions):
            year = years[question.query] if question.rule == "other_year" else 0.0
            groups.setdefault((question.rule, year), []).append(number)
        scores: list[Scores] = [np.zeros(0)] * len(sheet.questions)
        ranking = 0.0
        for (rule, year), numbers in groups.items():
            rows = np.flatnonzero(~np.isnan(years) & (years != year)) if rule == "other_year" else range(len(catalog))
            rule_filter = CandidateFilter(exclude_encounter=rule != "all")
            asked = sheet.index.take([sheet.questions[number].query for number in numbers])
            raw = self._judges.matcher.pairs(asked, sheet.index.take(list(rows)), rule_filter)
            started = time.perf_counter()
            answers = self._judges.rank(raw)
            ranking += time.perf_counter() - started
            found = {str(name): part for name, part in answers.groupby("query_id")}
            for number in numbers:
                scores[number] = np.full(len(catalog), -np.inf)
                part = found.get(catalog.ids[sheet.questions[number].query])
                if part is not None:
                    positions = [catalog.position(name) for name in part["image_id"]]
                    scores[number][positions] = part["probability"].to_numpy(float)
        lists = self._judges.matcher.settings.shortlist
        listed = min(lists.longest, len(catalog) - 1)
        seconds = listed * self._time.seconds_quick + lists.rescored(listed) * self._time.seconds_second
        seconds += ranking / max(len(sheet.questions), 1)
        return Answers(scores, self._time.seconds_photo, seconds)
