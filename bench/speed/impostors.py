"""How many inliers pairs of different whales have, beside true pairs.

::

    python -m bench.speed.impostors CATALOG [--store DIR] [--count 150] [--individuals held-out] [--result impostors]

Impostors are any two whales, two whales of one day, and two whales of one second (certain to differ); true pairs are
those of :mod:`bench.pairs`. Every pair is matched and verified as shipped. With 150 of a kind about 1,200 pairs are
matched: a minute on two quiet cores, after about 1,600 photographs are described (the store remembers them).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.pair_draw import IMPOSTOR_KINDS, TRUE_KINDS, DrawnPair
from bench.pairs import figures_of, plain_score
from bench.speed.drawn_pairs import measure_drawn_pairs
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher

QUANTILES = {"least": 0, "p5": 5, "median": 50, "p95": 95, "p99": 99, "most": 100}


def distribution(pairs: Sequence[DrawnPair], inliers: npt.NDArray[np.floating]) -> list[dict[str, Any]]:
    """Return one record per kind of pair: pairs, quantiles of the number of inliers, and how many pairs have each.

    Args:
        pairs: the pairs.
        inliers: (P,) their numbers of inliers, 0 without a model.
    """
    kinds = np.array([pair.kind for pair in pairs])
    records = []
    for kind in (*TRUE_KINDS, *IMPOSTOR_KINDS):
        chosen = inliers[kinds == kind]
        if not len(chosen):
            continue
        record: dict[str, Any] = {"kind": kind, "pairs": len(chosen), "no_model": float((chosen == 0).mean())}
        record |= {name: float(np.percentile(chosen, at)) for name, at in QUANTILES.items()}
        values, times = np.unique(chosen.astype(int), return_counts=True)
        record["counts"] = {str(value): int(count) for value, count in zip(values, times, strict=True)}
        records.append(record)
    return records


def measure(index: CatalogIndex, pairs: Sequence[DrawnPair], matcher: Matcher, progress: Any = None) -> dict[str, Any]:
    """Match and verify the pairs; return JSON-ready figures."""
    names = [(pair.image_id0, pair.image_id1) for pair in pairs]
    numbers: pd.DataFrame = matcher.compare(names, index, progress=progress)
    return {
        "pairs": len(pairs),
        "inliers": distribution(pairs, numbers["lightglue_inliers"].to_numpy(float)),
        "separation": figures_of(pairs, plain_score(numbers)),
    }


def render(figures: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = ["| pairs | number | no model | inliers: median | 95 % | 99 % | most |", "|---|---|---|---|---|---|---|"]
    for record in figures["inliers"]:
        cells = [record["kind"], str(record["pairs"]), f"{record['no_model']:.0%}"]
        cells += [f"{record[name]:.0f}" for name in ("median", "p95", "p99", "most")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| true pairs | AUC | found at 1 % false | at 0.1 % false |", "|---|---|---|---|"]
    for record in figures["separation"]:
        rates = ("{mean:.3f} ({low:.2f}–{high:.2f})".format(**record[f"tpr_at_{rate}"]) for rate in ("0.01", "0.001"))
        lines.append("| " + " | ".join([record["kind"], f"{record['auc']:.3f}", *rates]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    return measure_drawn_pairs("bench.speed.impostors", __doc__, 150, measure, render, arguments)


if __name__ == "__main__":
    sys.exit(main())
