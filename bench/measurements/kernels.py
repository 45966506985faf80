"""The compiled matching beside its peers in one run, on one core: pairs a second, as the processor spends its time.

Photographs are made up: unit descriptors of 128 numbers (of 64 for skin) at places of a crop; a third of a candidate's
are noisy copies of the query's, moved along with it. All get the same arrays. "Scores" are those of the exhaustive
search (descriptors of seven bits and a sign, mutual neighbours and ratio), "matches" those of a list to the last bit of
single precision, "verified" adds both verifications and every measurement of keypoints. "Whole matrix" is how this
engine matched before: a matrix product, passes over it, and records for every pair. Peers take one pair a call, as they
offer nothing else. The products alone, which find nothing, and a large product, which stands for what the processor can
do at most, tell how much is left to gain.

A contestant's time is the least of the rounds, in seconds of the processor: a machine that others use too is no matter.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.peers.whole_matrix import matrix_neighbours
from bench.results import Result
from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching.base import best_first
from engine.matching.block_correlation import correlations, prepared
from engine.matching.dense import PreparedSkin, SkinMatcher, skin_verification
from engine.matching.exhaustive import DescriptorTable, exact_kind, mutual_nn_scores, quantise
from engine.matching.matched import AlignedSkin, MatchedList, MatchedPair
from engine.matching.measurements import MUTUAL_NN, SKIN
from engine.matching.measurements import measure as measure_list
from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings, PreparedKeypoints
from engine.workers import single_thread
from features.records import FloatArray, Frame, LocalFeatures
from features.skin.descriptors import KIND
from features.skin.picture import SIZE as PICTURE

KEYPOINTS, SKIN_PLACES = (256, 512), 800
SCORES, MATCHES, BEFORE = "scarmatch, scores", "scarmatch, matches", "whole matrix, matches"
VERIFIED, VERIFIED_BEFORE = "scarmatch, verified", "whole matrix, verified"
PRODUCT, BYTES = "float32 product alone", "byte product alone"
OF_SKIN = f"scarmatch, skin of {SKIN_PLACES} places, verified"
CORRELATED = "scarmatch, a placement borne out by the skin"
#: Side of the large product that stands for the processor's peak.
_LARGE = 1024

Contestant = Callable[[], object]


@dataclass(frozen=True)
class KernelFigures(Figures):
    """Pairs a second of one core's time.

    Attributes:
        keypoints: by number of keypoints and contestant.
        skin: pairs of skin matched, verified and measured.
        correlated: placements borne out, or not, by the correlation of two skins.
        gigaflops: float32 operations a second of a large product, in thousand millions.
        kind: of the exhaustive search's product on this processor.
        absent: who was left out, and why.
    """

    keypoints: dict[str, dict[str, float]]
    skin: float
    correlated: float
    gigaflops: float
    kind: str
    absent: tuple[str, ...]


def photograph(
    rng: np.random.Generator, count: int, numbers: int, kind: str, like: LocalFeatures | None
) -> LocalFeatures:
    """Make up a photograph; a third of its places are another one's, a little moved and differently described."""
    size = (200, 600)
    xy = (rng.random((count, 2)) * (np.array(size) - 1)).astype(np.float32)
    descriptors = rng.standard_normal((count, numbers)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    if like is not None:
        shared = count // 3
        moved = like.xy[:shared] + rng.normal((4, -6), 1.0, (shared, 2))
        xy[:shared] = moved.astype(np.float32)
        descriptors[:shared] = like.descriptors[:shared] + np.float32(0.5) * descriptors[:shared]
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    ones = np.ones(count, np.float32)
    return LocalFeatures(xy, ones, descriptors, ones, ones, Frame(size), kind)


def made_list(seed: int, pairs: int, count: int, numbers: int, kind: str) -> tuple[LocalFeatures, list[LocalFeatures]]:
    """Return a query and its candidates, half of which show it."""
    rng = np.random.default_rng(seed)
    query = photograph(rng, count, numbers, kind, None)
    return query, [photograph(rng, count, numbers, kind, query if k % 2 else None) for k in range(pairs)]


def measure(context: Context) -> KernelFigures:
    """Let everybody match, in turn."""
    options, keypoints, absent = context.options, {}, peers_absent()
    with single_thread():
        for count in KEYPOINTS:
            context.say(f"{count} keypoints")
            field = contestants(context.seed, options.pairs, count)
            seconds = race(field, options.rounds)
            keypoints[str(count)] = {name: options.pairs / spent for name, spent in seconds.items()}
        context.say("skin")
        skin = race({OF_SKIN: skin_contestant(context.seed, options.pairs)}, options.rounds)[OF_SKIN]
        correlated = race({CORRELATED: correlation_contestant(context.seed, options.pairs)}, options.rounds)[CORRELATED]
        square = torch.ones(_LARGE, _LARGE)
        large = race({"large": lambda: torch.mm(square, square)}, options.rounds)["large"]
    return KernelFigures(
        keypoints=keypoints,
        skin=options.pairs / skin,
        correlated=options.pairs / correlated,
        gigaflops=2 * _LARGE**3 / large / 1e9,
        kind=exact_kind(),
        absent=absent,
    )


def race(field: dict[str, Contestant], rounds: int) -> dict[str, float]:
    """Return each contestant's seconds of the processor, the least of so many rounds, after one that warms up."""
    for run in field.values():
        run()
    least = dict.fromkeys(field, math.inf)
    for _ in range(rounds):
        for name, run in field.items():
            started = time.process_time()
            run()
            least[name] = min(least[name], time.process_time() - started)
    return least


def contestants(seed: int, pairs: int, count: int) -> dict[str, Contestant]:
    """Return all who match keypoints, each of whom matches all pairs in one call."""
    query, candidates = made_list(seed, pairs, count, 128, "aliked")
    matcher = MutualNNMatcher("aliked", MutualNNSettings(metric="none", max_keypoints=count))
    own, others = matcher.prepare(query), [matcher.prepare(one) for one in candidates]
    codes, table = quantise(own.descriptors), DescriptorTable.of([quantise(one.descriptors) for one in others])
    first, seconds = own.descriptors, [one.descriptors for one in others]
    field: dict[str, Contestant] = {
        SCORES: lambda: mutual_nn_scores(codes, table),
        MATCHES: lambda: matcher.match_list(own, others),
        BEFORE: lambda: [matrix_neighbours(first, one) for one in seconds],
        VERIFIED: lambda: verified(matcher, own, others),
        VERIFIED_BEFORE: lambda: verified_before(matcher, query, candidates),
        PRODUCT: lambda: [torch.mm(torch.from_numpy(first), torch.from_numpy(one).T) for one in seconds],
    }
    if exact_kind() == "int8":
        rows = torch.from_numpy(codes)
        bounds = table.offsets.tolist()
        parts = [torch.from_numpy(table.codes[a:b]).T for a, b in pairwise(bounds)]
        field[BYTES] = lambda: [torch._int_mm(rows, part) for part in parts]
    return field | peer_contestants(first, seconds)


def peer_contestants(first: FloatArray, seconds: Sequence[FloatArray]) -> dict[str, Contestant]:
    """Return the peers that are installed."""
    brute = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)
    field: dict[str, Contestant] = {
        "OpenCV BFMatcher, cross-check": lambda: [brute.match(first, one) for one in seconds]
    }
    if _installed("kornia"):
        from kornia.feature import match_mnn, match_smnn

        tensors = torch.from_numpy(first), [torch.from_numpy(one) for one in seconds]
        field["kornia match_mnn"] = lambda: [match_mnn(tensors[0], one) for one in tensors[1]]
        field["kornia match_smnn"] = lambda: [match_smnn(tensors[0], one, 0.9) for one in tensors[1]]
    if _installed("faiss-cpu"):
        faiss: Any = import_module("faiss")
        faiss.omp_set_num_threads(1)

        def flat() -> None:
            own = faiss.IndexFlatIP(first.shape[1])
            own.add(first)
            for one in seconds:
                index = faiss.IndexFlatIP(one.shape[1])
                index.add(one)
                index.search(first, 2)
                own.search(one, 2)

        field["faiss IndexFlatIP, two nearest both ways"] = flat
    return field


