"""Neighbour re-scoring: a candidate gains where another one of its list that looks like it matches the query well.

Photographs of one encounter resemble each other far more than photographs of two encounters do. If the query was found
again on one of them by its marks, the others are likely right too, even where their own marks are washed over. This is
query expansion through verified matches (Chum et al., "Total Recall", ICCV 2007), applied to probabilities: candidate
c is shown to be right by its own evidence with probability P(c), or through its best neighbour n,

    P'(c) = 1 - (1 - P(c)) (1 - max_n P(n) L(n, c)),    L = cosine of n and c, times a factor if their dates differ.

Only the query's own list is looked at, and candidates' names never are: who is who is what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, fit_platt, sigmoid

#: Most similar other candidates of the list that a row of the raw pair table names.
NEIGHBOURS = 10
#: Columns of the raw pair table: the neighbours' candidate_id (None where there are fewer), and their cosines.
NEIGHBOUR_COLUMNS = tuple(f"neighbour{k}" for k in range(NEIGHBOURS))
COSINE_COLUMNS = tuple(f"neighbour_cosine{k}" for k in range(NEIGHBOURS))

#: No neighbour makes certain: log-odds stay finite.
_MOST = 0.999


@dataclass(frozen=True, eq=False)
class BestNeighbours:
    """The neighbour of each row that says most.

    Attributes:
        row: (rows,) position of the neighbour's row in the table, -1 where there is none.
        amount: (rows,) in [0, 1): its probability times how much it resembles the candidate; 0 where there is none.
        cosine: (rows,) cosine of the two candidates; NaN where there is none.
    """

    row: npt.NDArray[np.int64]
    amount: Values
    cosine: Values


@dataclass(frozen=True)
class NeighbourRescoring:
    """How a ranker's scores are raised by a list's other candidates.

    Attributes:
        slope, offset: the line that brings a score to log-odds of the same individual.
        other_date: factor on the likeness of two candidates of different (or unknown) dates: on one day, looking alike
            mostly means to be the same animal a few seconds later.
    """

    slope: float = 1.0
    offset: float = 0.0
    other_date: float = 0.7

    @classmethod
    def fit(cls, scores: npt.ArrayLike, labels: npt.ArrayLike) -> NeighbourRescoring:
        """Fit the line on scores and labels (see :func:`reranker.calibration.fit_platt`)."""
        return cls(*fit_platt(scores, labels))

    def log_odds(self, scores: npt.ArrayLike) -> Values:
        """Return (rows,) log-odds of the same individual by each row's own evidence."""
        return self.slope * np.asarray(scores, np.float64) + self.offset

    def best_neighbours(self, raw: pd.DataFrame, scores: npt.ArrayLike) -> BestNeighbours:
        """Find the neighbour that says most for each row among the rows of its list.

        Args:
            raw: whole lists, with :data:`NEIGHBOUR_COLUMNS`, :data:`COSINE_COLUMNS` and ``date1``. A neighbour whose
                row is not there, or whose score is NaN, says nothing; without these columns none does.
            scores: (rows,) scores of the rows.
        """
        nobody = np.full(len(raw), -1, np.int64)
        best = BestNeighbours(nobody, np.zeros(len(raw)), np.full(len(raw), np.nan))
        if not len(raw) or not set(NEIGHBOUR_COLUMNS) | set(COSINE_COLUMNS) <= set(raw.columns):
            return best
        probability = np.nan_to_num(sigmoid(self.log_odds(scores)), nan=0.0)
        dates = pd.factorize(raw["date1"])[0] if "date1" in raw.columns else nobody
        rows = _rows_of_neighbours(raw)
        cosines = raw[list(COSINE_COLUMNS)].to_numpy(np.float64)
        same_date = (dates[rows] == dates[:, None]) & (dates >= 0)[:, None]
        likeness = np.clip(np.nan_to_num(cosines, nan=0.0), 0.0, 1.0) * np.where(same_date, 1.0, self.other_date)
        amounts = np.where(rows >= 0, probability[rows] * likeness, 0.0)
        column = amounts.argmax(axis=1)
        every = np.arange(len(raw))
        amount = np.minimum(amounts[every, column], _MOST)
        some = amount > 0
        return BestNeighbours(
            np.where(some, rows[every, column], -1), amount, np.where(some, cosines[every, column], np.nan)
        )

    def rescored(self, raw: pd.DataFrame, scores: npt.ArrayLike) -> Values:
        """Return (rows,) log-odds with what each list's other candidates say; NaN stays NaN."""
        return noisy_or(self.log_odds(scores), self.best_neighbours(raw, scores).amount)

    def to_dict(self) -> dict[str, float]:
        """Return plain JSON values."""
        return {"slope": self.slope, "offset": self.offset, "other_date": self.other_date}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NeighbourRescoring:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(float(data["slope"]), float(data["offset"]), float(data["other_date"]))


class LabelledPairs(Protocol):
    """Rows of the raw pair table with their labels, as a training or a measurement holds them."""

    @property
    def raw(self) -> pd.DataFrame: ...

    @property
    def labelled(self) -> npt.NDArray[np.bool_]: ...

    @property
    def same(self) -> npt.NDArray[np.bool_]: ...


def fit_and_rescore(
    tables: Mapping[str, LabelledPairs], scores: Mapping[str, Values], base: str = "all"
) -> tuple[NeighbourRescoring, dict[str, Values]]:
    """Fit the line on one protocol's out-of-fold scores, and re-score every protocol by it.

    A list is scored by one fold's model as a whole, and the line has two numbers for all folds together.

    Args:
        tables: protocol -> labelled rows. scores: protocol -> (rows,) scores; NaN where nobody was scored.
        base: the protocol that the line is fitted on.
    """
    labelled = tables[base].labelled & ~np.isnan(scores[base])
    rescoring = NeighbourRescoring.fit(scores[base][labelled], tables[base].same[labelled])
    return rescoring, {name: rescoring.rescored(tables[name].raw, values) for name, values in scores.items()}


def noisy_or(own: Values, amount: Values) -> Values:
    """Return the log-odds of 1 - (1 - P)(1 - amount), with ``own`` the log-odds of P."""
    probability = sigmoid(own)
    either = probability + amount - probability * amount
    # ln(1 - P) of a large score would round to -inf: it is -ln(1 + exp(own)).
    with np.errstate(invalid="ignore"):  # NaN stays NaN, quietly
        neither = -np.logaddexp(0.0, own) + np.log1p(-amount)
    return np.where(amount > 0, np.log(np.maximum(either, np.finfo(float).tiny)) - neither, own)


def _rows_of_neighbours(raw: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return (rows, NEIGHBOURS) positions of the neighbours' rows in the same query's list, -1 where there is none."""
    candidates = pd.Index(raw["candidate_id"].astype(str).unique())
    queries = pd.factorize(raw["query_id"].astype(str))[0].astype(np.int64)
    own = queries * len(candidates) + candidates.get_indexer(raw["candidate_id"].astype(str))
    order = np.argsort(own, kind="stable")
    positions = np.full((len(raw), NEIGHBOURS), -1, np.int64)
    for k, name in enumerate(NEIGHBOUR_COLUMNS):
        codes = candidates.get_indexer(raw[name].astype(object).where(raw[name].notna(), None))
        wanted = queries * len(candidates) + codes
        place = np.minimum(np.searchsorted(own[order], wanted), len(raw) - 1)
        rows = order[place]
        positions[:, k] = np.where((codes >= 0) & (own[rows] == wanted), rows, -1)
    return positions
