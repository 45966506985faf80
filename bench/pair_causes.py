"""On which photographs true pairs are missed: the share found by thirds of what can be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.error_causes import Photographs
from bench.pair_draw import MIXED_KINDS, DrawnPair
from reranker.metrics import bootstrap_by_group

#: Column -> (what it is, whether little of it is bad).
MEASURES = {
    "length": ("longer side of the smaller photograph, pixels", True),
    "length_ratio": ("longer side of the larger by that of the smaller", False),
    "sharpness": ("sharpness of the less sharp photograph", True),
    "body_share": ("share of visible body, of the photograph with less", True),
    "marks": ("keypoints on marks, of the photograph with fewer", True),
    "brightness": ("brightness of the skin, of the darker, grey levels", True),
    "light_gap": ("difference of the lit flank (0 same light, 2 opposite)", False),
}


def measures_of(pairs: Sequence[DrawnPair], photographs: Photographs) -> pd.DataFrame:
    """Return (pairs, :data:`MEASURES`) of pairs seen from above; NaN where a measure is not known."""
    rows = []
    plain = photographs.plain
    for pair in pairs:
        both = (pair.image_id0, pair.image_id1)
        first, second = (plain.loc[name] for name in both)
        light = [photographs.light(name) for name in both]
        rows.append(
            {
                "length": min(first["length"], second["length"]),
                "length_ratio": max(first["length"], second["length"]) / min(first["length"], second["length"]),
                "sharpness": min(first["sharpness"], second["sharpness"]),
                "body_share": min(first["body_share"], second["body_share"]),
                "marks": min(photographs.marks(name) for name in both),
                "brightness": min(one.brightness for one in light),
                "light_gap": abs(light[0].side - light[1].side),
            }
        )
    return pd.DataFrame(rows, columns=list(MEASURES), dtype=float)


def found_by_measure(
    pairs: Sequence[DrawnPair], scores: npt.NDArray[np.float64], photographs: Photographs, rate: float = 0.01
) -> list[dict[str, Any]]:
    """Return, per measure, the share of true pairs from above found at a false-positive rate, worst third first.

    Args:
        pairs: true pairs and impostors.
        scores: (pairs,) local evidence.
        photographs: measures of the catalogue.
        rate: of false positives among impostors seen from above.
    """
    top = np.array([pair.kind not in MIXED_KINDS for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    if not (top & ~same).any() or not (top & same).any():
        return []
    limit = np.quantile(scores[top & ~same], 1 - rate, method="higher")
    rows = np.flatnonzero(top & same)
    true = [pairs[row] for row in rows.tolist()]
    found = (scores[rows] > limit).astype(float)
    who = np.array([pair.individual for pair in true])
    table = measures_of(true, photographs)
    records = []
    for name, (words, little_is_bad) in MEASURES.items():
        values = table[name].to_numpy(float)
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < 6 or np.ptp(values[known]) == 0:
            continue
        order = known[np.argsort(values[known] if little_is_bad else -values[known], kind="stable")]
        thirds = [
            {
                "least": float(values[part].min()),
                "most": float(values[part].max()),
                "pairs": len(part),
                "found": bootstrap_by_group(found[part], who[part])._asdict(),
            }
            for part in np.array_split(order, 3)
        ]
        records.append({"measure": words, "thirds": thirds})
    return records


def render(records: Sequence[dict[str, Any]]) -> str:
    """Return the table as Markdown."""
    lines = ["| true pairs from above, by | worst third | middle | best third |", "|---|---|---|---|"]
    for record in records:
        cells = [
            "{mean:.2f} ({low:.2f}–{high:.2f})".format(**third["found"])
            + f" at {third['least']:.3g} to {third['most']:.3g}"
            for third in record["thirds"]
        ]
        lines.append("| " + " | ".join([record["measure"], *cells]) + " |")
    return "\n".join(lines)
