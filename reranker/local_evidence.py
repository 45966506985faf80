"""One score from everything that was found on the skin of two photographs: no date, no global descriptor, no list.

An inlier count says little by itself: two grids of skin always agree in a few dozen places, and a few keypoints always
fall into line. What counts is how much more they agree than pairs of different individuals do, so the numbers of all
looks at a pair are weighed by a logistic regression that was fitted against such pairs. The score is its log-odds. A
second set of weights reads the quick looks alone and says which pairs deserve LightGlue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from scarmatch.errors import ScarmatchError
from scarmatch.manifest import check_shipped
from scarmatch.sealed_json import read_sealed, write_sealed

Values = npt.NDArray[np.float64]
FORMAT = 1
SHIPPED = Path(__file__).parent / "models" / "local-evidence.json"
SHIPPED_QUICK = Path(__file__).parent / "models" / "quick-local-evidence.json"

#: Terms of the quick looks: name -> (meaning, value where nobody looked or nothing was found).
QUICK_TERMS: Mapping[str, tuple[str, float]] = {
    "marks_agreement": ("ln(1 + explained places of skin x plausibility)", 0.0),
    "marks_aligned": ("mean cosine of the skin once one animal is laid on the other", 0.3),
    "marks_similarity": ("mean cosine of the places of skin that are each other's nearest", 0.3),
    "marks_inlier_ratio": ("share of these places that the placement explains", 0.0),
    "marks_position_gap": ("disagreement of the places' position along the body, body lengths", 0.2),
    "nearest_agreement": ("ln(1 + inliers x plausibility) of keypoints that are each other's nearest", 0.0),
    "nearest_matches": ("ln(1 + such keypoints)", 0.0),
    "nearest_sharpness": ("ln(1 + sum over them of 1 - distance to the nearest / to the next)", 0.0),
    "nearest_inlier_ratio": ("share of them that the placement explains", 0.0),
    "nearest_position_gap": ("disagreement of their position along the body, body lengths", 0.2),
    "nearest_sure_agreement": ("ln(1 + inliers x plausibility) of the sure ones among them", 0.0),
    "nearest_sure": ("ln(1 + sure ones)", 0.0),
    "nearest_sure_inlier_ratio": ("share of the sure ones that their placement explains", 0.0),
    "nearest_sure_position_gap": ("disagreement of the sure ones' position along the body, body lengths", 0.2),
}
#: All terms: those and LightGlue's.
TERMS: Mapping[str, tuple[str, float]] = {
    **QUICK_TERMS,
    "agreement": ("ln(1 + LightGlue's inliers x plausibility)", 0.0),
    "matches": ("ln(1 + tentative matches)", 0.0),
    "sure_matches": ("ln(1 + matches of confidence above 0.5)", 0.0),
    "confidence_sum": ("ln(1 + sum of the matches' confidences)", 0.0),
    "inlier_ratio": ("share of the matches that the placement explains", 0.0),
    "position_gap": ("disagreement of the matches' position along the body, body lengths", 0.2),
}


class LocalEvidenceError(ScarmatchError, ValueError):
    """A file of weights or a table of pairs cannot be used; the message names it."""


def terms_of(numbers: pd.DataFrame, names: Iterable[str] = TERMS) -> Values:
    """Return the (pairs, terms) matrix of a table of pairs' numbers; absent columns count as not looked.

    Args:
        numbers: columns of :data:`engine.matching.evidence.NUMBERS`.
        names: terms wanted, of :data:`TERMS`.
    """

    def column(name: str) -> Values:
        if name not in numbers.columns:
            return np.full(len(numbers), np.nan)
        return pd.to_numeric(numbers[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)

    def agreement(look: str) -> Values:
        name = "n_inliers" if not look else f"{look}inliers"
        return np.log1p(column(name) * column(f"{look}plausibility"))

    logarithms = {name: name for name in ("confidence_sum", "nearest_matches", "nearest_sharpness", "nearest_sure")}
    logarithms |= {"matches": "n_matches", "sure_matches": "n_matches_50"}
    columns = {}
    for name in names:
        if name.endswith("agreement"):
            values = agreement(name.removesuffix("agreement"))
        else:
            values = np.log1p(column(logarithms[name])) if name in logarithms else column(name)
        columns[name] = np.where(np.isfinite(values), values, TERMS[name][1])
    return np.stack(list(columns.values()), axis=1)


@dataclass(frozen=True, eq=False)
class LocalEvidence:
    """Weights of the terms.

    Attributes:
        weights: (terms,) log-odds per unit of each term.
        terms: names of the terms, of :data:`TERMS`.
        bias: log-odds where all terms are 0.
        about: what it was fitted on.
    """

    weights: Values
    bias: float
    about: Mapping[str, Any]
    terms: Sequence[str] = tuple(TERMS)

    @classmethod
    def fit(
        cls,
        numbers: pd.DataFrame,
        same: npt.ArrayLike,
        about: Mapping[str, Any] | None = None,
        names: Sequence[str] = tuple(TERMS),
    ) -> Self:
        """Fit the weights on labelled pairs; both kinds of pair weigh the same in all.

        Args:
            numbers: see :func:`terms_of`.
            same: (pairs,) True where both show one individual.
            about: what the pairs are, kept with the weights.
            names: terms to weigh.

        Raises:
            LocalEvidenceError: all pairs are of one kind.
        """
        from sklearn.linear_model import LogisticRegression

        labels = np.asarray(same, bool)
        if labels.all() or not labels.any():
            raise LocalEvidenceError("fitting needs pairs of one individual and pairs of two")
        terms = terms_of(numbers, names)
        mean, spread = terms.mean(axis=0), terms.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        model = LogisticRegression(C=0.3, class_weight="balanced", max_iter=1000)
        model.fit((terms - mean) / spread, labels)
        weights = model.coef_[0] / spread
        return cls(weights, float(model.intercept_[0] - weights @ mean), dict(about or {}), tuple(names))

    def score(self, numbers: pd.DataFrame) -> Values:
        """Return the (pairs,) log-odds that both photographs of a pair show one individual, for even prior odds."""
        return terms_of(numbers, self.terms) @ self.weights + self.bias

    def save(self, path: Path | str) -> None:
        """Write the weights as JSON."""
        weights = {name: float(value) for name, value in zip(self.terms, self.weights, strict=True)}
        text = {"format": FORMAT, "kind": "local evidence", "bias": self.bias, "weights": weights, "about": self.about}
        write_sealed(path, text)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            LocalEvidenceError: not such a file, or its terms are not those of this version.
            WeightsError: it ships with the program, and is not what was shipped.
        """
        check_shipped(path)
        try:
            text = read_sealed(path)
            kind, bias = text["kind"], float(text["bias"])
            weights = {name: float(value) for name, value in text["weights"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise LocalEvidenceError(f"{path} holds no weights of local evidence: {error!r}") from error
        if kind != "local evidence" or list(weights) not in (list(TERMS), list(QUICK_TERMS)):
            raise LocalEvidenceError(f"{path} was made for other terms ({', '.join(weights)}): fit it anew")
        return cls(np.array(list(weights.values()), np.float64), bias, text.get("about", {}), tuple(weights))

    @classmethod
    def shipped(cls) -> Self:
        """Return the weights that come with the package."""
        return cls.load(SHIPPED)

    @classmethod
    def shipped_quick(cls) -> Self:
        """Return the weights of the quick looks alone that come with the package."""
        return cls.load(SHIPPED_QUICK)


def cross_fitted(
    numbers: pd.DataFrame,
    same: npt.ArrayLike,
    folds: npt.ArrayLike,
    learns: npt.ArrayLike | None = None,
    names: Sequence[str] = tuple(TERMS),
) -> Values:
    """Score every pair by weights that were fitted without its fold: (pairs,) log-odds.

    Args:
        folds: (pairs,) int, the same for all pairs of one individual.
        learns: (pairs,) True for the pairs that weights may be fitted on; None takes all.
        names: terms to weigh.
    """
    labels, fold = np.asarray(same, bool), np.asarray(folds)
    teaches = np.ones(len(labels), bool) if learns is None else np.asarray(learns, bool)
    scores = np.zeros(len(labels))
    for number in np.unique(fold):
        own, rest = fold == number, (fold != number) & teaches
        scores[own] = LocalEvidence.fit(numbers[rest], labels[rest], names=names).score(numbers[own])
    return scores
