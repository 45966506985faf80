"""What a search compared with what: how many pairs each stage saw."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex
from engine.matching import pair_pool
from engine.search.allowed import AllowedCandidates
from engine.search.same_skin import comparable_by_view
from reranker.likeness import MATCHED_COLUMNS


@dataclass(frozen=True)
class Coverage:
    """Numbers of pairs of a query and a photograph of the catalogue.

    Attributes:
        queries, photographs: of the search.
        allowed: pairs that the candidate filter allows; all of them are compared by their global descriptors.
        scored: of these, pairs that show the same skin; all of them have a local score, unless
        indexed: an index of keypoints chose whom to score, as the catalogue is large.
        matched: pairs of the lists that were matched by their keypoints and verified.
        closer: of these, pairs that were compared by their skin, place by place.
        rescored: of these, pairs that LightGlue re-scored.
        among: pairs of a list's own candidates that were matched with one another.
    """

    queries: int
    photographs: int
    allowed: int
    scored: int
    matched: int
    closer: int
    rescored: int
    among: int = 0
    indexed: bool = False

    def __str__(self) -> str:
        by = "an index of keypoints" if self.indexed else "keypoints"
        text = (
            f"{self.queries:,} queries x {self.photographs:,} photographs: {self.allowed:,} pairs compared by global "
        )
        text += f"descriptor, {self.scored:,} of them by {by}; {self.matched:,} matched and verified, "
        text += f"{self.closer:,} of these by their skin too, {self.rescored:,} re-scored by LightGlue"
        if self.among:
            text += f"; {self.among:,} pairs of candidates matched with one another"
        apart = self.allowed - self.scored
        return f"{text} ({apart:,} pairs show different sides, which share no skin)" if apart else text


def coverage(
    queries: CatalogIndex,
    database: CatalogIndex,
    candidate_filter: CandidateFilter,
    raw: pd.DataFrame,
    flanks_apart: bool = False,
) -> Coverage:
    """Count what a search compared.

    Args:
        queries, database: described photographs.
        candidate_filter: which candidates a query may have.
        raw: the raw pair table that the search returned.
        flanks_apart: the search compared no left flank with a right one.
    """
    allowed = AllowedCandidates(queries, database, candidate_filter)
    views0, views1 = (index.catalog.table["viewpoint"].to_numpy(object) for index in (queries, database))
    comparable = comparable_by_view(views0, views1, flanks_apart)
    masks = [allowed.mask(query) for query in range(len(queries))]
    scored = sum(int((mask & comparable[view]).sum()) for mask, view in zip(masks, views0, strict=True))
    matched, closer, rescored = (
        int(raw[name].notna().sum()) if name in raw else 0
        for name in ("mutual_nn_matches", "skin_matches", "lightglue_matches")
    )
    among = sum(int(raw[name].notna().sum()) for name in MATCHED_COLUMNS["inlier_ratio"] if name in raw)
    every = sum(int(mask.sum()) for mask in masks)
    indexed = pair_pool.is_large(len(database))
    return Coverage(len(queries), len(database), every, scored, matched, closer, rescored, among, indexed)
