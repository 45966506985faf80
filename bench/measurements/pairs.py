"""How well local evidence alone tells true pairs from impostors: a fixed yardstick, drawn by seed.

True pairs (same encounter; another encounter of the same year; another year; lateral and top) and impostors (any two
whales; of the same day; of the same second; lateral and top) are drawn, individuals in turn. The table shows the area
under the ROC curve and the share of true pairs found at 1 % and 0.1 % false positives among all impostors of like
views, with intervals over whales. The weights of the local evidence are fitted without the whales that they score (five
folds, the mean of eight divisions into folds); beside them stand the matchers that they weigh, alone. A second table
says on which photographs true pairs are missed.

``python -m bench pairs --catalog DIR --pairs FILE.csv --output FILE.csv`` scores any list of pairs (columns image_id0,
image_id1) by the shipped weights instead: the higher the score, the likelier both show one individual.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.drawn_pairs import IMPOSTOR_KINDS, MIXED_KINDS, TRUE_KINDS, DrawnPairs, measured_pairs
from bench.figures import Figures
from bench.local_scores import (
    FIRST_STAGE,
    Floats,
    honest_score,
    lightglue_score,
    mutual_nn_score,
    plain_score,
    skin_score,
)
from bench.measurement import Measurement
from bench.pages import draw_page, outside_repository
from bench.photographs import Photographs, Third, thirds_by
from bench.results import Result
from reranker.calibration import sigmoid
from reranker.local_evidence import LocalEvidence
from scarmatch.metrics import Interval, auc, bootstrap_by_group, threshold_at_fpr

ALL_WEIGHED = "local evidence (all weighed)"
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
#: Pairs of each kind that a page shows.
_DRAWN = 3


@dataclass(frozen=True)
class KindFigures:
    """How well one method tells one kind of true pair from impostors of like views."""

    method: str
    kind: str
    pairs: int
    individuals: int
    auc: float
    found_at_1_percent: Interval
    found_at_01_percent: Interval


@dataclass(frozen=True)
class MissedBy:
    """The share of true pairs from above found at 1 % false positives, in thirds of a measure of the photographs."""

    measure: str
    worst: Third
    middle: Third
    best: Third


@dataclass(frozen=True)
class PairFigures(Figures):
    """Everything this measurement finds; ``impostors``: kind -> number."""

    kinds: tuple[KindFigures, ...]
    impostors: dict[str, int]
    missed: tuple[MissedBy, ...]


def measure(context: Context) -> PairFigures:
    """Draw the pairs, score them by every method, and see where true ones are missed."""
    options = context.options
    drawn = measured_pairs(context, options.count)
    learns = ~drawn.mixed  # mixed pairs would teach the weights what a lateral view looks like instead
    weighing = (drawn.numbers, drawn.same, drawn.individuals, learns)
    scores = {
        "keypoints and LightGlue": lightglue_score(drawn.numbers),
        "dense skin descriptors": skin_score(drawn.numbers),
        "nearest neighbours of keypoints": mutual_nn_score(drawn.numbers),
        "all added": plain_score(drawn.numbers),
        "first stage (weighed)": honest_score(*weighing, FIRST_STAGE),
        ALL_WEIGHED: honest_score(*weighing),
    }
    if options.save_evidence is not None:
        _save_evidence(drawn, options.save_evidence, context)
    best = scores[ALL_WEIGHED]
    if options.pictures is not None:
        page = draw_page(_shown(drawn, best), drawn.index, context.matcher, options.pictures, "Single pairs")
        context.say(f"page: {page}")
    kinds = drawn.kinds
    return PairFigures(
        kinds=tuple(record for method, values in scores.items() for record in judge(drawn, values, method)),
        impostors={kind: int((kinds == kind).sum()) for kind in IMPOSTOR_KINDS},
        missed=tuple(missed_by(drawn, best, Photographs(drawn.index, context))),
    )


def judge(drawn: DrawnPairs, scores: Floats, method: str) -> list[KindFigures]:
    """Return, per kind of true pair, AUC and true-positive rates at 1 % and 0.1 % false positives of all impostors."""
    kinds, found = drawn.kinds, []
    for kind in TRUE_KINDS:
        mine, impostors = kinds == kind, ~drawn.same & (drawn.mixed == (kind in MIXED_KINDS))
        if not mine.any() or not impostors.any():
            continue
        who, both = drawn.individuals[mine], mine | impostors
        rates = [
            bootstrap_by_group((scores[mine] > threshold_at_fpr(scores[impostors], rate)).astype(float), who)
            for rate in (0.01, 0.001)
        ]
        area = auc(scores[both], mine[both])
        found.append(KindFigures(method, kind, int(mine.sum()), len(set(who)), area, *rates))
    return found


def missed_by(drawn: DrawnPairs, scores: Floats, photographs: Photographs) -> list[MissedBy]:
    """Return, per measure, the share of true pairs from above found at 1 % false positives, worst third first."""
    true, impostors = drawn.same & ~drawn.mixed, ~drawn.same & ~drawn.mixed
    if not true.any() or not impostors.any():
        return []
    hits = (scores[true] > threshold_at_fpr(scores[impostors], 0.01)).astype(float)
    table = measures_of([drawn.pairs[row] for row in np.flatnonzero(true)], photographs)
    found = []
    for name, (words, little_is_bad) in MEASURES.items():
        values = table[name].to_numpy(float)
        thirds = thirds_by(-values if little_is_bad else values, hits, drawn.individuals[true], values)
        if thirds is not None:
            found.append(MissedBy(words, *thirds))
    return found


def measures_of(pairs: list, photographs: Photographs) -> pd.DataFrame:
    """Return (pairs, :data:`MEASURES`) of pairs seen from above; NaN where a measure is not known."""
    rows = []
    for pair in pairs:
        both = [pair.image_id0, pair.image_id1]
        plain, light = photographs.plain.loc[both], [photographs.light(name) for name in both]
        rows.append(
            {
                **plain.min().to_dict(),
                "length_ratio": plain["length"].max() / plain["length"].min(),
                "marks": min(map(photographs.marks, both)),
                "brightness": min(one.brightness for one in light),
                "light_gap": abs(light[0].side - light[1].side),
            }
        )
    return pd.DataFrame(rows, columns=list(MEASURES), dtype=float)


def _shown(drawn: DrawnPairs, scores: Floats) -> pd.DataFrame:
    """Return the surest and the least likely true pairs of every kind, and the impostors that look most alike."""
    chosen: list[int] = []
    order = np.argsort(-scores, kind="stable")
    for kind in (*TRUE_KINDS, *IMPOSTOR_KINDS):
        rows = order[drawn.kinds[order] == kind].tolist()
        chosen += rows[:_DRAWN] + (rows[_DRAWN:][-_DRAWN:] if kind in TRUE_KINDS else [])
    pairs = [drawn.pairs[row] for row in chosen]
    columns = {"query_id": [p.image_id0 for p in pairs], "image_id": [p.image_id1 for p in pairs]}
    return pd.DataFrame({**columns, "probability": sigmoid(scores[chosen])}).drop_duplicates(list(columns))


def _save_evidence(drawn: DrawnPairs, file: Path, context: Context) -> None:
    learns, about = ~drawn.mixed, context.protocol()
    LocalEvidence.fit(drawn.numbers[learns], drawn.same[learns], about).save(file)
    first = LocalEvidence.fit(drawn.numbers[learns], drawn.same[learns], about, FIRST_STAGE)
    first.save(file.with_name(f"first-stage-{file.name}"))


def full(result: Result[PairFigures]) -> str:
    """Return both tables."""
    figures = result.figures
    rows = [
        [
            r.method,
            r.kind,
            f"{r.pairs} ({r.individuals})",
            f"{r.auc:.2f}",
            *(markdown.interval(rate, 2) for rate in (r.found_at_1_percent, r.found_at_01_percent)),
        ]
        for r in figures.kinds
    ]
    heads = ["by", "true pairs", "pairs (whales)", "AUC", "found at 1 % false", "at 0.1 % false"]
    counted = ", ".join(f"{count} of {kind}" for kind, count in figures.impostors.items())
    words = f"Impostors: {counted}. Pairs of whales that no network was trained on; intervals over whales."
    parts = [markdown.table(heads, rows), words]
    if figures.missed:
        missed = [
            [
                r.measure,
                *(
                    f"{markdown.interval(t.earned, 2)} at {t.least:.3g} to {t.most:.3g}"
                    for t in (r.worst, r.middle, r.best)
                ),
            ]
            for r in figures.missed
        ]
        parts.append("Found at 1 % false positives, by what the photographs are like:")
        parts.append(markdown.table(["true pairs from above, by", "worst third", "middle", "best third"], missed))
    return "\n\n".join(parts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--count", type=int, default=300, help="pairs of a kind (300)")
    parser.add_argument(
        "--pictures", type=outside_repository, metavar="FOLDER", help="draw the surest, missed and most wrong pairs"
    )
    parser.add_argument(
        "--save-evidence",
        type=Path,
        metavar="FILE",
        help="keep the weights fitted on all these pairs, and beside them (first-stage-FILE) those of the first stage",
    )


MEASUREMENT = Measurement(
    title="Local evidence of single pairs",
    figures=PairFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
)
