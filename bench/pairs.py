"""How well local evidence alone tells true pairs from impostors: a fixed yardstick, drawn by seed.

::

    python -m bench.pairs CATALOG [--store DIR] [--count 300] [--part all] [--pictures FOLDER] [--save-evidence FILE]
                          [--result pairs]
    python -m bench.pairs --catalog DIR --pairs pairs.csv --output scores.csv

The first form draws true pairs (same encounter; another encounter of the same year; another year; lateral and top) and
impostors (any two whales; of the same day; of the same second; lateral and top), and prints the area under the ROC
curve and the share of true pairs found at 1 % and 0.1 % false positives among all impostors of like views, with
intervals over whales. Whales are those of the half that no network was trained on (``--individuals all`` takes every
one). They are split into a tuning and a test part, so that settings chosen on one can be measured on the other. The
weights of the local evidence (:mod:`reranker.local_evidence`) are fitted without the whales that they score (five
folds, the mean of eight divisions into folds); beside them stand the looks that they weigh, alone. A second table says
on which photographs true pairs are missed (:mod:`bench.pair_causes`).

The second form scores any list of pairs (columns image_id0, image_id1) by local evidence alone: a higher ``score``
means more likely the same individual. No date and no global descriptor is in it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.error_causes import Photographs
from bench.held_out import EVERYBODY, HELD_OUT, HELP, INDIVIDUALS, measured_part, settings_for
from bench.machine import write_result
from bench.pair_causes import found_by_measure
from bench.pair_causes import render as render_causes
from bench.pair_draw import IMPOSTOR_KINDS, MIXED_KINDS, PARTS, TRUE_KINDS, DrawnPair, draw_pairs
from engine.catalogue.catalog import Catalog
from engine.commands.console import ProgressBar
from engine.search.matcher import Matcher
from features.describe import Describer
from features.store import FeatureStore
from features.training.data import fold_of
from reranker.local_evidence import FIRST_STAGE_TERMS, TERMS, LocalEvidence, cross_fitted
from reranker.metrics import auc, bootstrap_by_group

Floats = npt.NDArray[np.float64]


def local_score(numbers: pd.DataFrame) -> Floats:
    """Return one score per pair from local evidence alone, larger is likelier the same individual (shipped weights)."""
    return LocalEvidence.shipped().score(numbers)


def keypoint_score(numbers: pd.DataFrame) -> Floats:
    """Return what keypoints and LightGlue alone say: ln(1 + inliers x plausibility), ties by the confidences' sum."""
    return _with_ties(
        numbers,
        "lightglue_inliers",
        "lightglue_plausibility",
        np.log1p(numbers["lightglue_confidence_sum"].to_numpy(float)),
    )


def mark_score(numbers: pd.DataFrame) -> Floats:
    """Return what the look at the skin alone says: ln(1 + explained places x plausibility)."""
    ties = np.nan_to_num(numbers["skin_aligned_similarity"].to_numpy(float))
    return _with_ties(numbers, "skin_inliers", "skin_plausibility", ties)


def nearest_score(numbers: pd.DataFrame) -> Floats:
    """Return what nearest neighbours of keypoints say: ln(1 + inliers x plausibility), ties by their sharpness."""
    ties = np.log1p(numbers["mutual_nn_confidence_sum"].to_numpy(float))
    return _with_ties(numbers, "mutual_nn_inliers", "mutual_nn_plausibility", ties)


def _with_ties(numbers: pd.DataFrame, inliers: str, plausibility: str, ties: Floats) -> Floats:
    agreement = np.log1p(numbers[inliers].to_numpy(float) * numbers[plausibility].to_numpy(float))
    return np.nan_to_num(agreement + 1e-3 * ties)


def plain_score(numbers: pd.DataFrame) -> Floats:
    """Return all looks added up, nothing fitted: what local evidence is worth before any whale was learned from."""
    return keypoint_score(numbers) + nearest_score(numbers) + mark_score(numbers)


def folds_of(pairs: Sequence[DrawnPair], folds: int = 5, seed: int = 7) -> npt.NDArray[np.int64]:
    """Return the fold of every pair, by the individual of its first photograph."""
    return np.array([fold_of(pair.individual, folds, seed) for pair in pairs], np.int64)


