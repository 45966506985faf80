"""What ``scarmatch identify`` should decide by, from the labelled pairs of a training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from engine.models.decision import Decision
from engine.search.individuals import KnnSettings, nearest_vote
from reranker.protocols import protocol_tables
from scarmatch.metrics import reciprocal_rank

#: Numbers of photographs that may vote, as the published baseline tried them.
_NEIGHBOURS = (1, 3, 5, 10, 20, 50, 75, 100)
#: Individuals that a photograph is given, and the MAP of them that another number of neighbours must win.
_TOP, _MIN_GAIN = 5, 1e-3


def tuned_decision(raw: pd.DataFrame, start: Decision) -> Decision:
    """Return a decision whose bound on the nearest photograph's distance tells new animals from known ones.

    Every query with a match is asked twice, as it is and without its animal's photographs. The bound is the one that
    judges most of both right, on average. As many of the nearest photographs vote as name most animals right (MAP@5):
    50 of 15,000 animals are few, of 40 animals a quarter of the catalogue. Where nothing can be judged, the start is
    returned.

    Args:
        raw: labelled pairs of whole lists, by descriptors that never saw the query's individual.
        start: what else is decided by.
    """
    table = protocol_tables(raw)["all"].dropna(subset=["cosine", "individual0"])
    same = table["individual0"] == table["individual1"]
    asked = table["query_id"].isin(table.loc[same, "query_id"])
    known = 1.0 - table[asked].groupby("query_id")["cosine"].max().to_numpy(float)
    new = 1.0 - table[asked & ~same].groupby("query_id")["cosine"].max().to_numpy(float)
    if not len(known) or not len(new):
        return start
    values = np.unique(np.concatenate([known, new]))
    bounds = (values[1:] + values[:-1]) / 2
    right = [float((known <= bound).mean() + (new > bound).mean()) for bound in bounds]
    if not right:
        return start
    bound = round(float(bounds[int(np.argmax(right))]), 4)
    neighbours = _best_neighbours(table[asked].dropna(subset=["individual1"]), start.neighbours)
    return start.replace(neighbours=neighbours, max_distance=bound, min_confidence=round(1.0 - bound, 4))


def _best_neighbours(table: pd.DataFrame, start: int) -> int:
    """Return how many of the nearest photographs should vote; ``start``, unless another number names more right."""
    questions = [
        (1.0 - rows["cosine"].to_numpy(float), rows["individual1"].to_numpy(str), str(rows["individual0"].iloc[0]))
        for _, rows in table.groupby("query_id", sort=True)
    ]

    def earned(neighbours: int) -> float:
        # No bound: only the order of the known animals is judged.
        settings = KnnSettings(neighbours, max_distance=np.inf, min_confidence=-np.inf, top=_TOP)
        named = ([name for name, _, _ in nearest_vote(far, names, settings)] for far, names, _ in questions)
        return float(
            np.mean([reciprocal_rank(row, who, _TOP) for row, (_, _, who) in zip(named, questions, strict=True)])
        )

    values = {neighbours: earned(neighbours) for neighbours in dict.fromkeys([start, *_NEIGHBOURS])}
    best = max(values, key=lambda neighbours: values[neighbours])
    return best if values[best] >= values[start] + _MIN_GAIN else start