def peers_absent() -> tuple[str, ...]:
    """Say who is left out, and why."""
    missing = [f"{name}: not installed" for name in ("kornia", "faiss-cpu") if not _installed(name)]
    return (*missing, *([f"{BYTES}: no byte instructions"] if exact_kind() != "int8" else []))


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def verified(matcher: MutualNNMatcher, query: PreparedKeypoints, candidates: Sequence[PreparedKeypoints]) -> Any:
    """Match, verify and measure a list as the engine does."""
    settings, keys = VerificationSettings(threads=1), [("q", str(k)) for k in range(len(candidates))]
    tentative = matcher.match_list(query, candidates)
    few = tentative.where(matcher.distinctive(tentative.confidence))
    every, distinctive = (MatchedList.of_list(part, part.verify(keys, settings)) for part in (tentative, few))
    return measure_list(MUTUAL_NN, replace(every, distinctive=distinctive))


def verified_before(matcher: MutualNNMatcher, query: LocalFeatures, candidates: Sequence[LocalFeatures]) -> Any:
    """Match, verify and measure a list pair by pair, from whole matrices."""
    settings, found = VerificationSettings(threads=1), []
    for other in candidates:
        indices, cosine, ratio = matrix_neighbours(query.descriptors, other.descriptors)
        found.append(best_first(indices, np.clip(1 - ratio, 0, 1), float(cosine.mean())))
    parts = []
    for matches in (found, [matcher.passes_ratio_test(one) for one in found]):
        asked = [(query, b, m, ("q", str(k))) for k, (b, m) in enumerate(zip(candidates, matches, strict=True))]
        checked = verify_many(asked, settings)
        parts.append([MatchedPair(query, b, m, v) for b, m, v in zip(candidates, matches, checked, strict=True)])
    return measure_list(MUTUAL_NN, replace(MatchedList.of(parts[0]), distinctive=MatchedList.of(parts[1])))


