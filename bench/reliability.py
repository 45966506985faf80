"""Can the probabilities be believed? Reliability plot and expected calibration error in every protocol.

::

    python -m bench.reliability CATALOG --pairs pairs.npz [--plot bench/results/reliability.png] [--result reliability]

The recipe is that of the shipped ranker unless ``--kind`` names another. Its scores are out of fold, and the curve that
turns them into probabilities is fitted on the other folds: no whale has a say in its own probability. Errors are over
all pairs ("pairs"), over the first 20 of every list ("shown": what a user reads) and over the first alone ("first"),
with 95 % intervals over whales. An interval of an error never reaches 0: chance alone makes bins miss a little.

Cost: well under a minute on one core once the pairs are gathered.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.machine import RESULTS, write_result
from bench.out_of_fold import matcher_from
from bench.pair_file import add_options, pairs_from, protocol_from
from bench.recipes import PROTOCOLS, Questions, Table, out_of_fold, prepare
from engine.report import drawing
from engine.report.drawing import Label
from engine.report.image_files import save_png
from engine.search.matcher import shipped_ranker
from features.records import ByteArray
from reranker.calibration import fit_calibration, fit_platt
from reranker.metrics import Floats
from reranker.neighbour_rescoring import fit_and_rescore
from reranker.ranker import Ranker, RankerSettings, rank_order

#: Scope -> places of every list that count.
SCOPES = {"pairs": 10**9, "shown": 20, "first": 1}
BINS = 10
_RESAMPLES = 1000


def run(questions: Questions, settings: RankerSettings, seed: int = 0) -> list[dict[str, Any]]:
    """Return one record per protocol and scope: error, bins, intervals over whales."""
    scores = scores_of(questions, settings)
    base = questions.tables["all"]
    usable = base.known & ~np.isnan(scores["all"])
    folds = _folds(base, questions)
    records = []
    curves = {}
    for fold in range(questions.folds):
        others = usable & (folds != fold)
        curves[fold] = fit_calibration(scores["all"][others], base.same[others])
    for protocol, table in questions.tables.items():
        rows = np.flatnonzero(table.known & ~np.isnan(scores[protocol]))
        where = _folds(table, questions)[rows]
        probabilities = np.empty(len(rows))
        for fold, curve in curves.items():
            probabilities[where == fold] = curve(scores[protocol][rows[where == fold]])
        places = _places(table, rows, scores[protocol])
        for scope, last in SCOPES.items():
            kept = places < last
            found = reliability(probabilities[kept], table.same[rows][kept], table.individual0[rows][kept], seed)
            records.append({"protocol": protocol, "scope": scope, **found})
    return records


def scores_of(questions: Questions, settings: RankerSettings) -> dict[str, Floats]:
    """Return protocol -> (rows,) scores out of fold of a recipe, the blend among them.

    The blend is the mean of both other kinds, each brought to log-odds by a line over all folds, as
    :mod:`reranker.training` makes it: two numbers a kind, too few to remember an individual.
    """
    if settings.kind != "blend":
        return out_of_fold(questions, settings)
    base = questions.tables["all"]
    lines, found = [], []
    for kind in ("logistic", "lambdamart"):
        scores = out_of_fold(questions, settings.replace(kind=kind), rescoring=False)
        judged = base.known & ~np.isnan(scores["all"])
        lines.append(fit_platt(scores["all"][judged], base.same[judged]))
        found.append(scores)
    blend = {
        name: np.mean([slope * part[name] + offset for part, (slope, offset) in zip(found, lines, strict=True)], axis=0)
        for name in questions.tables
    }
    return fit_and_rescore(questions.tables, blend)[1]


def _folds(table: Table, questions: Questions) -> npt.NDArray[np.int_]:
    return np.array([questions.fold_of.get(name, -1) for name in table.individual0])


def _places(table: Table, rows: npt.NDArray[np.intp], scores: Floats) -> npt.NDArray[np.int_]:
    """Return the place (from 0) of each of the rows in its query's list."""
    part = table.raw.iloc[rows]
    order = rank_order(part["query_id"], scores[rows], part["cosine"], part["candidate_id"])
    places = np.empty(len(rows), int)
    places[order] = part.iloc[order].groupby("query_id", sort=False).cumcount()
    return places


def reliability(
    probabilities: Floats, same: npt.NDArray[np.bool_], individuals: npt.NDArray[np.str_], seed: int = 0
) -> dict[str, Any]:
    """Return the expected calibration error and the reliability curve with 95 % intervals that resample whales.

    The error is the mean over cases of |mean probability - share of matches| in ten bins of equal width.

    Args:
        probabilities: (N,) in [0, 1]. same: (N,) matches. individuals: (N,) whale of each query.
        seed: of the resampling.
    """
    codes = np.unique(individuals, return_inverse=True)[1]
    whales = int(codes.max()) + 1 if len(codes) else 0
    cell = codes * BINS + np.minimum((probabilities * BINS).astype(int), BINS - 1)
    sums = [
        np.bincount(cell, w, whales * BINS).reshape(whales, BINS) for w in (None, probabilities, same.astype(float))
    ]
    drawn = np.random.default_rng(seed).multinomial(whales, np.full(whales, 1 / max(whales, 1)), _RESAMPLES)
    counts, predicted, observed = (drawn @ part for part in sums)
    errors = np.abs(predicted - observed).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    total, mean, found = (part.sum(axis=0) for part in sums)
    held = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanquantile(np.where(counts > 0, observed / counts, np.nan)[:, held], [0.025, 0.975], axis=0)
    return {
        "error": {
            "mean": float(np.abs(mean - found).sum() / max(total.sum(), 1)),
            "low": float(np.quantile(errors, 0.025)),
            "high": float(np.quantile(errors, 0.975)),
        },
        "cases": int(total.sum()),
        "individuals": whales,
        "bins": {
            "count": total[held].astype(int).tolist(),
            "predicted": (mean[held] / total[held]).tolist(),
            "observed": (found[held] / total[held]).tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        },
    }


