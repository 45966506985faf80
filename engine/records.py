"""The records of a pair of photographs: correspondences and their geometric verification.

View 0 is the query, view 1 the candidate. The conventions for pixels and frames are those of :mod:`features.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.records import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Matched keypoints of one pair, best first; M may be 0.

    Attributes:
        indices: (M, 2) int32, indices into the keypoints of view 0 and view 1; no index occurs twice in a column.
        confidence: (M,) float32 in [0, 1], the matcher's confidence, not increasing.
        similarity: mean descriptor similarity or matchability of the pair as the matcher defines it (NaN if none).
    """

    indices: npt.NDArray[np.int32]
    confidence: FloatArray
    similarity: float = float("nan")

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def empty(cls) -> Correspondences:
        """Return the record of a pair without matches."""
        return cls(np.zeros((0, 2), np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class Verification:
    """How well the correspondences of a pair agree with one geometric model (head-up frames).

    Lengths are relative to the animal's size (the longer side of the canonical crop of view 0 or 1), so that
    photographs of different resolution compare.

    Attributes:
        ok: True if a model was found; otherwise every other field holds its neutral value.
        kind: "similarity", "affine", "homography" or "none".
        model: (3, 3) float64, maps canonical pixels of view 0 to canonical pixels of view 1 (identity if not ok).
        inliers: (M,) bool, over the correspondences given.
        n_inliers: number of inliers.
        inlier_ratio: inliers / correspondences after removing duplicates, 0 if none.
        confidence_sum: sum of the matcher's confidence over the inliers.
        residual: median symmetric transfer error of the inliers, relative to the animal's size (NaN if not ok).
        spread_along: standard deviation of the inliers along the body (canonical y of view 0) / animal's size.
        spread_across: the same across the body (canonical x).
        scale: isotropic scale 0 -> 1 relative to the ratio of the two crops' sizes (1 = same extent), NaN if not ok.
        rotation: rotation 0 -> 1 in degrees, in (-180, 180], NaN if not ok.
        shear: departure from a similarity: 1 - smaller / larger singular value of the linear part, NaN if not ok.
        position_gap: median |y0/H0 - y1/H1| of the inliers: disagreement of position along the body, NaN if not ok.
        mark_share: share of inliers whose keypoints lie in mark regions in both views.
        plausibility: in [0, 1], 1 where scale, rotation and shear fit two head-up crops of one animal.
        score: the estimator's own quality (truncated-residual score, larger is better), 0 if not ok.
    """

    ok: bool
    kind: str
    model: npt.NDArray[np.float64]
    inliers: BoolArray
    n_inliers: int
    inlier_ratio: float
    confidence_sum: float
    residual: float
    spread_along: float
    spread_across: float
    scale: float
    rotation: float
    shear: float
    position_gap: float
    mark_share: float
    plausibility: float
    score: float

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Verification:
        """Return the record with these values, which must name every field; the dictionary belongs to it from then on.

        Where thousands of pairs are verified, setting the fields of a frozen class one by one takes as long as finding
        the inliers does.
        """
        record = object.__new__(cls)
        object.__setattr__(record, "__dict__", fields)
        return record

    @classmethod
    def none(cls, n_correspondences: int) -> Verification:
        """Return the record that says "no model" for a pair with that many correspondences."""
        nan = float("nan")
        return cls(
            ok=False,
            kind="none",
            model=np.eye(3),
            inliers=np.zeros(n_correspondences, bool),
            n_inliers=0,
            inlier_ratio=0.0,
            confidence_sum=0.0,
            residual=nan,
            spread_along=0.0,
            spread_across=0.0,
            scale=nan,
            rotation=nan,
            shear=nan,
            position_gap=nan,
            mark_share=0.0,
            plausibility=0.0,
            score=0.0,
        )
