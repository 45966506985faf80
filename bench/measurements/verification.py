"""Geometric verification beside the estimators that a package registry offers: time and accuracy in one run.

The pairs are made up: two tall crops related by a similarity (scale within a factor of 1.35, rotation within 20
degrees) whose corners are then moved, so that the truth is a homography; both keypoints of a true correspondence are
noisy, the others lie anywhere. Confidence carries no information here, so ours gains nothing from its order. Everybody
gets the same arrays and the same threshold. Peers run one pair at a time on one thread, as they offer nothing else; a
peer that would take longer than the time limit for a round gets the first pairs only, and the table says how many.
10,000 pairs take about six minutes with three rounds and a limit of 20 seconds.

Time is given twice: as it passed (the median of the rounds) and as the processor spent it (the least of the rounds), of
which the latter still means something on a machine that others use too.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.geometry.verification import VerificationSettings, verify_pairs
from engine.records import Verification

SIZE, MATCHES, NOISE, THRESHOLD, CONFIDENCE = (300, 900), 200, 0.7, 3.0, 0.999
SHARES = (0.2, 0.5, 0.8)
PEER_DRAWS = 10_000
#: Pairs by which a peer's speed is guessed before it is timed, and the fewest that it is timed on.
TRIAL_PAIRS, LEAST_PAIRS = 10, 20
#: Share of inliers -> times faster than USAC_MAGSAC that is aimed at.
TARGETS = {0.2: 4.0, 0.5: 8.0, 0.8: 8.0}
MAGSAC, OURS = "opencv USAC_MAGSAC", "scarmatch, 1 thread"
#: What estimators are compared by: figure -> which end is better.
BETTER = {"share_below_5_px": max, "corner_error_median_px": min, "recall_by_model": max}

Array = npt.NDArray[Any]
Estimator = Callable[[Array, Array], tuple[Array | None, Array]]


@dataclass(frozen=True)
class EstimatorFigures:
    """Time a pair in microseconds, and how good the models are.

    Attributes:
        pairs: timed.
        median_us, least_us, most_us: wall time over the rounds; ``processor_us``: of the processor, the least.
        corner_error_median_px, corner_error_p95_px: mean distance of the crop's corners from where they belong.
        share_below_5_px: of pairs, by that error.
        recall_by_mask: true correspondences that the estimator calls inliers (by its own error).
        recall_by_model: those within the threshold of its model (forward error, the same ruler for everybody).
    """

    pairs: int
    median_us: float
    least_us: float
    most_us: float
    processor_us: float
    corner_error_median_px: float
    corner_error_p95_px: float
    share_below_5_px: float
    recall_by_mask: float
    recall_by_model: float


@dataclass(frozen=True)
class Impostors:
    """Our inliers on pairs without any true correspondence."""

    processor_us: float
    inliers_median: float
    inliers_p95: float
    inliers_p99: float
    inliers_most: float


@dataclass(frozen=True)
class VerificationFigures(Figures):
    """Everything this measurement finds; ``shares``: share of inliers -> estimator -> figures."""

    shares: dict[str, dict[str, EstimatorFigures]]
    impostors: Impostors
    absent: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Made-up pairs.

    Attributes:
        points0, points1: per pair (M, 2) float32 pixels.
        models: per pair (3, 3), the truth.
        true: per pair (M,) bool, which correspondences obey it.
    """

    points0: list[Array]
    points1: list[Array]
    models: list[Array]
    true: list[Array]

    def first(self, count: int) -> Pairs:
        """Return the first pairs."""
        return Pairs(self.points0[:count], self.points1[:count], self.models[:count], self.true[:count])


