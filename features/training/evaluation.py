"""How well descriptors of unseen individuals find them again: three protocols on a labelled table.

* ``all``: every photograph against all others.
* ``other_encounter``: the same, but photographs of the query's own encounter are taken out of the candidates. Most
  photographs have a match seconds away; this is the figure that tells whether the animal is recognised.
* ``later_year``: a photograph against those of earlier years only.

A query without any match left in its protocol is left out. mAP@20 is the challenge's score: precision at the ranks of
the matches among the first 20, summed, over min(matches, 20).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from scarmatch.metrics import average_precision

PROTOCOLS = ("all", "other_encounter", "later_year")
TOP = 20
SHORTLIST = 50


@dataclass(frozen=True, eq=False)
class RetrievalScores:
    """Scores per query of one protocol; ``summary()`` gives the means.

    Attributes:
        protocol: one of ``PROTOCOLS``.
        queries: (Q,) row numbers of the queries in the table.
        average_precision: (Q,) AP@20 of each query, in [0, 1].
        top1: (Q,) 1.0 where the first answer is right.
        recall: (Q,) 1.0 where a match is among the first 50 (what a shortlist of 50 keeps).
        ceiling: candidates per query, mean.
    """

    protocol: str
    queries: npt.NDArray[np.int64]
    average_precision: npt.NDArray[np.float64]
    top1: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    candidates: float

    def summary(self) -> dict[str, float]:
        """Means over the queries (NaN without queries)."""
        if not len(self.queries):
            nan = float("nan")
            return {"queries": 0, "mAP@20": nan, "top1": nan, "recall@50": nan}
        return {
            "queries": len(self.queries),
            "mAP@20": float(self.average_precision.mean()),
            "top1": float(self.top1.mean()),
            "recall@50": float(self.recall.mean()),
        }


def evaluate_similarity(similarity: npt.NDArray[np.floating], table: pd.DataFrame, protocol: str) -> RetrievalScores:
    """Score an (N, N) similarity matrix of the N photographs of ``table``.

    Args:
        table: columns individual_id, encounter_id (None = unknown, no photograph counts as its company) and date.
        protocol: one of ``PROTOCOLS``.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    individuals = pd.factorize(table["individual_id"])[0]
    encounters = pd.factorize(table["encounter_id"])[0]
    years = pd.to_datetime(table["date"]).dt.year.to_numpy(float)
    kept: list[tuple[int, float, float, float, int]] = []
    for i in range(len(table)):
        if individuals[i] < 0:
            continue
        allowed = np.arange(len(table)) != i
        if protocol == "other_encounter" and encounters[i] >= 0:
            allowed &= encounters != encounters[i]
        if protocol == "later_year":
            allowed &= years < years[i]
        match = individuals == individuals[i]
        n_matches = int((match & allowed).sum())
        if not n_matches:
            continue
        candidates = np.flatnonzero(allowed)
        order = candidates[np.argsort(-similarity[i, candidates], kind="stable")[:SHORTLIST]]
        hits = match[order]
        kept.append((i, average_precision(hits, n_matches, TOP), float(hits[0]), float(hits.any()), len(candidates)))
    columns = np.array(kept, dtype=float).reshape(-1, 5).T
    mean_candidates = float(columns[4].mean()) if len(kept) else 0.0
    return RetrievalScores(protocol, columns[0].astype(np.int64), columns[1], columns[2], columns[3], mean_candidates)


def evaluate_descriptors(vectors: npt.NDArray[np.floating], table: pd.DataFrame) -> dict[str, RetrievalScores]:
    """All three protocols for (N, D) L2-normalised descriptors of the photographs of ``table``."""
    similarity = np.asarray(vectors, np.float32) @ np.asarray(vectors, np.float32).T
    return {protocol: evaluate_similarity(similarity, table, protocol) for protocol in PROTOCOLS}
