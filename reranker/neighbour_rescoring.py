"""Neighbour re-scoring: a candidate gains where another one of its list that shows the same animal matches the query.

Photographs of one encounter resemble each other far more than photographs of two encounters do. If the query was found
again on one of them by its marks, the others are likely right too, even where their own marks are washed over. This is
query expansion through verified matches (Chum et al., "Total Recall", ICCV 2007), applied to probabilities: candidate
c is shown to be right by its own evidence with probability P(c), or through its best neighbour n,

    P'(c) = 1 - (1 - P(c)) (1 - max_n P(n) L(n, c)),

with L(n, c) the probability that n and c show the same individual (:mod:`reranker.likeness`). Neighbours are the
leading candidates of the query's own list, and nobody's names are looked at: who is who is what is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, fit_platt, sigmoid
from reranker.likeness import (
    COLUMNS,
    EVERY_FEATURE,
    FEATURES,
    MATCHED,
    NEIGHBOUR_COLUMNS,
    NEIGHBOURS,
    SECONDS_COLUMNS,
    Likeness,
    pair_features,
)

#: No neighbour makes certain: log-odds stay finite.
_MOST = 0.999
#: So many pairs of candidates teach their likeness, evenly drawn, and as many that were matched: its numbers are few.
_LIKENESS_PAIRS = 200_000


@dataclass(frozen=True, eq=False)
class BestNeighbours:
    """The neighbour of each row that says most.

    Attributes:
        row: (rows,) position of the neighbour's row in the table, -1 where there is none.
        amount: (rows,) in [0, 1): its probability times that of showing the candidate's animal; 0 where there is none.
        likeness: (rows,) the latter of the two; NaN where there is none.
    """

    row: npt.NDArray[np.int64]
    amount: Values
    likeness: Values


@dataclass(frozen=True)
class NeighbourRescoring:
    """How a ranker's scores are raised by a list's other candidates.

    Attributes:
        slope, offset: the line that brings a score to log-odds of the same individual.
        likeness: says how probably two candidates show the same individual.
    """

    slope: float = 1.0
    offset: float = 0.0
    likeness: Likeness = field(default_factory=Likeness)

    @classmethod
    def fit(cls, scores: npt.ArrayLike, labels: npt.ArrayLike, likeness: Likeness) -> NeighbourRescoring:
        """Fit the line on scores and labels (see :func:`reranker.calibration.fit_platt`)."""
        return cls(*fit_platt(scores, labels), likeness)

    def log_odds(self, scores: npt.ArrayLike) -> Values:
        """Return (rows,) log-odds of the same individual by each row's own evidence."""
        return self.slope * np.asarray(scores, np.float64) + self.offset

    def best_neighbours(self, raw: pd.DataFrame, scores: npt.ArrayLike) -> BestNeighbours:
        """Find the neighbour that says most for each row among the rows of its list.

        Args:
            raw: whole lists, with :data:`reranker.likeness.COLUMNS` and ``date1``. A neighbour whose row is not there,
                or whose score is NaN, says nothing; without these columns none does.
            scores: (rows,) scores of the rows.
        """
        nobody = np.full(len(raw), -1, np.int64)
        best = BestNeighbours(nobody, np.zeros(len(raw)), np.full(len(raw), np.nan))
        if not len(raw) or not set(COLUMNS) <= set(raw.columns):
            return best
        probability = np.nan_to_num(sigmoid(self.log_odds(scores)), nan=0.0)
        rows = rows_of_neighbours(raw)
        likeness = self.likeness.probability(pair_features(raw, rows))
        amounts = np.where(rows >= 0, probability[rows] * likeness, 0.0)
        column = amounts.argmax(axis=1)
        every = np.arange(len(raw))
        amount = np.minimum(amounts[every, column], _MOST)
        some = amount > 0
        return BestNeighbours(
            np.where(some, rows[every, column], -1), amount, np.where(some, likeness[every, column], np.nan)
        )

    def rescored(self, raw: pd.DataFrame, scores: npt.ArrayLike) -> Values:
        """Return (rows,) log-odds with what each list's other candidates say; NaN stays NaN."""
        return noisy_or(self.log_odds(scores), self.best_neighbours(raw, scores).amount)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"slope": self.slope, "offset": self.offset, "likeness": self.likeness.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NeighbourRescoring:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(float(data["slope"]), float(data["offset"]), Likeness.from_dict(data["likeness"]))


