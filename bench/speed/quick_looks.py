"""Whether the quick looks can spare LightGlue the pairs that are not worth its time.

::

    python -m bench.speed.quick_looks CATALOG [--store DIR] [--count 100] [--individuals held-out]
                                      [--result quick_looks]

For the look at the skin, the look at the keypoints and both weighed it prints how well they alone tell true pairs from
impostors, and how many impostors a threshold spares LightGlue that loses at most 1 %, 2 % or 5 % of the pairs that
LightGlue finds. A pair counts as found if its score by LightGlue beats 99 % of the impostors'. What it costs in mAP to
show LightGlue fewer pairs is measured by ``python -m bench.accuracy --set shortlist.rescore=...``. About 8 x
``--count`` pairs are matched: a minute on two quiet cores, after their photographs are described.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.pair_draw import DrawnPair
from bench.pairs import honest_score, keypoint_score, mark_score, nearest_score
from bench.speed.drawn_pairs import measure_drawn_pairs
from bench.speed.peak import seconds_a_pair
from engine.catalogue.index import CatalogIndex
from engine.matching.measurements import FIRST_STAGE, MATCHERS
from engine.matching.pair_worker import PairTask, PairWorker
from engine.search.matcher import Matcher
from engine.workers import single_thread
from reranker.local_evidence import FIRST_STAGE_TERMS
from reranker.metrics import auc

LOSSES = (0.01, 0.02, 0.05)
Scores = npt.NDArray[np.float64]


def speed_of(pairs: Sequence[DrawnPair], index: CatalogIndex, worker: PairWorker) -> dict[str, float]:
    """Return the pairs that each look does in a second on one thread, in tasks of one query and 50 candidates.

    Args:
        pairs: their photographs are asked and searched; all of them are in the index.
        index: the photographs.
        worker: compares.
    """
    keys = [item.key for item in index.descriptions]
    count = min(50, len(keys) - 1)
    queries = list(dict.fromkeys(index.catalog.position(pair.image_id0) for pair in pairs))[:8]
    tasks = [PairTask(keys[q], tuple(keys[(q + k) % len(keys)] for k in range(1, count + 1))) for q in queries]
    rates: dict[str, float] = {}
    with single_thread():
        for matcher in MATCHERS:
            # LightGlue takes thirty times as long: a few pairs say enough.
            few = [PairTask(task.query, task.candidates[:3]) for task in tasks[:4]]
            some = tasks if matcher in FIRST_STAGE else few
            worker.measure(matcher, some[0])
            rates[matcher] = 1 / seconds_a_pair(worker, some, matcher)
    return rates


def judge(scores: Scores, same: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return how well a score separates, and what thresholds spare and lose.

    Args:
        scores: (P,) of each pair.
        same: (P,) whether it is a true pair.
        found: (P,) whether it is a true pair that LightGlue and the verification find.
    """
    record: dict[str, Any] = {"auc": auc(scores, same), "auc_found": None, "at_loss": []}
    if not found.any():
        return record
    record["auc_found"] = auc(scores[found | ~same], same[found | ~same])
    for loss in LOSSES:
        # The largest threshold below which at most that share of the found pairs falls.
        threshold = float(np.quantile(scores[found], loss, method="lower"))
        dropped = scores < threshold
        record["at_loss"].append(
            {
                "loss": loss,
                "found_dropped": float(dropped[found].mean()),
                "true_dropped": float(dropped[same].mean()),
                "impostors_dropped": float(dropped[~same].mean()),
            }
        )
    return record


def measure(index: CatalogIndex, pairs: Sequence[DrawnPair], matcher: Matcher, progress: Any = None) -> dict[str, Any]:
    """Take every look at the pairs, and judge what the quick ones would have spared."""
    numbers = matcher.compare([(pair.image_id0, pair.image_id1) for pair in pairs], index, progress=progress)
    same = np.array([pair.same for pair in pairs])
    scores = keypoint_score(numbers)
    found = same & (scores > np.quantile(scores[~same], 0.99, method="higher"))
    ways = {
        "skin": mark_score(numbers),
        "keypoints": nearest_score(numbers),
        "both weighed": honest_score(numbers, pairs, names=tuple(FIRST_STAGE_TERMS)),
    }
    return {
        "pairs": len(pairs),
        "true": int(same.sum()),
        "found": int(found.sum()),
        "pairs_per_second": speed_of(pairs, index, matcher.pair_pool(matcher.store_for(index.catalog)).worker),
        "ways": [{"way": name, **judge(values, same, found)} for name, values in ways.items()],
    }


def render(figures: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    heads = [f"≤ {loss:.0%} of found lost: impostors spared / true lost" for loss in LOSSES]
    lines = [
        f"| quick look | AUC, all true | AUC, found by LightGlue | {' | '.join(heads)} |",
        "|---|---|---|" + "---|" * len(heads),
    ]
    for way in figures["ways"]:
        cells = [way["way"], f"{way['auc']:.3f}"]
        cells.append("–" if way["auc_found"] is None else f"{way['auc_found']:.3f}")
        cells += [f"{at['impostors_dropped']:.0%} / {at['true_dropped']:.0%}" for at in way["at_loss"]]
        lines.append("| " + " | ".join(cells) + " |")
    rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in figures["pairs_per_second"].items())
    lines += [
        "",
        f"{figures['pairs']:,} pairs, {figures['true']:,} of them true, {figures['found']:,} of these found by "
        f"LightGlue at 1 % false. Pairs a second on one thread, reading and verification included: {rates}.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    return measure_drawn_pairs("bench.speed.quick_looks", __doc__, 100, measure, render, arguments)


if __name__ == "__main__":
    sys.exit(main())
