"""From a ranker's score to the probability of the same individual, and how far such probabilities can be trusted.

A :class:`Calibration` is fitted on out-of-fold scores and is strictly increasing, so that it never changes an order: it
is a piecewise linear or logistic curve plus a sliver (0.2 %) of a curve that rises everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Values = npt.NDArray[np.float64]

#: Share of the ever-rising curve in a calibrated probability: small beside any calibration error, large beside
#: rounding.
SLIVER = 0.002


def sigmoid(values: npt.ArrayLike) -> Values:
    """Return 1 / (1 + exp(-values)) without overflow."""
    x = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # NaN stays NaN, quietly
        return np.exp(-np.logaddexp(0.0, -x))


def log_odds(probabilities: npt.ArrayLike, floor: float = 1e-9) -> Values:
    """Return ln(p / (1 - p)), with p kept ``floor`` away from 0 and 1."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), floor, 1 - floor)
    return np.log(p) - np.log1p(-p)


def fit_platt(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[float, float]:
    """Fit ``P(same) = sigmoid(slope * score + offset)`` by maximum likelihood (Platt, 1999).

    Labels are softened to (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), as Platt has it, so that separable scores stay finite.

    Returns:
        (slope, offset); the slope is positive: scores that speak against the label give a slope close to 0.
    """
    from scipy.optimize import minimize

    s, y = _check(scores, labels)
    positives, negatives = float(y.sum()), float((~y).sum())
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Scores that differ by rounding only count as equal: dividing by their spread would make an endless slope.
    centre, width = float(np.mean(s)), float(np.std(s))
    if width <= 1e-9 * max(1.0, abs(centre)):
        width = 1.0
    z = (s - centre) / width

    def loss(parameters: Values) -> tuple[float, Values]:
        logits = parameters[0] * z + parameters[1]
        error = sigmoid(logits) - target
        value = float(np.sum(np.logaddexp(0, logits) - target * logits))
        return value / len(z), np.array([np.sum(error * z), np.sum(error)]) / len(z)

    start = np.array([1.0, float(log_odds((positives + 1) / (positives + negatives + 2)))])
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(1e-6, None), (None, None)])
    slope, offset = (float(v) for v in fit.x)
    return slope / width, offset - slope * centre / width


def fit_logistic(
    design: Values,
    target: Values,
    ridge: float,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
    stop: Mapping[str, float] | None = None,
) -> tuple[Values, float]:
    """Fit logistic regression by L-BFGS: the log-loss summed over rows + ridge / 2 · |coefficients|².

    Args:
        design: (rows, columns).
        target: (rows,) 0 or 1, both present.
        ridge: of the penalty; the offset is free.
        bounds: (lowest, highest) of each coefficient; None leaves all free.
        stop: SciPy's options of L-BFGS-B that say when it ends; 500 steps and tight tolerances if None.

    Returns:
        (columns,) coefficients, and the offset.
    """
    from scipy.optimize import minimize

    total = len(design)

    def loss(parameters: Values) -> tuple[float, Values]:
        logits = design @ parameters[:-1] + parameters[-1]
        error = sigmoid(logits) - target
        value = float(np.sum(np.logaddexp(0, logits) - target * logits))
        value += ridge / 2 * float(parameters[:-1] @ parameters[:-1])
        gradient = np.append(design.T @ error + ridge * parameters[:-1], error.sum())
        return value / total, gradient / total

    share = float(np.clip(target.sum() / total, 1e-6, 1 - 1e-6))
    start = np.append(np.zeros(design.shape[1]), np.log(share / (1 - share)))
    limits = [*(bounds if bounds is not None else [(None, None)] * design.shape[1]), (None, None)]
    options: Any = dict(stop) if stop is not None else {"maxiter": 500, "ftol": 1e-10, "gtol": 1e-7}
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options).x
    return fit[:-1], float(fit[-1])


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing map from scores to probabilities in (0, 1).

    Attributes:
        kind: "platt" (a logistic curve) or "isotonic" (piecewise linear between ``knots``).
        slope, offset: the logistic curve; for "isotonic" only the steepness and centre of the sliver.
        knots, values: strictly increasing scores and non-decreasing probabilities; empty for "platt".
    """

    kind: Literal["platt", "isotonic"] = "platt"
    slope: float = 1.0
    offset: float = 0.0
    knots: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("platt", "isotonic"):
            raise ValueError(f"no calibration is of kind {self.kind!r}")
        if self.slope <= 0:
            raise ValueError(f"a calibration's slope must be positive, not {self.slope}")
        if len(self.knots) != len(self.values) or (self.kind == "isotonic" and not self.knots):
            raise ValueError(
                f"a calibration of kind {self.kind!r} has {len(self.knots)} knots, {len(self.values)} values"
            )
        if any(np.diff(self.knots) <= 0) or any(np.diff(self.values) < 0):
            raise ValueError("the knots of a calibration must rise and its values must not fall")
        if self.values and not 0 <= self.values[0] <= self.values[-1] <= 1:
            raise ValueError("the values of a calibration must be probabilities")

    def __call__(self, scores: npt.ArrayLike) -> Values:
        """Return probabilities in (0, 1), the same shape as ``scores``."""
        s = np.asarray(scores, dtype=np.float64)
        logits = self.slope * s + self.offset
        curve = sigmoid(logits) if self.kind == "platt" else np.interp(s, self.knots, self.values)
        # x / (1 + |x|) still rises where a logistic curve has long reached 1 in floating point.
        rising = 0.5 + 0.5 * logits / (1 + np.abs(logits))
        return (1 - SLIVER) * curve + SLIVER * rising

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        curve = {"kind": self.kind, "slope": self.slope, "offset": self.offset}
        return {**curve, "knots": list(self.knots), "values": list(self.values)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Rebuild a calibration from :meth:`to_dict`."""
        return cls(
            kind=data["kind"],
            slope=float(data["slope"]),
            offset=float(data["offset"]),
            knots=tuple(float(v) for v in data["knots"]),
            values=tuple(float(v) for v in data["values"]),
        )


