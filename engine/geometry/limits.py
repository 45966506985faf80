"""The options of the estimator as its kernels take them."""

from __future__ import annotations

from typing import NamedTuple

from scarmatch.vocabulary import MODEL_KINDS

#: Kinds of model, the simplest first; a kind has 4 + 2 * kind parameters and its minimal sample kind + 2 points.
KIND_NAMES = MODEL_KINDS[1:]
SIMILARITY, AFFINE, HOMOGRAPHY = range(3)


class Limits(NamedTuple):
    """What a model must keep to and how long it is looked for; numba passes named tuples as they are.

    The meanings are those of :class:`engine.geometry.verification.VerificationSettings`. Fields must have the types
    given here (a whole number where a float belongs would compile all kernels again).

    Attributes:
        max_scale, max_rotation, max_shear, max_perspective: the prior; the rotation in radians.
        max_tangent_similarity, max_tangent: tangent of the largest angle between a segment and its image, for a
            similarity and for a richer model; 0 stands for no bound (angles of 90 degrees and more).
        threshold, threshold_px: largest error of an inlier, relative to the animal's size and in pixels.
        duplicate_radius: pixels.
        mark_level: strength from which on a keypoint lies in a mark region.
        confidence, least_share, max_draws, min_draws: the stopping rule.
        min_inliers: fewest inliers of a model.
        kinds: set of bits, 1 << kind for each kind allowed.
    """

    max_scale: float
    max_rotation: float
    max_shear: float
    max_perspective: float
    max_tangent_similarity: float
    max_tangent: float
    threshold: float
    threshold_px: float
    duplicate_radius: float
    mark_level: float
    confidence: float
    least_share: float
    max_draws: int
    min_draws: int
    min_inliers: int
    kinds: int
