"""Geometric verification beside the estimators that a package registry offers: time and accuracy in one run.

``python -m bench.speed.verification [--pairs 10000] [--rounds 3] [--time-limit 20] [--output FILE]``

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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import config

from bench.machine import write_result
from engine.geometry.verification import VerificationSettings, verify_pairs
from engine.records import Verification

SIZE = (300, 900)
MATCHES = 200
SHARES = (0.2, 0.5, 0.8)
NOISE = 0.7
THRESHOLD = 3.0
CONFIDENCE = 0.999
PEER_DRAWS = 10_000
# Pairs by which a peer's speed is guessed before it is timed, and the fewest that it is timed on.
TRIAL_PAIRS, LEAST_PAIRS = 10, 20
TARGETS = {0.2: 4.0, 0.5: 8.0, 0.8: 8.0}

Array = npt.NDArray[Any]
Estimator = Callable[[Array, Array], tuple[Array | None, Array]]


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
    found: dict[str, Estimator] = {}
    absent: list[str] = []
    try:
        import cv2

        def opencv(method: int) -> Estimator:
            def estimate(a: Array, b: Array) -> tuple[Array | None, Array]:
                model, mask = cv2.findHomography(a, b, method, THRESHOLD, maxIters=PEER_DRAWS, confidence=CONFIDENCE)
                return model, mask.ravel().astype(bool)

            return estimate

        cv2.setNumThreads(1)
        for name in ("USAC_MAGSAC", "USAC_ACCURATE", "RANSAC"):
            found[f"opencv {name}"] = opencv(getattr(cv2, name))
    except ImportError:
        absent.append("opencv")
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
    """Return corner error in pixels, share of pairs below 5 px, inlier recall by mask and by model.

    Recall by mask counts the true correspondences that the estimator calls inliers (by its own error), recall by model
    those within the threshold of its model (forward error, the same ruler for everybody).
    """
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
    """Run `work` several times; return its last answer and microseconds per pair (median, least and most)."""
    spent, busy = [], []
    answer = None
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        answer = work()
        spent.append((time.perf_counter() - start) / pairs * 1e6)
        busy.append((time.process_time() - cpu) / pairs * 1e6)
    wall = {"median_us": float(np.median(spent)), "least_us": min(spent), "most_us": max(spent)}
    return answer, {**wall, "processor_us": min(busy)}


def one_by_one(estimate: Estimator, pairs: Pairs) -> list[tuple[Array | None, Array]]:
    """Run a peer on all pairs."""
    return [estimate(a, b) for a, b in zip(pairs.points0, pairs.points1, strict=True)]


def pairs_within(trial_us: float, count: int, limit: float) -> int:
    """Return how many of the pairs a peer is given.

    Args:
        trial_us: what a pair took it in a trial, in microseconds.
        count: the pairs that there are.
        limit: seconds for a round.
    """
    return min(count, max(LEAST_PAIRS, int(limit * 1e6 / trial_us)))


def measure(share: float, count: int, rounds: int, seed: int, limit: float) -> dict[str, dict[str, float]]:
    """Return the figures of every estimator at one share of inliers; `limit`: seconds for a round of a peer."""
    pairs = make_pairs(count, share, seed)
    figures: dict[str, dict[str, float]] = {}
    for threads in sorted({1, config.NUMBA_NUM_THREADS}):
        ours(pairs.first(64), threads)
        found, spent = timed(partial(ours, pairs, threads), count, rounds)
        models = [record.model if record.ok else None for record in found]
        figures[f"scarmatch, {threads} thread{'s' * (threads > 1)}"] = {
            **spent,
            **quality(pairs, models, [record.inliers for record in found]),
            "pairs": count,
        }
    for name, estimate in peers()[0].items():
        few = pairs.first(TRIAL_PAIRS)
        _, trial = timed(partial(one_by_one, estimate, few), len(few.models), 1)
        part = pairs.first(pairs_within(trial["median_us"], count, limit))
        answers, spent = timed(partial(one_by_one, estimate, part), len(part.models), rounds)
        masks = [mask for _, mask in answers]
        figures[name] = {**spent, **quality(part, [m for m, _ in answers], masks), "pairs": len(part.models)}
    return figures


def impostors(count: int, seed: int) -> dict[str, float]:
    """Return the time and the distribution of our inliers on pairs without any true correspondence."""
    pairs = make_pairs(count, 0.0, seed)
    found, spent = timed(lambda: ours(pairs, 1), count, 1)
    inliers = [record.n_inliers for record in found]
    names = {50: "median", 95: "p95", 99: "p99", 100: "most"}
    return {**spent, **{f"inliers_{name}": float(np.percentile(inliers, at)) for at, name in names.items()}}


def verdict(shares: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Compare one thread of ours with the peers: speed beside USAC_MAGSAC's, accuracy beside the best of them.

    Returns:
        For each share of inliers: times faster than USAC_MAGSAC (processor time and wall time) and what was aimed at;
        the best peer's and our share of pairs below 5 px, median corner error and recall by model.
    """
    found: dict[str, dict[str, Any]] = {}
    for share, rows in shares.items():
        us = rows["scarmatch, 1 thread"]
        others = {name: row for name, row in rows.items() if not name.startswith("scarmatch")}
        record: dict[str, Any] = {"target_times_magsac": TARGETS.get(float(share))}
        if "opencv USAC_MAGSAC" in others:
            for name, key in (("wall", "least_us"), ("processor", "processor_us")):
                record[f"times_magsac_{name}"] = others["opencv USAC_MAGSAC"][key] / us[key]
        better = {"share_below_5_px": max, "corner_error_median_px": min, "recall_by_model": max}
        for key, best in better.items():
            record[key] = {"ours": us[key], "best_peer": best([row[key] for row in others.values()], default=None)}
        found[share] = record
    return found


