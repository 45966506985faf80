"""Geometric verification: from the correspondences of many pairs to one consistency record per pair.

Everything happens in the canonical (head-up) frames, so that a true pair shows about the same scale, little rotation
and little shear; :mod:`engine.geometry.batch` does the estimation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.geometry.batch import estimate_batch
from engine.geometry.limits import KIND_NAMES, Limits
from engine.geometry.verified_pairs import VerifiedPairs
from engine.records import Correspondences, Verification
from features.records import FloatArray, LocalFeatures
from scarmatch.settings import Settings, SettingsError


@dataclass(frozen=True)
class VerificationSettings(Settings):
    """Options of the geometric verification.

    Attributes:
        kinds: the kinds of model to choose from.
        threshold: largest symmetric transfer error of an inlier, relative to the animal's size (the longer side).
        threshold_px: the same in pixels of the smaller crop; the larger of the two bounds holds.
        max_scale: largest change of scale either way, relative to the ratio of the crops' sizes.
        max_rotation: largest rotation in degrees, either way.
        max_shear: largest shear, 1 - smaller / larger singular value of the linear part.
        max_perspective: largest ratio of projective depths within the frame of view 0.
        confidence: wanted chance that no better model was missed (the stopping rule).
        least_share: share of inliers that the search must not miss (with that confidence); fewer are found by luck.
        max_draws: cap on the samples drawn for each sample size (2, 3 and 4 points).
        min_draws: least number of samples of two points.
        min_inliers: fewest inliers of a model, at least 4 (a richer kind needs two more than its minimal sample).
        duplicate_radius: keypoints of one photograph closer than this many pixels are one keypoint.
        mark_level: strength from which on a keypoint counts as lying in a mark region.
        plausible_scale: change of scale (factor, above 1) at which plausibility has fallen by exp(-1/2).
        plausible_rotation: rotation in degrees at which it has.
        plausible_shear: shear at which it has.
        threads: threads of one call, 0 = NUMBA_NUM_THREADS or the number of cores; the answer does not depend on it.
        seed: together with a pair's two ids, the seed of that pair's random numbers.
    """

    kinds: tuple[str, ...] = KIND_NAMES
    threshold: float = 0.01
    threshold_px: float = 2.0
    max_scale: float = 2.5
    max_rotation: float = 35.0
    max_shear: float = 0.5
    max_perspective: float = 3.0
    confidence: float = 0.999
    least_share: float = 0.15
    max_draws: int = 5000
    min_draws: int = 20
    min_inliers: int = 4
    duplicate_radius: float = 0.5
    mark_level: float = 0.5
    plausible_scale: float = 1.5
    plausible_rotation: float = 20.0
    plausible_shear: float = 0.25
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            SettingsError: an option lies outside its range.
        """
        object.__setattr__(self, "kinds", tuple(self.kinds))
        checks = {
            "kinds": bool(self.kinds) and set(self.kinds) <= set(KIND_NAMES),
            "threshold": self.threshold >= 0 and self.threshold + self.threshold_px > 0,
            "threshold_px": self.threshold_px >= 0,
            "max_scale": self.max_scale > 1,
            "max_rotation": 0 < self.max_rotation <= 180,
            "max_shear": 0 <= self.max_shear < 1,
            "max_perspective": self.max_perspective >= 1,
            "confidence": 0 < self.confidence < 1,
            "least_share": 0 < self.least_share < 1,
            "max_draws": self.max_draws >= 1,
            "min_draws": 0 <= self.min_draws <= self.max_draws,
            "min_inliers": self.min_inliers >= 4,
            "duplicate_radius": self.duplicate_radius >= 0,
            "plausible_scale": self.plausible_scale > 1,
            "plausible_rotation": self.plausible_rotation > 0,
            "plausible_shear": self.plausible_shear > 0,
            "threads": self.threads >= 0,
        }
        for name, fine in checks.items():
            if not fine:
                raise SettingsError(f"VerificationSettings: {name} = {getattr(self, name)!r} is out of range")


def _seed_bytes(seed: int, query_id: str, candidate_id: str) -> bytes:
    """Return the 8 bytes of :func:`pair_seed`, the lowest first."""
    text = f"{seed}\x00{query_id}\x00{candidate_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).digest()


