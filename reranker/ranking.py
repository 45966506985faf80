"""The last step of a search in one call: raw table of pairs in, ranked candidates with probabilities out."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reranker.calibration import strictly_decreasing
from reranker.fusion import FusionSettings, wildfusion_baseline
from reranker.rank_order import rank_order
from reranker.ranker import Ranker


def rank_pairs(
    raw: pd.DataFrame, ranker: Ranker | None = None, top: int | None = 20, fusion: FusionSettings | None = None
) -> pd.DataFrame:
    """Rank every query's candidates.

    Args:
        raw: raw table of pairs (see :func:`reranker.pair_features.build`).
        ranker: a trained ranker; without one :func:`reranker.fusion.wildfusion_baseline` (with ``fusion``) serves.
        top: candidates kept a query; all if None.

    Returns:
        The rows of ``raw`` that are kept, with their index, plus rank (from 1), score and probability (strictly
        decreasing within a query); sorted by query_id and rank. Ties are broken by cosine, then by candidate_id.
    """
    if ranker is None:
        scored = wildfusion_baseline(raw, fusion)
        score = scored["score"].to_numpy()
    else:
        score = ranker.score(raw)
    cosine = pd.to_numeric(raw["cosine"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    order = rank_order(raw["query_id"], score, cosine, raw["candidate_id"])
    asked = raw["query_id"].iloc[order].reset_index(drop=True)
    places = np.asarray(asked.groupby(asked, sort=False).cumcount(), np.int64)
    if top is not None:  # before the rows are copied: lists hold ten times as many
        order, places = order[places < top], places[places < top]
    table = raw.iloc[order].assign(score=score[order])
    table.insert(0, "rank", places + 1)
    if ranker is None:
        table["probability"] = scored["probability"].to_numpy()[order]
    else:
        table["probability"] = ranker.calibration(table["score"], places)
    if len(table):
        lists = table.groupby("query_id", sort=False)["probability"]
        table = table.assign(probability=lists.transform(lambda p: strictly_decreasing(p.to_numpy())))
    return table
