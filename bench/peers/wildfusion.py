"""The calibrated mean of a global similarity and a local match count.

Source: Cermak, Picek, Adam, Neumann and Matas, "WildFusion: Individual Animal Identification with Calibrated
Similarity Fusion" (2024): each score is turned into the probability of the same individual by a curve fitted on
labelled pairs (isotonic regression), and the mean of the two ranks; the local score is the number of LightGlue matches
of confidence above 0.5, and only the globally best candidates (here the shortlist's size) are matched.

Descriptor, keypoints and LightGlue are this project's, so that the rule of fusion is compared. The curves are fitted
in folds of individuals: whoever is asked had no part in his curve, neither as query nor as candidate.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bench.matching_time import MatchingTime
from bench.peers.questions import Answers, Scores, Sheet
from engine.search.matcher import Matcher
from reranker.calibration import Calibration, fit_calibration
from reranker.protocols import assign_folds

FOLDS = 5


class WildFusion:
    """Mean of calibrated cosine and calibrated LightGlue counts."""

    name: ClassVar[str] = "calibrated mean (WildFusion)"
    source: ClassVar[str] = "WildFusion's rule over our descriptor, keypoints and matches"

    def __init__(self, matcher: Matcher, time: MatchingTime, seed: int = 0) -> None:
        self._matcher, self._time, self._seed = matcher, time, seed

    def answer(self, sheet: Sheet) -> Answers:
        """Match the shortlists of all questions, fit the curves, and rank."""
        vectors, size = sheet.index.vectors, self._matcher.settings.shortlist.size
        cosines = [np.asarray(vectors @ vectors[q.query], np.float64) for q in sheet.questions]
        lists = []
        for question, cosine in zip(sheet.questions, cosines, strict=True):
            rows = np.flatnonzero(question.allowed)
            lists.append(rows[np.argsort(-cosine[rows], kind="stable")][:size])
        counts = self._counts(sheet, lists)
        fused = self._fuse(sheet, lists, cosines, counts)
        pairs = float(np.mean([len(rows) for rows in lists])) if lists else 0.0
        return Answers(fused, self._time.seconds_photo, pairs * self._time.seconds_lightglue)

    def _counts(self, sheet: Sheet, lists: list[npt.NDArray[np.intp]]) -> list[Scores]:
        """Return the number of matches above 0.5 of every (question, candidate); a pair is matched once."""
        ids = sheet.catalog.ids
        named = [[(ids[q.query], ids[row]) for row in rows] for q, rows in zip(sheet.questions, lists, strict=True)]
        pairs = list(dict.fromkeys(pair for part in named for pair in part))
        table = self._matcher.compare(pairs, sheet.index)
        count_of = dict(zip(pairs, table["lightglue_matches_50"].to_numpy(float), strict=True))
        return [np.array([count_of[pair] for pair in part], np.float64) for part in named]

    def _fuse(
        self, sheet: Sheet, lists: list[npt.NDArray[np.intp]], cosines: list[Scores], counts: list[Scores]
    ) -> list[Scores]:
        names = sheet.individuals
        asked = names[[q.query for q in sheet.questions]]
        first = np.concatenate([np.full(len(rows), who) for who, rows in zip(asked, lists, strict=True)])
        second = names[np.concatenate(lists)]
        same = first == second
        every = [
            np.concatenate([cosine[rows] for cosine, rows in zip(cosines, lists, strict=True)]),
            np.log1p(np.concatenate(counts)),
        ]
        load = np.concatenate([same.astype(float), np.zeros(len(second))])
        fold_of = assign_folds(np.concatenate([first, second]), load, min(FOLDS, len(set(asked))), self._seed)
        fold0, fold1 = (np.array([fold_of[name] for name in side]) for side in (first, second))
        fused = []
        curves: dict[int, list[Calibration]] = {}
        for who, rows, cosine, count in zip(asked, lists, cosines, counts, strict=True):
            fold = fold_of[who]
            if fold not in curves:
                others = (fold0 != fold) & (fold1 != fold)
                curves[fold] = [fit_calibration(values[others], same[others]) for values in every]
            scores = np.full(len(names), -np.inf)
            scores[rows] = (curves[fold][0](cosine[rows]) + curves[fold][1](np.log1p(count))) / 2
            fused.append(scores)
        return fused
