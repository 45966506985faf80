"""What a report is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.records import ByteArray

if TYPE_CHECKING:
    from engine.search.pair_evidence import PairEvidence, ScoreParts


@dataclass(frozen=True, eq=False)
class MatchRun:
    """One finished run: the answers, what is known of the photographs, and how to get at pictures when they are needed.

    Attributes:
        answers: one row per (query, candidate): query_id, rank, image_id, individual_id, probability, and where known
            cosine, lightglue_matches, lightglue_inliers, date, viewpoint, encounter_id, date_gap_days, path,
            query_path, query_date, query_viewpoint.
        queries: one row per query in the order asked: image_id, path, date, viewpoint (and box where only a part of the
            photograph is meant); a query without an answer still gets its section.
        candidates: image_id, path, individual_id, date, viewpoint, encounter_id (and box); at least those answered.
        read: path -> (H, W, 3) uint8 RGB, EXIF orientation applied, the whole photograph; raises what it likes.
        evidence: (query_id, image_id) -> PairEvidence; called only for the pairs that are drawn, None to draw none.
        individuals: query_id, rank, individual_id, probability, best_image_id, n_photographs; None if not computed.
        new_individual: query_id -> probability that the animal is not in the catalogue; None if not computed.
        filter_text: the candidate filter in words, with its counts.
        query_filters: query_id -> what the filter left out for this query, in words; empty where that is nothing more.
        settings: what the run was made with: names and plain values, sections may be nested one level.
        title: headline of the page.
        parts: query_id -> what the ranker's features added to the scores of its candidates, by image_id; called once a
            query, None to show none.
    """

    answers: pd.DataFrame
    queries: pd.DataFrame
    candidates: pd.DataFrame
    read: Callable[[str], ByteArray]
    evidence: Callable[[str, str], PairEvidence] | None = None
    individuals: pd.DataFrame | None = None
    new_individual: Mapping[str, float] | None = None
    filter_text: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    title: str = "Who is this?"
    parts: Callable[[str], Mapping[str, ScoreParts]] | None = None
    query_filters: Mapping[str, str] = field(default_factory=dict)