def honest_score(
    numbers: pd.DataFrame, pairs: Sequence[DrawnPair], repeats: int = 8, names: Sequence[str] = tuple(TERMS)
) -> Floats:
    """Return the local evidence of drawn pairs by weights that were fitted without the whales that they score.

    Which whales fall into one fold moves the rates by 0.01 to 0.02, so the mean over several divisions is taken.
    """
    same = np.array([pair.same for pair in pairs])
    # The weights are for views from above: mixed pairs would teach them what a lateral view looks like instead.
    learns = np.array([pair.kind not in MIXED_KINDS for pair in pairs])
    scores = [cross_fitted(numbers, same, folds_of(pairs, seed=seed), learns, names) for seed in range(repeats)]
    return np.asarray(np.mean(scores, axis=0), np.float64)


def figures_of(pairs: Sequence[DrawnPair], scores: Floats, method: str = "local evidence") -> list[dict[str, Any]]:
    """Return, per kind of true pair, AUC and true-positive rates at 1 % and 0.1 % false positives of all impostors."""
    same = np.array([pair.same for pair in pairs])
    kinds = np.array([pair.kind for pair in pairs])
    mixed = np.isin(kinds, MIXED_KINDS)
    records = []
    for kind in TRUE_KINDS:
        chosen, impostors = scores[kinds == kind], scores[~same & (mixed == (kind in MIXED_KINDS))]
        if not len(chosen) or not len(impostors):
            continue
        who = np.array([pair.individual for pair in pairs])[kinds == kind]
        both, labels = np.r_[chosen, impostors], np.r_[np.ones(len(chosen), bool), np.zeros(len(impostors), bool)]
        record: dict[str, Any] = {"method": method, "kind": kind, "pairs": len(chosen), "individuals": len(set(who))}
        record["auc"] = auc(both, labels)
        for rate in (0.01, 0.001):
            limit = np.quantile(impostors, 1 - rate, method="higher")
            found = bootstrap_by_group((chosen > limit).astype(float), who)
            record[f"tpr_at_{rate:g}"] = found._asdict()
        records.append(record)
    return records


def render(records: Sequence[dict[str, Any]], impostors: dict[str, int]) -> str:
    """Return the table as Markdown."""
    lines = ["| by | true pairs | pairs (whales) | AUC | found at 1 % false | at 0.1 % false |", "|" + "---|" * 6]
    for r in records:
        rates = ("{mean:.2f} ({low:.2f}–{high:.2f})".format(**r[name]) for name in ("tpr_at_0.01", "tpr_at_0.001"))
        cells = [r["method"], r["kind"], f"{r['pairs']} ({r['individuals']})", f"{r['auc']:.2f}", *rates]
        lines.append("| " + " | ".join(cells) + " |")
    counted = ", ".join(f"{count} of {kind}" for kind, count in impostors.items())
    return "\n".join([*lines, "", f"impostors: {counted}"])


def score_pairs(catalog: Catalog, pairs: pd.DataFrame, matcher: Matcher, progress: Any = None) -> pd.DataFrame:
    """Return the pairs with their ``score``; a pair with an unreadable photograph gets 0.

    Raises:
        KeyError: a pair names a photograph that the catalogue does not have.
    """
    names = list(dict.fromkeys([*pairs["image_id0"].astype(str), *pairs["image_id1"].astype(str)]))
    index = matcher.index(catalog.subset(names), progress)
    both = list(zip(pairs["image_id0"].astype(str), pairs["image_id1"].astype(str), strict=True))
    fine = np.array([a in index.catalog and b in index.catalog for a, b in both])
    scores = np.zeros(len(both))
    if fine.any():
        asked = [pair for pair, good in zip(both, fine, strict=True) if good]
        scores[fine] = local_score(matcher.compare(asked, index, progress=progress))
    return pairs.assign(score=scores)


