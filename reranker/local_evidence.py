"""One score from everything that was found on the skin of two photographs: no date, no global descriptor, no list.

An inlier count says little by itself: two grids of skin always agree in a few dozen places, and a few keypoints always
fall into line. What counts is how much more they agree than pairs of different individuals do, so the measurements of
all matchers are weighed by a logistic regression that was fitted against such pairs. The score is its log-odds. A
second set of weights reads the first stage (skin and mutual nearest neighbours) alone and says which pairs deserve
LightGlue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.pair_features import DERIVATIONS, Values, quantities
from scarmatch.errors import ScarmatchError
from scarmatch.manifest import check_shipped
from scarmatch.sealed_json import read_sealed, write_sealed

FORMAT = 1
SHIPPED = Path(__file__).parent / "models" / "local-evidence.json"
SHIPPED_FIRST_STAGE = Path(__file__).parent / "models" / "first-stage-local-evidence.json"


@dataclass(frozen=True)
class Term:
    """One number of a pair that is weighed.

    Attributes:
        source: the quantity (:func:`reranker.pair_features.quantities`).
        derivation: as it is, or ln(1 + it).
        absent: value where nobody matched or nothing was found.
        meaning: one plain phrase.
    """

    source: str
    derivation: Literal["plain", "log1p"]
    absent: float
    meaning: str

    @property
    def name(self) -> str:
        """What it is called, as the ranker's features are."""
        return self.source if self.derivation == "plain" else f"{self.source}_{self.derivation}"


def _named(*terms: Term) -> dict[str, Term]:
    return {term.name: term for term in terms}


#: Terms of the matchers that see every candidate.
FIRST_STAGE_TERMS: Mapping[str, Term] = _named(
    Term("skin_agreement", "plain", 0.0, "ln(1 + inliers of skin x plausibility)"),
    Term("skin_aligned_similarity", "plain", 0.3, "mean cosine of the skin once one animal is laid on the other"),
    Term("skin_similarity", "plain", 0.3, "mean cosine of the matches of skin"),
    Term("skin_inlier_ratio", "plain", 0.0, "share of these matches that are inliers"),
    Term("skin_position_gap", "plain", 0.2, "disagreement of the inliers' position along the body, body lengths"),
    Term("mutual_nn_agreement", "plain", 0.0, "ln(1 + inliers x plausibility) of mutual nearest neighbours"),
    Term("mutual_nn_matches", "log1p", 0.0, "ln(1 + mutual nearest neighbours)"),
    Term("mutual_nn_confidence_sum", "log1p", 0.0, "ln(1 + sum over them of 1 - their ratio)"),
    Term("mutual_nn_inlier_ratio", "plain", 0.0, "share of them that are inliers"),
    Term("mutual_nn_position_gap", "plain", 0.2, "disagreement of the inliers' position along the body, body lengths"),
    Term("mutual_nn_distinctive_agreement", "plain", 0.0, "ln(1 + inliers x plausibility) of the distinctive ones"),
    Term("mutual_nn_distinctive_matches", "log1p", 0.0, "ln(1 + distinctive ones)"),
    Term("mutual_nn_distinctive_inlier_ratio", "plain", 0.0, "share of the distinctive ones that are inliers"),
    Term("mutual_nn_distinctive_position_gap", "plain", 0.2, "disagreement of their position along the body"),
    Term("mutual_nn_correlation_coarse", "plain", 0.2, "correlation of the skins' blocks, one laid on the other"),
    Term("mutual_nn_correlation_middle", "plain", 0.15, "the same at the middle scale"),
    Term("mutual_nn_correlation_fine", "plain", 0.12, "the same at the finest scale"),
    Term("mutual_nn_drift_middle", "plain", 0.011, "deviation of the blocks' shifts at the middle scale, heights"),
    Term("mutual_nn_drift_fine", "plain", 0.011, "the same at the finest scale"),
)
#: All terms: those and LightGlue's.
TERMS: Mapping[str, Term] = {
    **FIRST_STAGE_TERMS,
    **_named(
        Term("lightglue_agreement", "plain", 0.0, "ln(1 + LightGlue's inliers x plausibility)"),
        Term("lightglue_matches", "log1p", 0.0, "ln(1 + tentative matches)"),
        Term("lightglue_matches_50", "log1p", 0.0, "ln(1 + matches of confidence above 0.5)"),
        Term("lightglue_confidence_sum", "log1p", 0.0, "ln(1 + sum of the matches' confidences)"),
        Term("lightglue_inlier_ratio", "plain", 0.0, "share of the matches that are inliers"),
        Term("lightglue_position_gap", "plain", 0.2, "disagreement of the inliers' position along the body"),
    ),
}


class LocalEvidenceError(ScarmatchError, ValueError):
    """A file of weights or a table of pairs cannot be used; the message names it."""


def terms_of(table: pd.DataFrame, names: Iterable[str] = TERMS) -> Values:
    """Return the (pairs, terms) matrix of a table of pairs' measurements; absent columns count as not matched.

    Args:
        table: columns ``{matcher}_{measurement}`` of the raw pair table.
        names: terms wanted, of :data:`TERMS`.
    """
    read, columns = quantities(table), []
    for term in (TERMS[name] for name in names):
        values = DERIVATIONS[term.derivation](table, read(term.source))
        columns.append(np.where(np.isfinite(values), values, term.absent))
    return np.stack(columns, axis=1)


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

    @classmethod
    def fit_first_stage(cls, pairs: pd.DataFrame, about: Mapping[str, Any] | None = None) -> Self:
        """Fit the first stage's weights on the labelled pairs of lists whose skin was compared, the hardest there are.

        Args:
            pairs: raw pair table with the columns individual0 and individual1.
            about: what the pairs are; their numbers are added.

        Raises:
            LocalEvidenceError: all pairs are of one kind.
        """
        pairs = pairs[compared(pairs)]
        same = (pairs["individual0"] == pairs["individual1"]).to_numpy(bool)
        counted = {"pairs": len(pairs), "matches": int(same.sum())}
        return cls.fit(pairs, same, {**counted, **(about or {})}, tuple(FIRST_STAGE_TERMS))

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
            text = read_sealed(path, ("format", "kind", "bias", "weights", "about"))
            kind, bias = text["kind"], float(text["bias"])
            weights = {name: float(value) for name, value in text["weights"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise LocalEvidenceError(f"{path} holds no weights of local evidence: {error!r}") from error
        # One that was fitted before a term was added weighs the others.
        unknown = [name for name in weights if name not in TERMS]
        if kind != "local evidence" or unknown or not weights:
            raise LocalEvidenceError(f"{path} was made for other terms ({', '.join(unknown or weights)}): fit it anew")
        return cls(np.array(list(weights.values()), np.float64), bias, text.get("about", {}), tuple(weights))

    @classmethod
    def shipped(cls) -> Self:
        """Return the weights that come with the package."""
        return cls.load(SHIPPED)

    @classmethod
    def shipped_first_stage(cls) -> Self:
        """Return the weights of the first stage alone that come with the package."""
        return cls.load(SHIPPED_FIRST_STAGE)


def compared(pairs: pd.DataFrame) -> pd.Series:
    """Return which pairs of a raw table teach the first stage's weights: both animals known, skin compared."""
    return pairs[["individual0", "individual1", "skin_matches"]].notna().all(axis=1)


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
