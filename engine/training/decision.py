"""What ``scarmatch identify`` should decide by, from the labelled pairs of a training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from engine.models.decision import Decision
from reranker.protocols import protocol_tables


def tuned_decision(raw: pd.DataFrame, start: Decision) -> Decision:
    """Return a decision whose bound on the nearest photograph's distance tells new animals from known ones.

    Every query with a match is asked twice, as it is and without its animal's photographs. The bound is the one that
    judges most of both right, on average; where nothing can be judged, the start is returned.

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
    return start.replace(max_distance=bound, min_confidence=round(1.0 - bound, 4))
