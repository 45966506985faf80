"""Can the probabilities be believed? Reliability curves and expected calibration errors in every protocol.

The recipe is that of the shipped ranker unless ``--kind`` names another. Its scores are out of fold, and the curve that
turns them into probabilities is fitted on the other folds: no whale has a say in its own probability. Errors are over
all pairs ("pairs"), over the first 20 of every list ("shown": what a user reads) and over the first alone ("first"),
with 95 % intervals over whales. An interval of an error never reaches 0: chance alone makes bins miss a little.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.lists import with_other_days
from bench.measurement import Measurement
from bench.protocols import RULES
from bench.results import Result
from reranker.cross_fitting import cross_fitted_calibrations, cross_fitted_probabilities, places_in_lists
from reranker.ranker import Ranker
from reranker.training import train_ranker
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import Interval

#: Scope -> places of every list that count.
SCOPES = {"pairs": 10**9, "shown": 20, "first": 1}
BINS = 10
_RESAMPLES = 1000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """The bins that hold anything: cases, mean probability, share of matches with its interval over whales."""

    count: tuple[int, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """One reliability curve and its expected calibration error."""

    protocol: str
    scope: str
    cases: int
    individuals: int
    error: Interval
    bins: Bins


@dataclass(frozen=True)
class ReliabilityFigures(Figures):
    """Everything this measurement finds."""

    kind: str
    curves: tuple[Curve, ...]


def measure(context: Context) -> ReliabilityFigures:
    """Fit the recipe out of fold and draw its curves."""
    kind = context.options.kind
    if kind == "shipped":
        shipped = context.matcher.model.path("ranker")
        kind = Ranker.load(shipped).kind if shipped is not None else "lambdamart"
    raw = context.labelled_pairs(context.queries)
    settings = TrainingSettings(kind=kind, folds=context.options.folds, seed=context.seed)
    scores = train_ranker(raw, settings, protocols=with_other_days(raw)).scores
    calibrations, curves = cross_fitted_calibrations(scores, kind), []
    for protocol in (name for name in RULES if name in scores):
        frame = scores[protocol].dropna(subset=[kind]).reset_index(drop=True)
        probabilities = cross_fitted_probabilities(frame, calibrations, kind)
        places, same = places_in_lists(frame, kind), frame["same"].to_numpy(bool)
        who = frame["individual0"].to_numpy(str)
        for scope, last in SCOPES.items():
            kept = (places < last) & ~np.isnan(probabilities)
            curves.append(curve_of(protocol, scope, probabilities[kept], same[kept], who[kept], context.seed))
    return ReliabilityFigures(kind, tuple(curves))


def curve_of(
    protocol: str, scope: str, probabilities: Floats, same: npt.NDArray[np.bool_], individuals: npt.NDArray, seed: int
) -> Curve:
    """Return the reliability curve and its error with 95 % intervals that resample whales.

    The error is the mean over cases of |mean probability - share of matches| in ten bins of equal width.

    Args:
        protocol, scope: what the cases are.
        probabilities: (N,) in [0, 1].
        same: (N,) matches.
        individuals: (N,) whale of each query.
        seed: of the resampling.
    """
    codes = np.unique(individuals, return_inverse=True)[1]
    whales = int(codes.max()) + 1 if len(codes) else 0
    cell = codes * BINS + np.minimum((probabilities * BINS).astype(int), BINS - 1)
    weights = (None, probabilities, same.astype(float))
    sums = [np.bincount(cell, w, whales * BINS).reshape(whales, BINS) for w in weights]
    drawn = np.random.default_rng(seed).multinomial(whales, np.full(whales, 1 / max(whales, 1)), _RESAMPLES)
    counts, predicted, observed = (drawn @ part for part in sums)
    errors = np.abs(predicted - observed).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    total, mean, found = (part.sum(axis=0) for part in sums)
    held = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(counts > 0, observed / counts, np.nan)[:, held]
        low, high = np.nanquantile(shares, [0.025, 0.975], axis=0)
    error = Interval(
        float(np.abs(mean - found).sum() / max(total.sum(), 1)), *map(float, np.quantile(errors, [0.025, 0.975]))
    )
    parts = ((mean[held] / total[held]), (found[held] / total[held]), low, high)
    bins = Bins(tuple(map(int, total[held])), *(tuple(part.tolist()) for part in parts))
    return Curve(protocol, scope, int(total.sum()), whales, error, bins)


def full(result: Result[ReliabilityFigures]) -> str:
    """Return the errors as a table: protocols down, scopes across."""
    errors = {(c.protocol, c.scope): c.error for c in result.figures.curves}
    rows = [
        [RULES[protocol], *(markdown.interval(errors[protocol, scope]) for scope in ("shown", "first", "pairs"))]
        for protocol in RULES
        if (protocol, "shown") in errors
    ]
    words = (
        "Expected calibration error (ten bins) with 95 % intervals over whales; scores and calibration out of fold, "
        "calibrated on all matches."
    )
    heads = ["matches that count", "first 20 of a list", "first of a list", "all pairs"]
    return f"{markdown.table(heads, rows)}\n\n{words}"


def plot(figures: ReliabilityFigures, path: Path) -> None:
    """Draw probability against the observed share for what is shown, one panel a protocol; dots grow with cases."""
    from matplotlib.figure import Figure

    chosen = [curve for curve in figures.curves if curve.scope == "shown"]
    picture = Figure(figsize=(3.8 * len(chosen), 4.2), layout="constrained")
    for axes, curve in zip(picture.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True):
        bins = curve.bins
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        axes.vlines(bins.predicted, bins.low, bins.high, color="#0e4f5f", linewidth=2)
        axes.plot(bins.predicted, bins.observed, color="#0e4f5f", linewidth=1)
        axes.scatter(bins.predicted, bins.observed, s=12 + 12 * np.log10(bins.count), color="#0e4f5f", zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="probability shown", ylabel="share of matches")
        error = f"error {curve.error.mean:.3f} ({curve.error.low:.3f} to {curve.error.high:.3f})"
        axes.set_title(f"{RULES[curve.protocol]}\n{error}, {curve.cases:,} pairs", fontsize=9)  # type: ignore[index]
        axes.grid(color="0.9")
    picture.savefig(path, dpi=100)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    kinds = ("shipped", "logistic", "lambdamart", "blend")
    parser.add_argument("--kind", choices=kinds, default="shipped", help="which recipe (shipped)")


MEASUREMENT = Measurement(
    title="Can the probabilities be believed?",
    figures=ReliabilityFigures,
    measure=measure,
    full=full,
    short=full,
    plot=plot,
    add_options=add_options,
    queries=160,
    folds=True,
)
