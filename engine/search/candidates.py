"""The candidates of every query in one flat table: the best of an exhaustive search, and its expansion.

Every allowed photograph is scored twice: by the cosine of the global descriptors, and by its mutual nearest neighbours
(:mod:`engine.matching.exhaustive`). Neither has a scale that means the same for every query, so each is Z-normalised as
biometric scores are: in standard deviations above the mean of all photographs that the query may have, nearly all of
which are impostors. A list holds the best by the sum. Such a score means the same for lists of 70 and of 2,000.

A whale's photographs of one encounter resemble each other more than the query resembles them, so a list by similarity
to the query holds some of them at best. Once the first stage has said which of the list are right, :func:`expand`
fetches what resembles those (query expansion through verified matches: Chum et al., "Total Recall", ICCV 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.matching.measurements import MatcherName
from features.records import BoolArray, FloatArray
from reranker.calibration import log_odds, sigmoid
from scarmatch.settings import Settings, SettingsError

#: Gives, for a query's row, the (N,) mask of the database rows that it may have as candidates.
Allowed = Callable[[int], npt.NDArray[np.bool_]]

#: The scores of :class:`Candidates` that the exhaustive search fills.
_SCORES = ("cosine", "requery", "local", "cosine_znorm", "local_znorm")

#: Candidates of a list whose likes are fetched.
_LEADERS = 8
#: Weights of the query, its best and its second best candidate in the re-query score, and the power of similarities:
#: those of the first place of "Where's Whale-do?".
_REQUERY_WEIGHTS = (0.4, 0.4, 0.2)
_REQUERY_POWER = 7.0
#: Numbers of :class:`ShortlistSettings` -> what 0 means.
_COUNTS = {"size": "all", "expansion": "none", "skin": "all", "rescore": "none", "neighbour_pairs": "none"}
#: Share of a list's candidates that are right, roughly: the first stage's evidence is for even odds.
_PRIOR = 0.1


@dataclass(frozen=True)
class ShortlistSettings(Settings):
    """Options of the lists of candidates.

    Attributes:
        size: candidates per query, the best of all allowed photographs by global descriptor and keypoints together; 0
            matches them all.
        expansion: so many further candidates are added after the first stage, because they resemble one that matches.
        skin: so many candidates of a list, the best by their keypoints, are compared by their skin too, place by place;
            0 compares all.
        rescore: so many candidates of a list, the best by cosine and first stage together, are re-scored by LightGlue;
            0 re-scores none. One costs as much as matching two hundred, and on belugas the ranker is none the better
            for it (bench/NOTES.md).
        cosine_weight: of the global descriptor beside the local score when candidates are chosen; 0 chooses by
            keypoints alone, for animals that no global descriptor was trained on.
        neighbour_pairs: so many pairs of a list's own candidates, those by which neighbour re-scoring may raise one
            most, are matched by their keypoints; 0 matches none, and goes by cosine and local score.
        flanks_apart: the two flanks of an animal carry different marks, so that a left one is never matched with a
            right one.
        trust_times: how far apart in time two photographs of the catalogue were taken, where both times are known, is
            part of how probably they show one animal; switch it off where the cameras' clocks cannot be trusted.
    """

    size: int = 200
    expansion: int = 20
    skin: int = 100
    rescore: int = 0
    cosine_weight: float = 1.0
    neighbour_pairs: int = 200
    flanks_apart: bool = False
    trust_times: bool = True

    def __post_init__(self) -> None:
        for name, nothing in _COUNTS.items():
            if getattr(self, name) < 0:
                counted = "pairs" if name == "neighbour_pairs" else "candidates"
                raise SettingsError(f"{name}={getattr(self, name)}: give a number of {counted}, or 0 for {nothing}")
        if not 0 <= self.cosine_weight < float("inf"):
            raise SettingsError(f"cosine_weight={self.cosine_weight}: give a number from 0 on")

    def longest(self, database: int) -> int:
        """Return how many candidates a list and its expansion have at most, of so many photographs."""
        return min(self.size + self.expansion, database) if self.size else database

    def rescored(self, listed: int) -> int:
        """Return how many of so many candidates LightGlue re-scores."""
        return min(self.rescore, listed)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates of all queries, one row per pair, grouped by query.

    Attributes:
        query: (R,) int64 rows of the queries, not falling.
        row: (R,) int64 rows of the database; within a query the order in which they were found, best first.
        cosine: (R,) float32 cosine similarity of the global descriptors.
        requery: (R,) float32 :func:`requery_scores`.
        local: (R,) float32 local score (:mod:`engine.matching.exhaustive`), NaN where the skin cannot be compared.
        cosine_znorm, local_znorm: (R,) float32 how far cosine and local score lie above the mean of all
            photographs that the query may have, in their standard deviations.
        measured: by matcher the (R,) records of :mod:`engine.matching.measurements`.
        evidence: (R,) float64 log-odds of the same individual by the first stage alone, for even prior odds; NaN where
            it did not match. Empty before the first stage.
    """

    query: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    cosine: FloatArray
    requery: FloatArray
    local: FloatArray
    cosine_znorm: FloatArray
    local_znorm: FloatArray
    measured: Mapping[MatcherName, npt.NDArray[Any]] = field(default_factory=dict)
    evidence: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def probability(self) -> npt.NDArray[np.float64]:
        """(R,) of the same individual by the first stage alone, roughly; 0 where it did not match."""
        return np.nan_to_num(sigmoid(self.evidence + log_odds(_PRIOR)))

    def lists(self, queries: int) -> Iterator[slice]:
        """Yield where the list of each of so many queries lies."""
        bounds = np.searchsorted(self.query, np.arange(queries + 1)).tolist()
        return (slice(start, stop) for start, stop in pairwise(bounds))

    def taken(self, places: npt.NDArray[np.int64]) -> Candidates:
        """Return these rows of the table, which has no measurements yet."""
        columns: dict[str, Any] = {name: getattr(self, name)[places] for name in ("query", "row", *_SCORES)}
        return Candidates(**columns)

    def followed_by(self, other: Candidates) -> Candidates:
        """Return a table whose lists are this one's, followed by the other's."""
        order = np.argsort(np.concatenate([self.query, other.query]), kind="stable")

        def joined(name: str) -> npt.NDArray[Any]:
            return np.concatenate([getattr(self, name), getattr(other, name)])[order]

        parts = {name: joined(name) for name in ("query", "row", *_SCORES, "evidence")}
        measured = {
            name: np.concatenate([records, other.measured[name]])[order] for name, records in self.measured.items()
        }
        return Candidates(measured=measured, **parts)


