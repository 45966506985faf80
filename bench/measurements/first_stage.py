"""Whether the matchers of the first stage can spare LightGlue the pairs that are not worth its time.

For dense skin descriptors, mutual nearest neighbours of keypoints and both weighed it prints how well they alone tell
true pairs from impostors, and how many impostors a threshold spares LightGlue that loses at most 1 %, 2 % or 5 % of the
pairs that LightGlue finds. A pair counts as found if its score by LightGlue beats 99 % of the impostors'.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench import markdown
from bench.context import Context
from bench.drawn_pairs import measured_pairs
from bench.figures import Figures
from bench.local_scores import FIRST_STAGE, Floats, honest_score, lightglue_score, mutual_nn_score, skin_score
from bench.matching_time import MatchingTime
from bench.measurement import Measurement
from bench.results import Result
from scarmatch.metrics import auc, threshold_at_fpr

LOSSES = (0.01, 0.02, 0.05)


@dataclass(frozen=True)
class AtLoss:
    """What a threshold drops: shares of the pairs that LightGlue finds, of all true pairs, of the impostors."""

    loss: float
    found_dropped: float
    true_dropped: float
    impostors_dropped: float


@dataclass(frozen=True)
class Way:
    """How well one score separates true pairs, and those that LightGlue finds, from impostors."""

    way: str
    auc: float
    auc_found: float
    at_loss: tuple[AtLoss, ...]


@dataclass(frozen=True)
class FirstStageFigures(Figures):
    """Everything this measurement finds; ``pairs_per_second``: stage -> rate in one process."""

    pairs: int
    true: int
    found: int
    pairs_per_second: dict[str, float]
    ways: tuple[Way, ...]


def measure(context: Context) -> FirstStageFigures:
    """Match the pairs by every matcher, and judge what those of the first stage would have spared."""
    drawn = measured_pairs(context, context.options.count)
    scores = lightglue_score(drawn.numbers)
    found = drawn.same & (scores > threshold_at_fpr(scores[~drawn.same], 0.01))
    weighed = honest_score(drawn.numbers, drawn.same, drawn.individuals, ~drawn.mixed, FIRST_STAGE)
    ways = {"skin": skin_score(drawn.numbers), "keypoints": mutual_nn_score(drawn.numbers), "both weighed": weighed}
    time = MatchingTime.measure(context.matcher, drawn.index)
    return FirstStageFigures(
        pairs=len(drawn.pairs),
        true=int(drawn.same.sum()),
        found=int(found.sum()),
        pairs_per_second={"first stage": 1 / time.seconds_first, "LightGlue": 1 / time.seconds_lightglue},
        ways=tuple(judge(name, values, drawn.same, found) for name, values in ways.items()),
    )


def judge(way: str, scores: Floats, same: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> Way:
    """Return how well a score separates, and what thresholds spare and lose.

    Args:
        way: name of the score.
        scores: (P,) of each pair.
        same: (P,) whether it is a true pair.
        found: (P,) whether it is a true pair that LightGlue and the verification find.
    """
    if not found.any():
        return Way(way, auc(scores, same), float("nan"), ())
    at_loss = []
    for loss in LOSSES:
        # The largest threshold below which at most that share of the found pairs falls.
        dropped = scores < float(np.quantile(scores[found], loss, method="lower"))
        at_loss.append(AtLoss(loss, *(float(dropped[rows].mean()) for rows in (found, same, ~same))))
    kept = found | ~same
    return Way(way, auc(scores, same), auc(scores[kept], same[kept]), tuple(at_loss))


def full(result: Result[FirstStageFigures]) -> str:
    """Return the table."""
    figures = result.figures
    rows = [
        [
            way.way,
            f"{way.auc:.3f}",
            "–" if np.isnan(way.auc_found) else f"{way.auc_found:.3f}",
            *(f"{at.impostors_dropped:.0%} / {at.true_dropped:.0%}" for at in way.at_loss),
        ]
        for way in figures.ways
    ]
    heads = ["matcher", "AUC, all true", "AUC, found by LightGlue"]
    heads += [f"≤ {loss:.0%} of found lost: impostors spared / true lost" for loss in LOSSES]
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in figures.pairs_per_second.items())
    words = (
        f"{figures.pairs:,} pairs, {figures.true:,} of them true, {figures.found:,} of these found by LightGlue at 1 % "
        f"false. Pairs a second on one thread, reading and verification included: {rates}."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--count", type=int, default=100, help="pairs of a kind (100)")


MEASUREMENT = Measurement(
    title="Pairs that LightGlue need not see",
    figures=FirstStageFigures,
    measure=measure,
    full=full,
    add_options=add_options,
)