def transfer(model: Array, points: Array) -> Array:
    """Map (N, 2) points by a homography."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ model.T
    return mapped[:, :2] / mapped[:, 2:]


def corners() -> Array:
    """Return the (4, 2) corners of a crop."""
    width, height = SIZE
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)


def homography_of(source: Array, target: Array) -> Array:
    """Return the (3, 3) homography of four correspondences by solving the 8 linear equations."""
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.append(np.linalg.solve(np.array(rows), target.ravel()), 1.0).reshape(3, 3)


def make_pairs(count: int, share: float, seed: int) -> Pairs:
    """Make pairs with that share of inliers."""
    rng = np.random.default_rng([seed, round(1000 * share)])
    pairs = Pairs([], [], [], [])
    centre = corners().mean(0)
    for _ in range(count):
        angle, scale = math.radians(rng.uniform(-20, 20)), math.exp(rng.uniform(-0.3, 0.3))
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        moved = (corners() - centre) @ turn.T + centre + rng.uniform(-10, 10, 2)
        model = homography_of(corners(), moved + rng.uniform(-0.1, 0.1, (4, 2)) * SIZE[0])
        exact = rng.uniform(0, corners()[2], (MATCHES, 2))
        true = rng.permutation(MATCHES) < round(share * MATCHES)
        other = transfer(model, exact)
        other[~true] = rng.uniform(0, corners()[2], (int((~true).sum()), 2))
        pairs.points0.append((exact + rng.normal(0, NOISE, exact.shape)).astype(np.float32))
        pairs.points1.append((other + rng.normal(0, NOISE, other.shape)).astype(np.float32))
        pairs.models.append(model)
        pairs.true.append(true)
    return pairs


def peers() -> tuple[dict[str, Estimator], list[str]]:
    """Return the estimators that are installed, and the names of those that are not."""
    import cv2

    def opencv(method: int) -> Estimator:
        def estimate(a: Array, b: Array) -> tuple[Array | None, Array]:
            model, mask = cv2.findHomography(a, b, method, THRESHOLD, maxIters=PEER_DRAWS, confidence=CONFIDENCE)
            return model, mask.ravel().astype(bool)

        return estimate

    cv2.setNumThreads(1)
    names = ("USAC_MAGSAC", "USAC_ACCURATE", "RANSAC")
    found, absent = {f"opencv {name}": opencv(getattr(cv2, name)) for name in names}, []
    try:
        import poselib

        options = {"max_reproj_error": THRESHOLD, "success_prob": CONFIDENCE, "max_iterations": PEER_DRAWS}

        def with_poselib(a: Array, b: Array) -> tuple[Array | None, Array]:
            model, info = poselib.estimate_homography(a, b, options)
            return model, np.asarray(info["inliers"], bool)

        found["poselib"] = with_poselib
    except ImportError:
        absent.append("poselib")
    try:
        import pydegensac

        def with_pydegensac(a: Array, b: Array) -> tuple[Array | None, Array]:
            model, mask = pydegensac.findHomography(a, b, THRESHOLD, CONFIDENCE, PEER_DRAWS)
            return model, np.asarray(mask, bool)

        found["pydegensac"] = with_pydegensac
    except ImportError:
        absent.append("pydegensac")
    return found, absent


def our_settings(threads: int) -> VerificationSettings:
    """Return our options: the peers' threshold in pixels, everything else as shipped."""
    return VerificationSettings(threshold=0.0, threshold_px=THRESHOLD, confidence=CONFIDENCE, threads=threads)


def ours(pairs: Pairs, threads: int) -> list[Verification]:
    """Verify all pairs in one call."""
    count = len(pairs.models)
    confidence = [np.ones(MATCHES, np.float32)] * count
    sizes = np.tile(SIZE, (count, 1))
    keys = [("query", str(k)) for k in range(count)]
    return verify_pairs(pairs.points0, pairs.points1, confidence, sizes, sizes, keys, None, our_settings(threads))


def quality(pairs: Pairs, models: Sequence[Array | None], masks: Sequence[Array]) -> dict[str, float]:
    """Return the accuracy figures of :class:`EstimatorFigures`."""
    errors, recall, near = [], [], []
    for a, b, truth, true, model, mask in zip(
        pairs.points0, pairs.points1, pairs.models, pairs.true, models, masks, strict=True
    ):
        recall.append(float((mask & true).sum() / true.sum()))
        if model is None or not np.isfinite(model).all():
            errors.append(math.inf)
            near.append(0.0)
            continue
        errors.append(float(np.linalg.norm(transfer(model, corners()) - transfer(truth, corners()), axis=1).mean()))
        near.append(float((np.linalg.norm(transfer(model, a[true]) - b[true], axis=1) < THRESHOLD).mean()))
    return {
        "corner_error_median_px": float(np.median(errors)),
        "corner_error_p95_px": float(np.percentile(errors, 95, method="higher")),
        "share_below_5_px": float(np.mean(np.array(errors) < 5)),
        "recall_by_mask": float(np.mean(recall)),
        "recall_by_model": float(np.mean(near)),
    }


def timed(work: Callable[[], Any], pairs: int, rounds: int) -> tuple[Any, dict[str, float]]:
    """Run some work several times; return its last answer and microseconds per pair."""
    spent, busy, answer = [], [], None
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        answer = work()
        spent.append((time.perf_counter() - start) / pairs * 1e6)
        busy.append((time.process_time() - cpu) / pairs * 1e6)
    median = float(np.median(spent))
    return answer, {"median_us": median, "least_us": min(spent), "most_us": max(spent), "processor_us": min(busy)}


def one_by_one(estimate: Estimator, pairs: Pairs) -> list[tuple[Array | None, Array]]:
    """Run a peer on all pairs."""
    return [estimate(a, b) for a, b in zip(pairs.points0, pairs.points1, strict=True)]


def pairs_within(trial_us: float, count: int, limit: float) -> int:
    """Return how many of ``count`` pairs a peer is given that took so long a pair, with so many seconds for a round."""
    return min(count, max(LEAST_PAIRS, int(limit * 1e6 / trial_us)))