def pair_seed(seed: int, query_id: str, candidate_id: str) -> int:
    """Return 64 bits that depend on the seed and the two ids alone (the same in every process and on every machine)."""
    return int.from_bytes(_seed_bytes(seed, query_id, candidate_id), "little")


def plausibility(scale: float, rotation: float, shear: float, settings: VerificationSettings) -> float:
    """Return how well a model fits two head-up crops of one animal, in [0, 1].

    exp(-(ln(scale) / ln(s))^2 / 2) * exp(-(rotation / r)^2 / 2) * exp(-(shear / h)^2 / 2) with s, r and h the settings
    plausible_scale, plausible_rotation and plausible_shear.

    Args:
        scale: relative to the ratio of the crops' sizes, positive.
        rotation: degrees.
        shear: in [0, 1].
    """
    misfit = (math.log(scale) / math.log(settings.plausible_scale)) ** 2
    misfit += (rotation / settings.plausible_rotation) ** 2 + (shear / settings.plausible_shear) ** 2
    return math.exp(-0.5 * misfit)


def transfer(model: npt.NDArray[np.float64], xy: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Map (N, 2) canonical pixels of view 0 to view 1 by a (3, 3) model; infinite where it maps them to nowhere."""
    homogeneous = np.column_stack([xy, np.ones(len(xy))]) @ model.T
    depth = homogeneous[:, 2:]
    fine = np.abs(depth) > 1e-9
    return np.where(fine, homogeneous[:, :2] / np.where(fine, depth, 1.0), np.inf)


def limits_of(settings: VerificationSettings) -> Limits:
    """Return the settings as the kernels take them."""
    rotation = math.radians(settings.max_rotation)
    ratio = 1.0 - settings.max_shear
    # A shear with singular values 1 and r turns a direction by at most atan((1 - r) / (2 sqrt(r))).
    angles = (rotation, rotation + math.atan((1.0 - ratio) / (2.0 * math.sqrt(ratio))))
    tangents = [math.tan(angle) if angle < math.radians(89.9) else 0.0 for angle in angles]
    return Limits(
        max_scale=float(settings.max_scale),
        max_rotation=rotation,
        max_shear=float(settings.max_shear),
        max_perspective=float(settings.max_perspective),
        max_tangent_similarity=tangents[0],
        max_tangent=tangents[1],
        threshold=float(settings.threshold),
        threshold_px=float(settings.threshold_px),
        duplicate_radius=float(settings.duplicate_radius),
        mark_level=float(settings.mark_level),
        confidence=float(settings.confidence),
        least_share=float(settings.least_share),
        max_draws=settings.max_draws,
        min_draws=settings.min_draws,
        min_inliers=settings.min_inliers,
        kinds=sum(1 << KIND_NAMES.index(kind) for kind in set(settings.kinds)),
    )


def _flat(parts: Sequence[npt.ArrayLike], columns: int) -> FloatArray:
    """Concatenate arrays of one row per correspondence into one contiguous float32 array."""
    shape = (-1, columns) if columns > 1 else (-1,)
    if not len(parts):
        return np.zeros((0, columns) if columns > 1 else 0, np.float32)
    if all(isinstance(part, np.ndarray) and part.ndim == len(shape) and part.dtype == np.float32 for part in parts):
        return np.ascontiguousarray(np.concatenate(parts))
    return np.concatenate([np.asarray(part, np.float32).reshape(shape) for part in parts])


def verify_list(
    points0: FloatArray,
    points1: FloatArray,
    confidence: FloatArray,
    marks: FloatArray,
    offsets: npt.NDArray[np.int64],
    sizes0: npt.ArrayLike,
    sizes1: npt.ArrayLike,
    keys: Sequence[tuple[str, str]],
    settings: VerificationSettings,
) -> VerifiedPairs:
    """Verify P pairs whose correspondences lie one pair after the other; poor data give "no model", never an error.

    Args:
        points0, points1: (M, 2) float32 canonical pixels, each pair's best first.
        confidence: (M,) float32 in [0, 1].
        marks: (M,) float32, the lesser of the mark strengths under both keypoints.
        offsets: (P + 1,) int64, pair k owns the correspondences ``offsets[k]`` to ``offsets[k + 1]``.
        sizes0, sizes1: (P, 2) canonical (width, height) in pixels.
        keys: for each pair (query id, candidate id); with the settings' seed they decide its random numbers.
        settings: options.
    """
    frames = np.hstack([np.asarray(sizes, np.float64).reshape(len(keys), 2) for sizes in (sizes0, sizes1)])
    kinds, models, inliers, statistics = estimate_batch(
        points0,
        points1,
        confidence,
        marks,
        offsets,
        np.maximum(np.nan_to_num(frames, nan=1.0), 1.0),
        np.frombuffer(b"".join([_seed_bytes(settings.seed, *key) for key in keys]), "<u8").astype(np.uint64),
        limits_of(settings),
        settings.threads,
    )
    fits = np.zeros(len(keys))
    for pair in np.flatnonzero(kinds >= 0).tolist():
        scale, rotation, shear = (float(statistics[name][pair]) for name in ("scale", "rotation", "shear"))
        fits[pair] = plausibility(scale, rotation, shear, settings)
    return VerifiedPairs.of_statistics(kinds, models, inliers, statistics, offsets, fits)


def verify_pairs(
    points0: Sequence[FloatArray],
    points1: Sequence[FloatArray],
    confidence: Sequence[FloatArray],
    sizes0: npt.ArrayLike,
    sizes1: npt.ArrayLike,
    keys: Sequence[tuple[str, str]],
    marks: Sequence[FloatArray] | None = None,
    settings: VerificationSettings | None = None,
) -> list[Verification]:
    """Verify P pairs; poor data give "no model", never an error.

    Args:
        points0, points1: for each pair (M, 2) float32 canonical pixels, best first (M may be 0 and may differ).
        confidence: for each pair (M,) float32 in [0, 1].
        sizes0, sizes1: (P, 2) canonical (width, height) in pixels.
        keys: for each pair (query id, candidate id); with the settings' seed they decide its random numbers.
        marks: for each pair (M,) float32, the lesser of the mark strengths under both keypoints; without it mark_share
            is 0.
        settings: options, by default :class:`VerificationSettings`.

    Returns:
        One record per pair, in the order given.

    Raises:
        ValueError: the sequences or the arrays of a pair differ in length.
    """
    lengths = [len(part) for part in points0]
    for name, parts in (("points1", points1), ("confidence", confidence), ("marks", marks)):
        if parts is not None and [len(part) for part in parts] != lengths:
            raise ValueError(f"{name} does not have as many correspondences as points0 for every pair")
    if len(keys) != len(lengths):
        raise ValueError(f"{len(keys)} keys for {len(lengths)} pairs")
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    return verify_list(
        _flat(points0, 2),
        _flat(points1, 2),
        _flat(confidence, 1),
        np.zeros(offsets[-1], np.float32) if marks is None else _flat(marks, 1),
        offsets,
        sizes0,
        sizes1,
        keys,
        settings or VerificationSettings(),
    ).records()


def verify_many(
    pairs: Sequence[tuple[LocalFeatures, LocalFeatures, Correspondences, tuple[str, str]]],
    settings: VerificationSettings | None = None,
) -> list[Verification]:
    """Verify pairs given as (features of view 0, features of view 1, correspondences, (query id, candidate id))."""
    points0, points1, marks = [], [], []
    for features0, features1, matches, _ in pairs:
        first, second = matches.indices[:, 0], matches.indices[:, 1]
        points0.append(features0.frame.to_canonical(features0.xy[first]))
        points1.append(features1.frame.to_canonical(features1.xy[second]))
        marks.append(np.minimum(features0.marks[first], features1.marks[second]))
    return verify_pairs(
        points0,
        points1,
        [matches.confidence for _, _, matches, _ in pairs],
        [features.frame.canonical_size for features, _, _, _ in pairs],
        [features.frame.canonical_size for _, features, _, _ in pairs],
        [key for _, _, _, key in pairs],
        marks,
        settings,
    )


def verify(
    features0: LocalFeatures,
    features1: LocalFeatures,
    correspondences: Correspondences,
    key: tuple[str, str],
    settings: VerificationSettings | None = None,
) -> Verification:
    """Verify one pair; the same record as that pair gets within any batch."""
    return verify_many([(features0, features1, correspondences, key)], settings)[0]