@dataclass(frozen=True, eq=False)
class ScoredDatabase:
    """Every photograph of a database as one query sees it.

    Attributes:
        cosine: (N,) float32 cosine similarity of the global descriptors.
        local: (N,) float32 local score, NaN where the skin cannot be compared or the candidate is not allowed.
        allowed: (N,) bool.
        cosine_weight: of the cosine beside the local score.
    """

    cosine: FloatArray
    local: FloatArray
    allowed: BoolArray
    cosine_weight: float = 1.0

    @cached_property
    def cosine_znorm(self) -> FloatArray:
        """(N,) float32 standard deviations of the cosine above the mean of the allowed photographs."""
        return _znorm(self.cosine, self.allowed)

    @cached_property
    def local_znorm(self) -> FloatArray:
        """(N,) float32 standard deviations of the local score above that mean, NaN where there is no score."""
        return _znorm(self.local, self.allowed & ~np.isnan(self.local))

    @property
    def fused(self) -> FloatArray:
        """(N,) float32 what candidates are chosen by: the sum of both; without a local score the cosine's alone."""
        return self.cosine_weight * self.cosine_znorm + np.nan_to_num(self.local_znorm)

    def candidates(self, query: int, rows: npt.NDArray[np.int64], database: FloatArray) -> Candidates:
        """Return the list of a query (its row) that holds these database rows."""
        requery = requery_scores(self.cosine, database, self.allowed)
        scores = (self.cosine, requery, self.local, self.cosine_znorm, self.local_znorm)
        columns = zip(_SCORES, scores, strict=True)
        parts: dict[str, Any] = {name: column[rows].astype(np.float32) for name, column in columns}
        return Candidates(query=np.full(len(rows), query, np.int64), row=rows, **parts)