class LabelledPairs(Protocol):
    """Rows of the raw pair table with their labels, as a training or a measurement holds them."""

    @property
    def raw(self) -> pd.DataFrame: ...

    @property
    def labelled(self) -> npt.NDArray[np.bool_]: ...

    @property
    def same(self) -> npt.NDArray[np.bool_]: ...


def fit_likeness(tables: Mapping[str, LabelledPairs]) -> Likeness:
    """Fit what says that two candidates show one individual, on candidates and neighbours whose names are known.

    It has eleven numbers, and fifteen for pairs that were matched: too few to remember an individual. Every pair of one
    day teaches twice, once without the time between the two, so that it can be asked about either.

    Args:
        tables: protocol -> labelled rows, with :data:`reranker.likeness.COLUMNS`.
    """
    parts: list[tuple[dict[str, Values], Values]] = []
    matched_parts: list[tuple[dict[str, Values], Values]] = []
    for table in tables.values():
        raw, rows = table.raw, rows_of_neighbours(table.raw)
        names = pd.factorize(raw["individual1"])[0]
        taught = (rows >= 0) & (names >= 0)[:, None] & (names[rows] >= 0)
        same = (names[:, None] == names[rows]).ravel()
        for known in (True, False):
            features = pair_features(raw if known else raw.assign(**dict.fromkeys(SECONDS_COLUMNS, np.nan)), rows)
            flat = {name: values.ravel() for name, values in features.items()}
            for kept, mask in ((parts, taught.ravel()), (matched_parts, taught.ravel() & (flat[MATCHED] > 0))):
                positions = np.flatnonzero(mask)
                positions = positions[:: -(-len(positions) * len(tables) // _LIKENESS_PAIRS) or 1]
                kept.append(({name: flat[name][positions] for name in EVERY_FEATURE}, same[positions].astype(float)))
    every = _fitted(parts, FEATURES)
    return replace(every or Likeness(), matched=_fitted(matched_parts, EVERY_FEATURE))


def _fitted(parts: Sequence[tuple[Mapping[str, Values], Values]], names: Collection[str]) -> Likeness | None:
    """Fit a likeness on labelled pairs; None where there are none, or all of one kind."""
    same = np.concatenate([labels for _, labels in parts])
    if not len(same) or not 0 < same.mean() < 1:
        return None
    return Likeness.fit({name: np.concatenate([part[name] for part, _ in parts]) for name in names}, same, names)


def fit_and_rescore(
    tables: Mapping[str, LabelledPairs], scores: Mapping[str, Values], likeness: Likeness, base: str = "all"
) -> tuple[NeighbourRescoring, dict[str, Values]]:
    """Fit the line on one protocol's out-of-fold scores, and re-score every protocol by it.

    A list is scored by one fold's model as a whole, and the line has two numbers for all folds together.

    Args:
        tables: protocol -> labelled rows. scores: protocol -> (rows,) scores; NaN where nobody was scored.
        likeness: :func:`fit_likeness`.
        base: the protocol that the line is fitted on.
    """
    labelled = tables[base].labelled & ~np.isnan(scores[base])
    rescoring = NeighbourRescoring.fit(scores[base][labelled], tables[base].same[labelled], likeness)
    return rescoring, {name: rescoring.rescored(tables[name].raw, values) for name, values in scores.items()}


def noisy_or(own: Values, amount: Values) -> Values:
    """Return the log-odds of 1 - (1 - P)(1 - amount), with ``own`` the log-odds of P."""
    probability = sigmoid(own)
    either = probability + amount - probability * amount
    # ln(1 - P) of a large score would round to -inf: it is -ln(1 + exp(own)).
    with np.errstate(invalid="ignore"):  # NaN stays NaN, quietly
        neither = -np.logaddexp(0.0, own) + np.log1p(-amount)
    return np.where(amount > 0, np.log(np.maximum(either, np.finfo(float).tiny)) - neither, own)


def rows_of_neighbours(raw: pd.DataFrame) -> npt.NDArray[np.int64]:
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
