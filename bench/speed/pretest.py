"""Whether a cheap test of nearest neighbours can spare LightGlue the pairs that are not worth its time.

::

    python -m bench.speed.pretest CATALOG [--store DIR] [--count 100] [--individuals held-out] [--result pretest]

For each way to count mutual nearest neighbours (how strict the ratio test is, how near their places on the two animals
must lie) it prints how well the count alone tells true pairs from impostors, and how many impostors a threshold spares
LightGlue that loses at most 1 %, 2 % or 5 % of the pairs that are found with it. A pair counts as found if its local
score beats 99 % of the impostors'. What a threshold costs in mAP is measured by ``python -m bench.speed.matcher``.
About 8 x ``--count`` pairs are matched: a minute on two quiet cores, after their photographs are described.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.metrics import auc
from bench.pair_draw import DrawnPair
from bench.pairs import plain_score
from bench.speed.drawn_pairs import measure_drawn_pairs
from engine.evidence import PairWorker
from engine.index import CatalogIndex
from engine.matcher import Matcher
from engine.pretest import agreeing, mutual_neighbours, position_gaps
from engine.workers import single_thread

RATIOS = (1.0, 0.95, 0.9)
GAPS = (0.1, 0.15, 0.25, 9.0)
LOSSES = (0.01, 0.02, 0.05)
Counts = npt.NDArray[np.int64]


def count_neighbours(
    pairs: Sequence[DrawnPair], index: CatalogIndex, worker: PairWorker, limit: int
) -> tuple[dict[tuple[float, float], Counts], float]:
    """Return, for each (ratio, gap), the count of every pair, and the pairs that the test does in a second.

    Args:
        pairs: the pairs, all of them in the index.
        index: their photographs.
        worker: reads their keypoints.
        limit: only the best so many keypoints take part.
    """
    key_of = {item.image_id: item.key for item in index.descriptions}
    counts = {(ratio, gap): np.zeros(len(pairs), np.int64) for ratio in RATIOS for gap in GAPS}
    spent = 0.0
    with single_thread():
        for place, pair in enumerate(pairs):
            first, second = (worker.features(key_of[name]) for name in (pair.image_id0, pair.image_id1))
            started = time.perf_counter()
            agreeing(first, second, limit, RATIOS[0], GAPS[0])
            spent += time.perf_counter() - started
            found = mutual_neighbours(first, second, limit)
            gaps = position_gaps(first, second, found)
            for (ratio, gap), values in counts.items():
                values[place] = ((found.ratio <= ratio) & (gaps <= gap)).sum()
    return counts, len(pairs) / max(spent, 1e-9)


def judge(counts: Counts, same: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return how well a count separates, and what thresholds spare and lose.

    Args:
        counts: (P,) neighbours of each pair.
        same: (P,) whether it is a true pair.
        found: (P,) whether it is a true pair that LightGlue and the verification find.
    """
    record: dict[str, Any] = {"auc": auc(counts, same), "auc_found": None, "at_loss": []}
    if not found.any():
        return record
    record["auc_found"] = auc(counts[found | ~same], same[found | ~same])
    for loss in LOSSES:
        # The largest threshold below which at most that share of the found pairs falls.
        threshold = int(np.quantile(counts[found], loss, method="lower"))
        dropped = counts < threshold
        record["at_loss"].append(
            {
                "loss": loss,
                "threshold": threshold,
                "found_dropped": float(dropped[found].mean()),
                "true_dropped": float(dropped[same].mean()),
                "impostors_dropped": float(dropped[~same].mean()),
            }
        )
    return record


def measure(index: CatalogIndex, pairs: Sequence[DrawnPair], matcher: Matcher, progress: Any = None) -> dict[str, Any]:
    """Match the pairs as shipped, count their neighbours, and judge every way to count."""
    numbers = matcher.compare([(pair.image_id0, pair.image_id1) for pair in pairs], index, progress=progress)
    same = np.array([pair.same for pair in pairs])
    scores = plain_score(numbers)
    found = same & (scores > np.quantile(scores[~same], 0.99, method="higher"))
    s = matcher.settings
    worker = PairWorker(s.describe, s.matching, s.verification, matcher.store_for(index.catalog), matcher.device)
    counts, speed = count_neighbours(pairs, index, worker, s.matching.max_keypoints)
    ways = [{"ratio": ratio, "gap": gap, **judge(values, same, found)} for (ratio, gap), values in counts.items()]
    return {
        "pairs": len(pairs),
        "true": int(same.sum()),
        "found": int(found.sum()),
        "pairs_per_second": speed,
        "ways": sorted(ways, key=lambda way: -(way["auc_found"] or 0.0)),
    }


def render(figures: dict[str, Any]) -> str:
    """Return the table as Markdown, the best way to count first."""
    heads = [f"≤ {loss:.0%} of found lost: at least / impostors spared / true lost" for loss in LOSSES]
    lines = [
        f"| ratio | gap | AUC, all true | AUC, found | {' | '.join(heads)} |",
        "|---|---|---|---|" + "---|" * len(heads),
    ]
    for way in figures["ways"]:
        cells = [f"{way['ratio']:g}", f"{way['gap']:g}", f"{way['auc']:.3f}"]
        cells.append("–" if way["auc_found"] is None else f"{way['auc_found']:.3f}")
        cells += [
            f"{at['threshold']} / {at['impostors_dropped']:.0%} / {at['true_dropped']:.0%}" for at in way["at_loss"]
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"{figures['pairs']:,} pairs, {figures['true']:,} of them true, {figures['found']:,} of these found by local "
        f"matching at 1 % false; the test does {figures['pairs_per_second']:,.0f} pairs a second on one thread.",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    return measure_drawn_pairs("bench.speed.pretest", __doc__, 100, measure, render, arguments)


if __name__ == "__main__":
    sys.exit(main())