def _znorm(scores: FloatArray, among: BoolArray) -> FloatArray:
    known = scores[among].astype(np.float64)
    return znorm(scores, *((known.mean(), known.std()) if len(known) else (0.0, 0.0)))


def znorm(scores: FloatArray, mean: float, spread: float) -> FloatArray:
    """Return how far scores lie above a mean, in a spread of float64; 0 where there is no spread, and NaN stays NaN."""
    if not spread:
        return np.where(np.isnan(scores), np.float32(np.nan), np.float32(0.0))
    return ((scores.astype(np.float64) - mean) / spread).astype(np.float32)


class Search(Protocol):
    """What finds candidates: :class:`Retrieval`, or for large catalogues :class:`engine.search.large.LargeRetrieval`.

    Attributes:
        queries: (Q, D) float32 global descriptors.
    """

    queries: FloatArray

    def best(self, size: int) -> Candidates:
        """Return the best allowed rows of every query, at most ``size`` each."""
        ...

    def allowed(self, query: int) -> BoolArray:
        """Return the (N,) mask of the rows that a query may have, the caller's own."""
        ...

    def likes(
        self, leaders: npt.NDArray[np.int64], weights: FloatArray, outside: BoolArray, size: int
    ) -> npt.NDArray[np.int64]:
        """Return the best rows ``outside`` by the largest of their weighted cosines with leaders, at most ``size``."""
        ...

    def listed(self, query: int, rows: npt.NDArray[np.int64]) -> Candidates:
        """Return the list of a query that holds these rows."""
        ...


class Retrieval:
    """The exhaustive search: every allowed photograph, as every query sees it.

    Args:
        queries: (Q, D) float32 global descriptors, L2-normalised.
        database: (N, D) float32, L2-normalised.
        allowed: which candidates a query may have.
        local: by query the (N,) float32 local scores.
        cosine_weight: of the cosine beside the local score.
    """

    def __init__(
        self,
        queries: FloatArray,
        database: FloatArray,
        allowed: Allowed,
        local: Sequence[FloatArray],
        cosine_weight: float = 1.0,
    ) -> None:
        self.queries, self.database = queries, database
        self.local, self._allowed, self._weight = local, allowed, cosine_weight

    def allowed(self, query: int) -> BoolArray:
        """Return the (N,) mask of the rows that a query may have."""
        return np.array(self._allowed(query))

    def listed(self, query: int, rows: npt.NDArray[np.int64]) -> Candidates:
        """Return the list of a query that holds these rows."""
        return self.scored(query).candidates(query, rows, self.database)

    def likes(
        self, leaders: npt.NDArray[np.int64], weights: FloatArray, outside: BoolArray, size: int
    ) -> npt.NDArray[np.int64]:
        """Return the best rows ``outside`` by the largest of their weighted cosines with leaders, at most ``size``."""
        worth = ((self.database[leaders] @ self.database.T) * weights[:, None]).max(axis=0)
        return best_rows(worth, outside & (worth > 0), size)

    def scored(self, query: int) -> ScoredDatabase:
        """Return the database as one query sees it."""
        # One product per query: a matrix product's last bits depend on how many rows share it, and an answer may not
        # depend on the other queries.
        cosine = self.database @ self.queries[query]
        return ScoredDatabase(cosine, self.local[query], self._allowed(query), self._weight)

    def best(self, size: int) -> Candidates:
        """Return the best allowed rows of every query by cosine and local score together, at most ``size`` each.

        A size of 0 takes all. Equal ones are ordered by row. Each list depends on its query and the database only.
        """
        lists = []
        for number in range(len(self.queries)):
            scored = self.scored(number)
            most = size or len(self.database)
            lists.append(scored.candidates(number, best_rows(scored.fused, scored.allowed, most), self.database))
        return stacked(lists)