def at_share(share: float, count: int, rounds: int, seed: int, limit: float) -> dict[str, EstimatorFigures]:
    """Return the figures of every estimator at one share of inliers; ``limit``: seconds for a round of a peer."""
    from numba import config

    pairs = make_pairs(count, share, seed)
    figures = {}
    for threads in sorted({1, config.NUMBA_NUM_THREADS}):
        ours(pairs.first(64), threads)  # compiles
        found, spent = timed(partial(ours, pairs, threads), count, rounds)
        models = [record.model if record.ok else None for record in found]
        good = quality(pairs, models, [record.inliers for record in found])
        figures[f"scarmatch, {threads} thread{'s' * (threads > 1)}"] = EstimatorFigures(pairs=count, **spent, **good)
    for name, estimate in peers()[0].items():
        few = pairs.first(TRIAL_PAIRS)
        _, trial = timed(partial(one_by_one, estimate, few), len(few.models), 1)
        part = pairs.first(pairs_within(trial["median_us"], count, limit))
        answers, spent = timed(partial(one_by_one, estimate, part), len(part.models), rounds)
        good = quality(part, [model for model, _ in answers], [mask for _, mask in answers])
        figures[name] = EstimatorFigures(pairs=len(part.models), **spent, **good)
    return figures


def measure(context: Context) -> VerificationFigures:
    """Time everybody at every share of inliers, and ours on pairs without any."""
    options = context.options
    shares = {}
    for share in SHARES:
        context.say(f"{share:.0%} inliers")
        shares[str(share)] = at_share(share, options.pairs, options.rounds, context.seed, options.time_limit)
    impostors = make_pairs(options.pairs, 0.0, context.seed)
    found, spent = timed(lambda: ours(impostors, 1), options.pairs, 1)
    inliers = np.percentile([record.n_inliers for record in found], [50, 95, 99, 100]).tolist()
    context.more_settings["verification"] = our_settings(1).to_dict()
    context.more_settings["pairs"] = {"size": SIZE, "matches": MATCHES, "noise_px": NOISE, "peer_draws": PEER_DRAWS}
    context.more_settings["versions"] = {name: metadata.version(name) for name in _installed()}
    return VerificationFigures(shares, Impostors(spent["processor_us"], *inliers), tuple(peers()[1]))


def _installed() -> list[str]:
    known = {dist.metadata["Name"] for dist in metadata.distributions()}
    return [name for name in ("poselib", "pydegensac", "opencv-python", "numba") if name in known]


def full(result: Result[VerificationFigures]) -> str:
    """Return one table for each share of inliers."""
    parts = [short(result)]
    heads = ["estimator", "pairs", "µs a pair", "least", "most", "of the processor", "corner error, px", "95 %"]
    heads += ["below 5 px", "recall by mask", "by model", "x USAC_MAGSAC's speed", "of the processor"]
    for share, rows in result.figures.shares.items():
        cells, base = [], rows.get(MAGSAC)
        for name, r in rows.items():
            times = [f"{v:.1f}" for v in (r.median_us, r.least_us, r.most_us, r.processor_us)]
            errors = [f"{v:.3f}" for v in (r.corner_error_median_px, r.corner_error_p95_px)]
            shares = [f"{v:.3f}" for v in (r.share_below_5_px, r.recall_by_mask, r.recall_by_model)]
            faster = [base.median_us / r.median_us, base.processor_us / r.processor_us] if base else [math.nan] * 2
            cells.append([name, f"{r.pairs:,}", *times, *errors, *shares, *(f"{v:.2f}" for v in faster)])
        parts += [f"{float(share):.0%} inliers of {MATCHES} correspondences", markdown.table(heads, cells)]
    i = result.figures.impostors
    parts.append(
        f"No true correspondence: {i.inliers_median:.0f} inliers (median), {i.inliers_p95:.0f} (95 %), "
        f"{i.inliers_p99:.0f} (99 %), {i.inliers_most:.0f} (most); {i.processor_us:.1f} µs of the processor."
    )
    if result.figures.absent:
        parts.append(f"Not installed, left out: {', '.join(result.figures.absent)}.")
    return "\n\n".join(parts)


def short(result: Result[VerificationFigures]) -> str:
    """Say how one thread of ours compares: speed beside USAC_MAGSAC's, accuracy beside the best peer's."""
    lines = []
    for share, rows in result.figures.shares.items():
        us, others = rows[OURS], [row for name, row in rows.items() if not name.startswith("scarmatch")]
        faster = rows[MAGSAC].least_us / us.least_us if MAGSAC in rows else math.nan
        words = f"* {float(share):.0%}: {faster:.1f} times faster than USAC_MAGSAC (aim {TARGETS[float(share)]})"
        for name, best in BETTER.items():
            peer = best((getattr(row, name) for row in others), default=math.nan)
            words += f"; {name} {getattr(us, name):.3f}, best peer {peer:.3f}"
        lines.append(words)
    return "\n".join(lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--pairs", type=int, default=10_000, help="pairs for each share of inliers (10000)")
    parser.add_argument("--rounds", type=int, default=3, help="timed repetitions, the median counts (3)")
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds for a round of a peer (20)")


MEASUREMENT = Measurement(
    title="Geometric verification",
    figures=VerificationFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
    catalog=False,
)