def render(figures: dict[str, Any]) -> str:
    """Return the errors as a Markdown table."""
    lines = ["| matches that count | first 20 of a list | first of a list | all pairs |", "|---|---|---|---|"]
    records = {(r["protocol"], r["scope"]): r for r in figures["reliability"]}
    for protocol in dict.fromkeys(r["protocol"] for r in figures["reliability"]):
        errors = (records[protocol, scope]["error"] for scope in ("shown", "first", "pairs"))
        cells = ["{mean:.3f} ({low:.3f}–{high:.3f})".format(**error) for error in errors]
        lines.append(f"| {PROTOCOLS[protocol]} | {' | '.join(cells)} |")
    footing = (
        "Expected calibration error (ten bins) with 95 % intervals over whales; scores and calibration out of fold, "
        "calibrated on all matches."
    )
    return "\n".join([*lines, "", footing])


# --- the plot ---------------------------------------------------------------------------------------------------------

_SIDE, _LEFT, _TOP, _GAP = 340, 58, 84, 46
_BLUE = (14, 79, 95)
_GRID = (224, 229, 233)
_PAPER = (255, 255, 255)
_INK = (27, 39, 51)


def draw_plot(records: Sequence[dict[str, Any]], scope: str = "shown") -> ByteArray:
    """Draw predicted probability against the observed share, one panel a protocol; dots grow with their cases."""
    chosen = [r for r in records if r["scope"] == scope]
    width = _LEFT + len(chosen) * (_SIDE + _GAP)
    canvas = np.full((_TOP + _SIDE + 64, width, 3), _PAPER, np.uint8)
    labels = []
    for number, record in enumerate(chosen):
        labels += _draw_panel(canvas, record, _LEFT + number * (_SIDE + _GAP))
    return drawing.write(canvas, labels)


def _draw_panel(canvas: ByteArray, record: dict[str, Any], left: int) -> list[Label]:
    def at(x: float, y: float) -> tuple[int, int]:
        return round(left + x * _SIDE), round(_TOP + (1 - y) * _SIDE)

    labels = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        cv2.line(canvas, at(tick, 0), at(tick, 1), _GRID, 1)
        cv2.line(canvas, at(0, tick), at(1, tick), _GRID, 1)
        (x, y), (low, _) = at(tick, 0), at(0, tick)
        labels.append(Label(f"{tick:.1f}", (x, y + 14), 12, _INK, "mm"))
        labels.append(Label(f"{tick:.1f}", (low - 8, at(0, tick)[1]), 12, _INK, "rm"))
    cv2.line(canvas, at(0, 0), at(1, 1), (150, 160, 170), 1, cv2.LINE_AA)
    cv2.rectangle(canvas, at(0, 1), at(1, 0), (150, 160, 170), 1)
    bins = record["bins"]
    points = list(zip(bins["predicted"], bins["observed"], bins["low"], bins["high"], bins["count"], strict=True))
    places = [at(x, y) for x, y, *_ in points]
    cv2.polylines(canvas, [np.array(places, np.int32)], False, _BLUE, 1, cv2.LINE_AA)
    for (x, _, low, high, count), place in zip(points, places, strict=True):
        cv2.line(canvas, at(x, low), at(x, high), _BLUE, 2, cv2.LINE_AA)
        cv2.circle(canvas, place, round(2.5 + 1.3 * np.log10(max(count, 1))), _BLUE, -1, cv2.LINE_AA)
    middle = left + _SIDE / 2
    labels.append(Label(PROTOCOLS[record["protocol"]], (middle, 20), 16, _INK, "mm"))
    error = record["error"]
    text = f"error {error['mean']:.3f} ({error['low']:.3f} to {error['high']:.3f}), {record['cases']:,} pairs"
    labels.append(Label(text, (middle, 43), 12, _INK, "mm"))
    labels.append(Label("probability shown", (middle, _TOP + _SIDE + 36), 13, _INK, "mm"))
    if left == _LEFT:
        labels.append(Label("share of matches", (8, _TOP - 14), 13, _INK))
    return labels


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.reliability", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="(default: bench/results/NAME.png with --result)")
    parser.add_argument(
        "--kind",
        choices=("shipped", "logistic", "lambdamart", "blend"),
        default="shipped",
        help="which recipe (shipped)",
    )
    options = parser.parse_args(arguments)
    kind = options.kind
    if kind == "shipped":
        shipped = shipped_ranker(matcher_from(options).settings.describe.keypoints.kind)
        kind = Ranker.load(shipped).kind if shipped is not None else "lambdamart"
    settings = RankerSettings(kind=kind)
    questions = prepare(pairs_from(options), options.folds, options.seed)
    figures = {"reliability": run(questions, settings, options.seed)}
    print(render(figures))
    plot = options.plot or (RESULTS / f"{options.result}.png" if options.result else None)
    if plot is not None:
        save_png(plot, draw_plot(figures["reliability"]))
    if options.result:
        every = {**matcher_from(options).settings.to_dict(), "ranker": settings.to_dict()}
        write_result(options.result, figures, every, protocol_from(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