def expand(candidates: Candidates, probability: npt.NDArray[np.floating], retrieval: Search, size: int) -> Candidates:
    """Return, for every list, rows outside it that resemble its candidates that match.

    A row is worth the largest product of a candidate's probability and its similarity to that candidate.

    Args:
        candidates: the lists.
        probability: (R,) that each candidate is right.
        retrieval: the search that they come from.
        size: at most so many rows per query.
    """
    lists = []
    for number, part in enumerate(candidates.lists(len(retrieval.queries))):
        rows, outside = candidates.row[part], retrieval.allowed(number)
        outside[rows] = False
        if not size or not len(rows) or not outside.any():
            continue
        # The others could add nothing: all similarities are of one size, and these are the largest probabilities.
        leaders = np.lexsort((rows, -probability[part]))[:_LEADERS]
        likes = retrieval.likes(rows[leaders], probability[part][leaders].astype(np.float32), outside, size)
        lists.append(retrieval.listed(number, likes))
    return stacked(lists)


def lacking(candidates: Candidates, named: npt.NDArray[np.int64], retrieval: Search) -> Candidates:
    """Return, for every list of candidates, those named rows of the database that it lacks."""
    if not len(named):
        return stacked([])
    lists = enumerate(candidates.lists(len(retrieval.queries)))
    return stacked([retrieval.listed(query, named[~np.isin(named, candidates.row[part])]) for query, part in lists])


def requery_scores(cosine: FloatArray, database: FloatArray, mask: npt.NDArray[np.bool_]) -> FloatArray:
    """Score the database by the query and by its two best allowed photographs, each similarity to a power.

    The first place of "Where's Whale-do?" found that a query's best matches, asked again, bring photographs that the
    query alone misses: ``0.4 s(q)^7 + 0.4 s(best)^7 + 0.2 s(second)^7``. Negative similarities count as zero. The
    ranker reads this score; no list is sorted by it.

    Args:
        cosine: (N,) similarity of the query to every database row.
        database: (N, D) L2-normalised.
        mask: (N,) which rows are allowed.

    Returns:
        (N,) float32 scores.
    """
    return requery_of(cosine, [database @ database[helper] for helper in best_rows(cosine, mask, 2)])


def requery_of(cosine: FloatArray, helpers: Sequence[FloatArray]) -> FloatArray:
    """Return :func:`requery_scores` of (N,) similarities to a query, and to its best photographs, best first."""
    total = _REQUERY_WEIGHTS[0] * np.maximum(cosine, 0.0) ** _REQUERY_POWER
    for weight, helper in zip(_REQUERY_WEIGHTS[1:], helpers, strict=False):
        total = total + weight * np.maximum(helper, 0.0) ** _REQUERY_POWER
    return np.asarray(total, np.float32)


def reciprocal_rank_fusion(*scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Join several scores of one list by the reciprocals of their ranks, which needs no common scale.

    Cormack, Clarke and Buettcher, SIGIR 2009. Equal values share their mean rank: the order of rows is no evidence.

    Args:
        scores: each (K,), larger is better, NaN is last.

    Returns:
        (K,) sums of 1 / (2 + rank).
    """
    ranks = [pd.Series(np.asarray(s, float)).rank(ascending=False, na_option="bottom").to_numpy() for s in scores]
    return np.sum([1.0 / (2.0 + rank) for rank in ranks], axis=0)


def best_rows(scores: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.int64]:
    """Return the rows of the best scores where ``mask`` is True, at most ``size``; best first, ties by row."""
    rows = np.flatnonzero(mask)
    if len(rows) > size:
        part = np.argpartition(-scores[rows], size - 1)
        # Everything as good as the last kept one takes part in the sort, so that ties are broken by row.
        limit = scores[rows[part[size - 1]]]
        rows = rows[scores[rows] >= limit]
    order = np.lexsort((rows, -scores[rows]))[:size]
    return rows[order].astype(np.int64)


def stacked(lists: Sequence[Candidates]) -> Candidates:
    """Return one table of the lists of several queries, in their order."""
    rows, no_scores = np.zeros(0, np.int64), dict.fromkeys(_SCORES, np.zeros(0, np.float32))
    every = [Candidates(query=rows, row=rows, **cast(Any, no_scores)), *lists]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in every]) for name in ("query", "row", *_SCORES)
    }
    return Candidates(**columns)