def verdict_lines(figures: dict[str, Any]) -> list[str]:
    """Return :func:`verdict` in words, a line for each share of inliers."""
    lines = []
    for share, record in figures["verdict"].items():
        faster = record.get("times_magsac_wall", math.nan)
        lines.append(
            f"{float(share):.0%}: {faster:.1f} times faster than USAC_MAGSAC (aim {record['target_times_magsac']}); "
            + "; ".join(
                f"{key} {record[key]['ours']:.3f}, best peer {record[key]['best_peer'] or math.nan:.3f}"
                for key in ("share_below_5_px", "corner_error_median_px", "recall_by_model")
            )
        )
    return lines


def render(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    heads = (
        "pairs",
        "us/pair",
        "least",
        "most",
        "cpu us",
        "corner px",
        "p95",
        "<5 px",
        "recall",
        "by model",
        "x time",
        "x cpu",
    )
    columns = ("median_us", "least_us", "most_us", "processor_us", "corner_error_median_px", "corner_error_p95_px",
               "share_below_5_px", "recall_by_mask", "recall_by_model")  # fmt: skip
    lines = []
    for share, rows in figures["shares"].items():
        lines.append(f"\n{float(share):.0%} inliers of {MATCHES} correspondences (x: times faster than USAC_MAGSAC)")
        lines.append(f"{'estimator':24s}" + "".join(f"{head:>10s}" for head in heads))
        base = rows.get("opencv USAC_MAGSAC", {})
        for name, row in rows.items():
            ratios = [base.get(key, math.nan) / row[key] for key in ("median_us", "processor_us")]
            numbers = [f"{row['pairs']:10d}"]
            numbers += [f"{row[key]:10.1f}" if key.endswith("us") else f"{row[key]:10.3f}" for key in columns]
            lines.append(f"{name:24s}" + "".join(numbers) + "".join(f"{ratio:10.2f}" for ratio in ratios))
    lines += verdict_lines(figures)
    lines.append(f"\nno true correspondence: {figures['impostors']}")
    if figures["absent"]:
        lines.append(f"not installed, left out: {', '.join(figures['absent'])}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="Time and accuracy of geometric verification beside its peers.")
    parser.add_argument("--pairs", type=int, default=10_000, help="pairs for each share of inliers")
    parser.add_argument("--rounds", type=int, default=3, help="timed repetitions (the median counts)")
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds for a round of a peer (20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the made-up pairs")
    parser.add_argument(
        "--output", type=Path, default=None, help="JSON file, by default bench/results/verification.json"
    )
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {"shares": {}, "absent": peers()[1], "targets_times_magsac": TARGETS}
    for share in SHARES:
        figures["shares"][str(share)] = measure(share, options.pairs, options.rounds, options.seed, options.time_limit)
    figures["impostors"] = impostors(options.pairs, options.seed)
    figures["verdict"] = verdict(figures["shares"])
    print(render(figures))
    versions = {}
    for name in ("poselib", "pydegensac", "opencv-python", "numba"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    protocol = {
        "size": SIZE,
        "matches": MATCHES,
        "noise_px": NOISE,
        "threshold_px": THRESHOLD,
        "pairs": options.pairs,
        "rounds": options.rounds,
        "time_limit_seconds": options.time_limit,
        "seed": options.seed,
        "peer_draws": PEER_DRAWS,
        "versions": versions,
    }
    settings = our_settings(1)
    written = write_result(
        "verification", figures, {**settings.to_dict(), "fingerprint": settings.fingerprint()}, protocol, options.output
    )
    print(f"\nwritten to {written}")


if __name__ == "__main__":
    main()
