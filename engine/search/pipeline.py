"""The search: retrieve, match, verify, expand, rank.

Each step takes the flat table of candidates (:class:`engine.search.candidates.Candidates`) that the one before
returned, and each query's rows depend on that query and the catalogue alone, whatever other queries are asked and
however many processes work.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex, Progress
from engine.matching import pair_pool
from engine.matching.measurements import LIGHTGLUE, MUTUAL_NN, SKIN, MatcherName, columns, unmeasured
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairTask
from engine.search.allowed import AllowedCandidates
from engine.search.candidates import (
    Candidates,
    Retrieval,
    Search,
    ShortlistSettings,
    best_rows,
    expand,
    lacking,
    reciprocal_rank_fusion,
)
from engine.search.large import LargeIndex, LargeRetrieval
from engine.search.neighbours import find_neighbours
from engine.search.pair_table import pair_table
from engine.search.same_skin import comparable_by_view, same_skin
from features.records import FloatArray
from reranker.local_evidence import LocalEvidence

logger = logging.getLogger(__name__)


def search(
    queries: CatalogIndex,
    database: CatalogIndex,
    candidate_filter: CandidateFilter,
    settings: ShortlistSettings,
    pool: PairPool,
    progress: Progress | None = None,
    include: Sequence[str] = (),
    weights: LocalEvidence | None = None,
    with_neighbours: bool = True,
) -> pd.DataFrame:
    """Return the raw pair table of the queries' candidates: everything that is known of them, not yet ranked.

    Photographs of the database that ``include`` names are in every list, whether the search finds them or not.
    ``weights`` say what the first stage's measurements are worth; those that ship if None. Without ``with_neighbours``
    a list's candidates are not compared with one another, and the columns of that are missing.
    """
    named = np.array([database.catalog.position(image_id) for image_id in include], np.int64)
    allowed = AllowedCandidates(queries, database, candidate_filter)
    first_stage = weights or LocalEvidence.shipped_first_stage()
    stage = Matching(queries, database, pool, first_stage, settings.skin, settings.flanks_apart, progress)

    retrieval = stage.retrieval(allowed, named, settings.cosine_weight)
    candidates = stage.first(retrieval.best(settings.size))
    added = expand(candidates, candidates.probability, retrieval, settings.expansion)
    candidates = candidates.followed_by(stage.first(added))
    candidates = candidates.followed_by(stage.first(lacking(candidates, named, retrieval)))
    candidates = stage.rescore(candidates, settings.rescore)
    neighbours = None
    if with_neighbours:
        # The scores of a query that leads another's list are known from its own search.
        known = dict(zip(queries.keys, retrieval.local, strict=True)) if isinstance(retrieval, Retrieval) else {}
        neighbours = find_neighbours(candidates, queries, database, allowed, pool, settings, known, progress)
    own_encounter = not candidate_filter.exclude_encounter
    return pair_table(queries, database, candidates, neighbours, allowed.true_matches(), own_encounter)


@dataclasses.dataclass(frozen=True)
class Matching:
    """Matches and verifies candidates.

    Attributes:
        queries, database: what the rows of a table of candidates mean.
        pool: measures pairs.
        weights: of the first stage's measurements.
        skin: candidates of a list whose skin is compared place by place; 0 for all.
        flanks_apart: a left flank is never matched with a right one.
        progress: called with (pairs done, pairs in all) of the matcher at work.
    """

    queries: CatalogIndex
    database: CatalogIndex
    pool: PairPool
    weights: LocalEvidence
    skin: int = 0
    flanks_apart: bool = False
    progress: Progress | None = None

    def retrieval(self, allowed: AllowedCandidates, named: npt.NDArray[np.int64], cosine_weight: float) -> Search:
        """Return what finds candidates: all photographs are scored, or an index chooses them in a large catalogue."""
        queries, database = self.queries, self.database
        if not pair_pool.is_large(len(database)):
            vectors = database.vectors if len(database) else np.zeros((0, queries.vectors.shape[1]), np.float32)
            return Retrieval(queries.vectors, vectors, allowed.mask, self.score_all(allowed, named), cosine_weight)
        logger.warning(
            "%s photographs are more than the %s whose keypoints are all compared: an index chooses candidates "
            "(docs/scale.md says what it misses)",
            f"{len(database):,}",
            f"{pair_pool.EXHAUSTIVE_UP_TO:,}",
        )
        index = LargeIndex.opened(database, self.pool, self.progress)
        comparable, views0 = self._comparable()
        return LargeRetrieval(
            queries, database, index, allowed.mask, lambda q: comparable[views0[q]], self.pool, cosine_weight, named
        )

    def _comparable(self) -> tuple[dict[str | None, npt.NDArray[np.bool_]], npt.NDArray[np.object_]]:
        """Return by viewpoint which photographs show the same skin, and the viewpoints of the queries."""
        views0, views1 = (index.catalog.table["viewpoint"].to_numpy(object) for index in (self.queries, self.database))
        return comparable_by_view(views0, views1, self.flanks_apart), views0

    def score_all(self, allowed: AllowedCandidates, named: npt.NDArray[np.int64]) -> list[FloatArray]:
        """Return by query the (N,) local scores of the photographs that it may have and whose skin can be compared.

        Those in the rows ``named`` get a score too.
        """
        queries, database = self.queries.keys, self.database.keys
        comparable, views0 = self._comparable()
        wanted = np.isin(np.arange(len(database)), named)
        return self.pool.score(
            queries, database, lambda query: (allowed.mask(query) | wanted) & comparable[views0[query]], self.progress
        )

    def first(self, candidates: Candidates) -> Candidates:
        """Add the first stage's measurements of the candidates that show the same skin, and what they say.

        All of them are matched by their keypoints, and the best of each list by their skin, place by place: that costs
        more, and tells most where keypoints leave little doubt that the places are the same.
        """
        visible = self._shows_same_skin(candidates)
        measured = {MUTUAL_NN: self.measure(MUTUAL_NN, candidates, visible)}
        closer, by_keypoints = visible.copy(), pd.DataFrame(_columns(measured))
        for part in candidates.lists(len(self.queries)):
            if 0 < self.skin < visible[part].sum():
                best = best_rows(self.weights.score(by_keypoints.iloc[part]), visible[part], self.skin)
                closer[part] = np.isin(np.arange(part.stop - part.start), best)
        measured[SKIN] = self.measure(SKIN, candidates, closer)
        evidence = np.full(len(candidates), np.nan)
        table = pd.DataFrame(_columns(measured))
        for part in candidates.lists(len(self.queries)):
            # A list at a time: the last bits of a matrix product depend on the number of its rows.
            evidence[part] = self.weights.score(table.iloc[part])
        return dataclasses.replace(candidates, measured=measured, evidence=np.where(visible, evidence, np.nan))

    def rescore(self, candidates: Candidates, count: int) -> Candidates:
        """Add LightGlue's measurements of the best ``count`` candidates of each list, by cosine and first stage."""
        chosen = np.zeros(len(candidates), bool)
        for part in candidates.lists(len(self.queries)):
            matched = part.start + np.flatnonzero(~np.isnan(candidates.evidence[part]))
            fused = reciprocal_rank_fusion(candidates.cosine[matched], candidates.evidence[matched])
            if count:
                chosen[matched[best_rows(fused, np.ones(len(fused), bool), count)]] = True
        measured = self.measure(LIGHTGLUE, candidates, chosen)
        return dataclasses.replace(candidates, measured={**candidates.measured, LIGHTGLUE: measured})

    def measure(self, matcher: MatcherName, candidates: Candidates, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Return a matcher's (R,) records, NaN where they are not wanted.

        Nothing else is looked up: what the store happens to know must not change an answer that did not ask for it.
        """
        keys = self.database.keys
        tasks, places = [], []
        for query, part in zip(self.queries.keys, candidates.lists(len(self.queries)), strict=True):
            rows = part.start + np.flatnonzero(wanted[part])
            tasks.append(PairTask(query, tuple(keys[row] for row in candidates.row[rows])))
            places.append(rows)
        records = unmeasured(matcher, len(candidates))
        for rows, measured in zip(places, self.pool.measure(matcher, tasks, self.progress), strict=True):
            records[rows] = measured
        return records

    def _shows_same_skin(self, candidates: Candidates) -> npt.NDArray[np.bool_]:
        """Return the (R,) mask of the candidates that show the same skin as their query."""
        views0, views1 = (
            index.catalog.table["viewpoint"].to_numpy(object)[rows]
            for index, rows in ((self.queries, candidates.query), (self.database, candidates.row))
        )
        return same_skin(views0, views1, self.flanks_apart)


def _columns(measured: dict[MatcherName, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name: values for matcher, records in measured.items() for name, values in columns(matcher, records).items()}