def main(arguments: Sequence[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Measure, or score a list of pairs."""
    parser = argparse.ArgumentParser(prog="python -m bench.pairs", description=__doc__.split("\n", 1)[0])
    parser.add_argument("catalog", type=Path, nargs="?", help="labelled catalogue")
    parser.add_argument("--catalog", type=Path, dest="named", help="the same, for --pairs")
    parser.add_argument("--pairs", type=Path, help="CSV with image_id0, image_id1: score these")
    parser.add_argument("--output", type=Path, help="CSV for the scores")
    parser.add_argument("--store", type=Path, help="store's folder")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--count", type=int, default=300, help="pairs of a kind (300)")
    parser.add_argument("--part", choices=PARTS, default="all", help="which whales (all)")
    parser.add_argument("--individuals", choices=INDIVIDUALS, default=HELD_OUT, help=HELP)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the surest, missed and most wrong pairs")
    parser.add_argument(
        "--save-evidence",
        type=Path,
        metavar="FILE",
        help="keep the weights fitted on all these pairs, and beside them (first-stage-FILE) those of the first stage",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    parser.add_argument("--result", metavar="NAME", help="write bench/results/NAME.json")
    options = parser.parse_args(arguments)
    folder = options.named or options.catalog
    if folder is None or (options.pairs is not None and options.output is None):
        parser.error("give a CATALOG; with --pairs also --output")
    # A list of pairs is somebody's question, not a measurement of ours: it is answered by what ships.
    settings = settings_for(EVERYBODY if options.pairs is not None else options.individuals, options.overrides)
    matcher = Matcher(settings, options.store, ranker="fusion", workers=options.workers)
    catalog = Catalog.read(folder)
    bar = ProgressBar("pairs")
    if options.pairs is not None:
        asked = pd.read_csv(options.pairs, dtype=str)
        missing = [name for name in ("image_id0", "image_id1") if name not in asked.columns]
        if missing:
            parser.error(f"{options.pairs} lacks the column {missing[0]}")
        score_pairs(catalog, asked, matcher, bar).to_csv(options.output, index=False)
        return 0
    catalog = measured_part(catalog, options.individuals)
    pairs = draw_pairs(catalog, options.count, options.part, options.seed)
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.image_id0, pair.image_id1)))
    index = matcher.index(catalog.subset(names), bar)
    started = time.perf_counter()
    numbers = matcher.compare([(pair.image_id0, pair.image_id1) for pair in pairs], index, progress=bar)
    seconds = time.perf_counter() - started
    same = np.array([pair.same for pair in pairs])
    learns = np.array([pair.kind not in MIXED_KINDS for pair in pairs])
    scores = {
        "keypoints and LightGlue": keypoint_score(numbers),
        "mark descriptors": mark_score(numbers),
        "nearest neighbours of keypoints": nearest_score(numbers),
        "all added": plain_score(numbers),
        "quick looks (weighed)": honest_score(numbers, pairs, names=tuple(FIRST_STAGE_TERMS)),
        "local evidence (all weighed)": honest_score(numbers, pairs),
    }
    records = [record for name, values in scores.items() for record in figures_of(pairs, values, name)]
    if options.save_evidence:
        about = {"pairs": len(pairs), "individuals": options.individuals, "part": options.part, "seed": options.seed}
        LocalEvidence.fit(numbers[learns], same[learns], about).save(options.save_evidence)
        first_stage = LocalEvidence.fit(numbers[learns], same[learns], about, tuple(FIRST_STAGE_TERMS))
        first_stage.save(options.save_evidence.with_name(f"first-stage-{options.save_evidence.name}"))
    impostors = {kind: sum(pair.kind == kind for pair in pairs) for kind in IMPOSTOR_KINDS}
    say(render(records, impostors))
    best = scores["local evidence (all weighed)"]
    photographs = Photographs(index, Describer(settings.describe, FeatureStore(matcher.store_for(index.catalog))))
    causes = found_by_measure(pairs, best, photographs)
    say(f"\nFound at 1 % false, by what the photographs are like:\n\n{render_causes(causes)}")
    if options.pictures:
        from bench.pair_page import draw_pair_page

        say(str(draw_pair_page(pairs, best, index, matcher, options.pictures)))
    if options.result:
        figures = {"kinds": records, "impostors": impostors, "causes": causes, "seconds": seconds}
        protocol = {
            "part": options.part,
            "individuals": options.individuals,
            "count": options.count,
            "seed": options.seed,
        }
        write_result(options.result, figures, settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