def skin_contestant(seed: int, pairs: int) -> Contestant:
    """Return the matching, verification and measuring of a list by its skin."""
    query, candidates = made_list(seed, pairs, SKIN_PLACES, 64, KIND)
    own, others = PreparedSkin.of(query), [PreparedSkin.of(one) for one in candidates]
    matcher, settings = SkinMatcher(), skin_verification().replace(threads=1)
    keys = [("q", str(k)) for k in range(pairs)]

    def run() -> Any:
        tentative = matcher.match_list(own, others)
        checked = tentative.verify(keys, settings)
        aligned = [
            matcher.aligned_prepared(own, one, model) if found else AlignedSkin()
            for one, model, found in zip(others, checked.models, checked.found, strict=True)
        ]
        return measure_list(SKIN, replace(MatchedList.of_list(tentative, checked), aligned=aligned))

    return run


def correlation_contestant(seed: int, pairs: int) -> Contestant:
    """Return the correlation of a query's skin with its candidates'; bodies fill half of their pictures."""
    rng, (width, height) = np.random.default_rng(seed), PICTURE
    y, x = np.mgrid[:height, :width]
    body = ((2 * x / width - 1) / 0.83) ** 2 + ((2 * y / height - 1) / 0.83) ** 2 < 1
    levels = [rng.integers(1, 256, (height, width, 3)) * body[:, :, None] for _ in range(pairs)]
    skins = [prepared(np.asarray(one, np.uint8)) for one in levels]
    models = np.tile(np.eye(3), (pairs, 1, 1))
    models[:, :2, 2] = rng.normal(0, 4, (pairs, 2))
    return lambda: correlations(skins[0], skins, models, np.ones(pairs, bool), PICTURE, [PICTURE] * pairs)


def full(result: Result[KernelFigures]) -> str:
    """Return pairs a second of everybody, beside the whole matrix, and the share of the processor's peak."""
    figures, rows = result.figures, []
    names = list(next(iter(figures.keypoints.values())))
    for name in names:
        base = VERIFIED_BEFORE if name in (VERIFIED, VERIFIED_BEFORE) else BEFORE
        cells = []
        for count, speeds in figures.keypoints.items():
            share = speeds[name] * 2 * 128 * int(count) ** 2 / 1e9 / figures.gigaflops
            cells += [f"{speeds[name]:,.0f}", f"{speeds[name] / speeds[base]:.2f} x", f"{share:.0%}"]
        rows.append([name, *cells])
    heads = ["one core"]
    for count in figures.keypoints:
        heads += [f"{count} keypoints, pairs a second", "x whole matrix", "of a large product's rate"]
    words = (
        f"{OF_SKIN}: {figures.skin:,.0f} pairs a second; {CORRELATED}: {figures.correlated:,.0f}. "
        f"A large float32 product: {figures.gigaflops:.0f} GFLOP/s. "
        f"Exhaustive scores by {figures.kind}. {result.cpu}."
    )
    absent = f"Left out: {'; '.join(figures.absent)}." if figures.absent else ""
    return "\n\n".join(part for part in (markdown.table(heads, rows), words, absent) if part)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--pairs", type=int, default=100, help="pairs of a list (100)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, the best counts (5)")


MEASUREMENT = Measurement(
    title="Speed of the matching kernels",
    figures=KernelFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    catalog=False,
)
