"""Our matchers beside kornia's LightGlue in one run: same photographs, same weights; speed, and whether matches agree.

Half of the pairs are true, half impostors, drawn among photographs with as many keypoints as are asked for (as far as
there are, so that a peer which needs equal numbers can batch). Everybody is warmed up and then timed in turn,
``--rounds`` times; the least time of each counts, on one thread and on all. Ours starts without anything known of a
photograph. "A list as shipped" is what the engine does to the keypoints of a list: mutual nearest neighbours of all its
pairs, and LightGlue for the share of them that it re-scores. Agreement is counted on the true pairs, against the
network in single precision: over all of its matches at the threshold in use, and over those that the published
threshold would keep.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench import markdown
from bench.context import Context
from bench.drawn_pairs import draw_pairs, index_of
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.catalog import CatalogError
from engine.matching.base import FeaturePair
from engine.matching.lightglue import LIGHTGLUE_WEIGHTS, LightGlueMatcher, LightGlueSettings
from engine.matching.lightglue_network import normalise_state_dict
from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings
from engine.records import Correspondences
from engine.workers import default_workers
from features.describe import Describer
from features.records import LocalFeatures
from features.store import FeatureStore
from features.weights import weight_file

Matches = list[npt.NDArray[Any]]
Contestant = Callable[[Sequence[FeaturePair]], Matches]
EXACT = "scarmatch's LightGlue, float32"
OURS, NEIGHBOURS = "scarmatch's LightGlue, as shipped", "scarmatch, nearest neighbours"
A_LIST = "scarmatch, a list as shipped"
BATCH = 16
BASE = f"kornia, full depth, batch {BATCH}"
#: Confidence from which on LightGlue's authors keep a match.
PUBLISHED_THRESHOLD = 0.1
#: Candidates drawn for each pair wanted, of which those with enough keypoints are taken first.
_SPARE = 3


@dataclass(frozen=True)
class Row:
    """One contestant on some threads; agreement with the reference's matches is None where it matches otherwise.

    Attributes:
        precision: share of its matches that are the reference's.
        recall, recall_of_sure: share found of the reference's matches, and of those above the published threshold.
    """

    name: str
    threads: int
    pairs_per_second: float
    precision: float | None
    recall: float | None
    recall_of_sure: float | None


@dataclass(frozen=True)
class AtKeypoints:
    """All rows at one number of keypoints; ``pairs_with_all_keypoints``: pairs that have so many on both sides."""

    pairs_with_all_keypoints: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class MatcherFigures(Figures):
    """Everything this measurement finds; ``share_of_a_list``: of the pairs of a list that LightGlue sees."""

    pairs: int
    share_of_a_list: float
    keypoints: dict[str, AtKeypoints]


def measure(context: Context) -> MatcherFigures:
    """Draw the pairs and let everybody match them."""
    options, lists = context.options, context.settings.shortlist
    pairs, true = choose_pairs(context, max(options.keypoints))
    # Of a list as long as lists get: a catalogue at least as large as list and expansion.
    longest = lists.longest(lists.size + lists.expansion)
    share = lists.rescored(longest) / longest
    found = {}
    for count in options.keypoints:
        context.say(f"{count} keypoints")
        found[str(count)] = at_keypoints(pairs, true, count, share, context)
    return MatcherFigures(len(true), share, found)


def choose_pairs(context: Context, keypoints: int) -> tuple[list[FeaturePair], npt.NDArray[np.bool_]]:
    """Draw pairs of like views, half of them true, those with enough keypoints first; return features and truth.

    Raises:
        CatalogError: nothing can be drawn.
    """
    half = context.options.pairs // 2
    drawn = [p for p in draw_pairs(context.catalog, _SPARE * half, context.seed) if "lateral" not in p.kind]
    rng = np.random.default_rng(context.seed)
    drawn = [drawn[i] for i in rng.permutation(len(drawn))]
    true = {p for p in drawn if p.kind in ("same encounter", "other encounter, same year", "other year")}
    halves = [[p for p in drawn if (p in true) == same][: _SPARE * half] for same in (True, False)]
    index = index_of([p for part in halves for p in part], context)
    enough = {item.image_id: item.n_keypoints >= keypoints for item in index.descriptions}
    chosen = []
    for part in halves:
        known = [p for p in part if p.image_id0 in enough and p.image_id1 in enough]
        chosen += sorted(known, key=lambda p: -(enough[p.image_id0] + enough[p.image_id1]))[:half]
    if not any(p in true for p in chosen) or all(p in true for p in chosen):
        raise CatalogError(
            f"{context.catalog.root}: too few labelled photographs to draw true pairs and impostors from"
        )
    describer = Describer(context.settings.describe, FeatureStore(context.store))
    views = {item.image_id: describer.local(item.key) for item in index.descriptions}
    return [(views[p.image_id0], views[p.image_id1]) for p in chosen], np.array([p in true for p in chosen])


def at_keypoints(
    pairs: list[FeaturePair], true: npt.NDArray[np.bool_], count: int, share: float, context: Context
) -> AtKeypoints:
    """Return the rows at one number of keypoints."""
    settings = context.settings.lightglue.replace(max_keypoints=count)
    reference = LightGlueMatcher("aliked", settings.replace(precision="float32")).match(pairs)
    every: Matches = [one.indices for one in reference]
    sure: Matches = [one.indices[one.confidence > PUBLISHED_THRESHOLD] for one in reference]
    field, rows = contestants(settings, share), []
    workers = context.options.workers or default_workers()
    for threads in sorted({1, workers}):
        speeds, matches = race(field, pairs, threads, context)
        for name in field:
            agreed: tuple[float | None, ...] = (None, None, None)  # other matches on purpose: their worth is mAP's
            if name not in (NEIGHBOURS, A_LIST):
                precision, recall = agreement(matches[name], every, true)
                agreed = (precision, recall, agreement(matches[name], sure, true)[1])
            rows.append(Row(name, threads, speeds[name], *agreed))
    full_pairs = sum(min(len(a), len(b)) >= count for a, b in pairs)
    return AtKeypoints(full_pairs, tuple(rows))


def contestants(settings: LightGlueSettings, share: float) -> dict[str, Contestant]:
    """Return all contestants; kornia's network gets the same weights and threshold."""
    exact = settings.replace(precision="float32")
    neighbours = MutualNNMatcher("aliked", MutualNNSettings(max_keypoints=settings.max_keypoints))
    shipped = LightGlueMatcher("aliked", settings)

    def a_list(pairs: Sequence[FeaturePair]) -> list[Correspondences]:
        """Match all pairs by nearest neighbours, and an even share of them, rounded up, by LightGlue."""
        found, number = neighbours.match(pairs), math.ceil(share * len(pairs))
        chosen = [place * len(pairs) // number for place in range(number)]
        for place, better in zip(chosen, shipped.match([pairs[place] for place in chosen]), strict=True):
            found[place] = better
        return found

    return {
        OURS: _ours(shipped.match, shipped),
        EXACT: _ours((fresh := LightGlueMatcher("aliked", exact)).match, fresh),
        NEIGHBOURS: _ours(neighbours.match, neighbours),
        A_LIST: _ours(a_list, shipped, neighbours),
        "kornia, full depth, batch 1": _kornia(settings, 1),
        BASE: _kornia(settings, BATCH),
    }


def _ours(match: Callable[[Sequence[FeaturePair]], Sequence[Correspondences]], *matchers: Any) -> Contestant:
    """Return a matcher of ours that knows nothing of the photographs beforehand."""

    def fresh(pairs: Sequence[FeaturePair]) -> Matches:
        for matcher in matchers:
            matcher.forget()
        return [found.indices for found in match(pairs)]

    return fresh


def _kornia(settings: LightGlueSettings, size: int) -> Contestant:
    """Return kornia's LightGlue, handed batches of pairs with equally many keypoints."""
    from kornia.feature import LightGlue

    network = LightGlue(
        None, input_dim=128, depth_confidence=-1, width_confidence=-1, filter_threshold=settings.threshold
    )
    state = torch.load(weight_file(LIGHTGLUE_WEIGHTS["aliked"][0]), map_location="cpu", weights_only=True)
    network.load_state_dict(normalise_state_dict(state), strict=False)
    network.eval()
    count = settings.max_keypoints

    def match(pairs: Sequence[FeaturePair]) -> Matches:
        results: Matches = [np.zeros((0, 2), int)] * len(pairs)
        for chosen in batches_of(pairs, count, size):
            sides = zip(*(pairs[place] for place in chosen), strict=True)
            with torch.inference_mode():
                found = network({f"image{n}": _side(views, count) for n, views in enumerate(sides)})
            for place, matches in zip(chosen, found["matches"], strict=True):
                results[place] = matches.numpy()
        return results

    return match


def batches_of(pairs: Sequence[FeaturePair], count: int, size: int) -> list[list[int]]:
    """Return the pairs' places in groups of at most ``size`` that have equally many keypoints on either side."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place, (first, second) in enumerate(pairs):
        if len(first) and len(second):
            groups.setdefault((min(len(first), count), min(len(second), count)), []).append(place)
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def _side(views: Sequence[LocalFeatures], count: int) -> dict[str, torch.Tensor]:
    return {
        "keypoints": torch.from_numpy(np.stack([view.canonical_xy[:count] for view in views])),
        "descriptors": torch.from_numpy(np.stack([np.array(view.descriptors[:count], np.float32) for view in views])),
        "image_size": torch.tensor([view.frame.canonical_size for view in views]),
    }


def race(
    field: dict[str, Contestant], pairs: Sequence[FeaturePair], threads: int, context: Context
) -> tuple[dict[str, float], dict[str, Matches]]:
    """Time all contestants in turn, several times, on so many threads.

    Returns:
        Pairs a second (the best round) and the matches (of the warm-up) by name.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        matches = {name: match(pairs) for name, match in field.items()}
        least = dict.fromkeys(field, np.inf)
        for number in range(context.options.rounds):
            context.say(f"round {number + 1} of {context.options.rounds} on {threads} thread{'s' * (threads > 1)}")
            for name, match in field.items():
                started = time.perf_counter()
                match(pairs)
                least[name] = min(least[name], time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return {name: len(pairs) / seconds for name, seconds in least.items()}, matches


def agreement(found: Matches, reference: Matches, chosen: npt.NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Return precision and recall of matches against a reference's, over all matches of the chosen pairs."""
    both = ours = theirs = 0
    for place in np.flatnonzero(chosen):
        first, second = ({tuple(row) for row in matches[place].tolist()} for matches in (found, reference))
        both, ours, theirs = both + len(first & second), ours + len(first), theirs + len(second)
    return both / ours if ours else None, both / theirs if theirs else None


def full(result: Result[MatcherFigures]) -> str:
    """Return one table for each number of keypoints."""
    figures, parts = result.figures, []
    heads = [
        "matcher",
        "threads",
        "pairs a second",
        "found of the reference's matches, true pairs",
        "of those above 0.1",
    ]
    heads.append("share of matches that are the reference's")
    for count, part in figures.keypoints.items():
        rows = []
        for row in part.rows:
            shares = ("–" if v is None else f"{v:.1%}" for v in (row.recall, row.recall_of_sure, row.precision))
            rows.append([row.name, str(row.threads), f"{row.pairs_per_second:.1f}", *shares])
        parts.append(f"{count} keypoints, {figures.pairs} pairs ({part.pairs_with_all_keypoints} with all keypoints)")
        parts.append(markdown.table(heads, rows))
    return "\n\n".join([*parts, f"Of a list, LightGlue sees {figures.share_of_a_list:.1%}. {result.cpu}."])


def short(result: Result[MatcherFigures]) -> str:
    """Return pairs a second beside kornia's LightGlue, on one thread."""
    figures = result.figures
    speeds = [
        {row.name: row.pairs_per_second for row in part.rows if row.threads == 1} for part in figures.keypoints.values()
    ]
    rows = [
        [name, *(f"{s[name]:.1f} ({s[name] / s[BASE]:.1f} x)" if name in s else "–" for s in speeds)]
        for name in speeds[0]
    ]
    heads = [
        "pairs a second on one thread (x kornia's batched)",
        *(f"{count} keypoints" for count in figures.keypoints),
    ]
    words = (
        f"{figures.pairs} pairs, the same photographs and weights for all. A list as shipped: nearest neighbours for "
        f"all of it, LightGlue for {figures.share_of_a_list:.1%}. {result.cpu}, float32."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--pairs", type=int, default=60, help="pairs, half of them true (60)")
    parser.add_argument("--keypoints", type=int, nargs="+", default=[512, 256], help="numbers of keypoints (512 256)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, the best counts (3)")


MEASUREMENT = Measurement(
    title="Speed of matching",
    figures=MatcherFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
)