def fit_calibration(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    kind: Literal["auto", "platt", "isotonic"] = "auto",
    min_positives: int = 200,
) -> Calibration:
    """Fit a calibration to out-of-fold scores.

    "auto" takes isotonic regression where there are at least ``min_positives`` positives and as many negatives, and
    Platt's curve otherwise. Isotonic blocks are drawn one pseudo-observation towards Platt's curve (a block of one
    photograph is not certain) and joined by straight lines between their mean scores, instead of steps.

    Args:
        scores: (n,) finite scores of held-out pairs.
        labels: (n,) True where both photographs show the same individual.

    Raises:
        ValueError: no scores, lengths differ, or a score is not finite.
    """
    s, y = _check(scores, labels)
    slope, offset = fit_platt(s, y)
    few = min(int(y.sum()), int((~y).sum())) < min_positives
    if kind == "platt" or (kind == "auto" and few):
        return Calibration("platt", slope, offset)
    from sklearn.isotonic import IsotonicRegression

    steps = IsotonicRegression(increasing=True).fit_transform(s, y.astype(np.float64))
    frame = pd.DataFrame({"score": s, "same": y.astype(np.float64), "step": steps}).sort_values(
        ["score"], kind="stable"
    )
    block = (frame["step"].diff().abs() > 1e-12).cumsum()
    blocks = frame.groupby(block).agg(score=("score", "mean"), same=("same", "sum"), size=("same", "size"))
    prior = sigmoid(slope * blocks["score"].to_numpy() + offset)
    shares = (blocks["same"].to_numpy() + prior) / (blocks["size"].to_numpy() + 1)
    knots, first = np.unique(blocks["score"].to_numpy(), return_index=True)
    rising = np.maximum.accumulate(shares)[first]
    return Calibration("isotonic", slope, offset, tuple(knots.tolist()), tuple(rising.tolist()))


def strictly_decreasing(probabilities: npt.ArrayLike, step: float = 1e-12) -> Values:
    """Make a ranked list of probabilities strictly decreasing inside [0, 1], changing each as little as needed.

    Neighbours end at least about ``step`` apart, so the order survives being written as text with 12 decimals or more.

    Args:
        probabilities: (n,) in ranked order, best first.

    Raises:
        ValueError: a value is not finite or the list is too long for the step.
    """
    p = np.clip(np.asarray(probabilities, dtype=np.float64), 0.0, 1.0)
    if not np.isfinite(p).all():
        raise ValueError("probabilities must be finite")
    if len(p) * step > 0.5:
        raise ValueError(f"{len(p)} probabilities do not fit in [0, 1] at least {step} apart")
    places = np.arange(len(p), dtype=np.float64)
    # p[i] + i*step must not rise: its running minimum lowers exactly the values that stand too high.
    lowered = np.minimum.accumulate(p + places * step) - places * step
    return np.maximum(lowered, places[::-1] * step)


def _check(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Values, npt.NDArray[np.bool_]]:
    s, y = np.asarray(scores, dtype=np.float64).ravel(), np.asarray(labels).astype(bool).ravel()
    if len(s) == 0 or len(s) != len(y):
        raise ValueError(f"calibration needs as many scores as labels and at least one; got {len(s)} and {len(y)}")
    if not np.isfinite(s).all():
        raise ValueError(f"{int((~np.isfinite(s)).sum())} score(s) are not finite")
    return s, y
