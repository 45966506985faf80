"""The animal's own coordinates: how far along the visible body, and how far across, from the ridge to either side.

A body that lies crooked in its crop, bends, or shows only its front half is described by its mid-line and its two
sides. A place then has two numbers that do not depend on the crop: ``along``, 0 at the head end of the visible body and
1 at its tail end, measured on the mid-line; and ``across``, -1 on the left outline of the animal, 0 on the mid-line and
1 on the right outline. A lateral view shows one flank only: its upper edge is the ridge (0) and its lower edge -1 on a
left flank, 1 on a right one, so that the upper half of a flank has about the numbers that a view from above gives it.

Rows of the head-up picture stay rows: the mid-line says how far each is shifted. For the slight bends of a body at
the surface this is within a few pixels of the perpendicular map, and it can be inverted exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from features.records import FloatArray, Frame, Regions

Values = npt.NDArray[np.float64]

CODE_VERSION = 1
"""Part of the fingerprint; raised whenever the same regions would give other coordinates."""

ROWS = 33
"""Rows at which the sides of a body are kept."""


@dataclass(frozen=True, eq=False)
class BodyFrame:
    """Mid-line and sides of one body in canonical (head-up) pixels.

    Attributes:
        rows: (K,) y from head end to tail end, increasing, K of at least 2.
        left, right: (K,) x of the two sides in those rows, right > left.
        flank: 0 seen from above, -1 a left flank, 1 a right flank.
        lying: the picture is wider than high although it should stand: head to the left, and x and y change places.
        seen: False where no body was found and the whole crop stands for it.
    """

    rows: Values
    left: Values
    right: Values
    flank: int = 0
    lying: bool = False
    seen: bool = True

    @cached_property
    def _middle(self) -> Values:
        """(K,) x of across 0."""
        if self.flank < 0:
            return self.right
        return self.left if self.flank > 0 else (self.left + self.right) / 2

    @cached_property
    def _reach(self) -> Values:
        """(K,) pixels from across 0 to across 1 (or -1)."""
        whole = np.maximum(self.right - self.left, 1.0)
        return whole if self.flank else whole / 2

    @cached_property
    def _steps(self) -> Values:
        """(K - 1,) lengths of the mid-line from row to row in pixels."""
        return np.asarray(np.hypot(np.diff(self.rows), np.diff((self.left + self.right) / 2)), np.float64)

    @cached_property
    def along(self) -> Values:
        """(K,) share of the mid-line's length at which the rows lie."""
        return np.r_[0.0, np.cumsum(self._steps)] / max(self.length, 1e-9)

    @cached_property
    def length(self) -> float:
        """Length of the mid-line in pixels."""
        return float(self._steps.sum())

    def to_body(self, xy: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) canonical pixels to (along, across); places beyond the body get numbers beyond 0..1 and -1..1."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)
        x, y = (points[:, 1], points[:, 0]) if self.lying else (points[:, 0], points[:, 1])
        along = _piecewise(y, self.rows, self.along)
        across = (x - np.interp(y, self.rows, self._middle)) / np.interp(y, self.rows, self._reach)
        return np.stack([along, across], 1).astype(np.float32)

    def to_canonical(self, body: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) (along, across) back to canonical pixels; the inverse of :meth:`to_body`."""
        places = np.asarray(body, np.float64).reshape(-1, 2)
        y = _piecewise(places[:, 0], self.along, self.rows)
        x = np.interp(y, self.rows, self._middle) + places[:, 1] * np.interp(y, self.rows, self._reach)
        return np.stack([y, x] if self.lying else [x, y], 1).astype(np.float32)

    def straighten(self, image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
        """Lay the body straight: along downwards, across to the right, both from edge to edge.

        Args:
            image: (H, W) or (H, W, C) array of the canonical frame.
            size: (width, height) of the result in pixels.

        Returns:
            An array of that size; what lies outside the picture is 0.
        """
        width, height = size
        low, high = (-1.0, 1.0) if not self.flank else ((-1.0, 0.0) if self.flank < 0 else (0.0, 1.0))
        along = np.repeat((np.arange(height) + 0.5) / height, width)
        across = np.tile(low + (high - low) * (np.arange(width) + 0.5) / width, height)
        grid = self.to_canonical(np.stack([along, across], 1)).reshape(height, width, 2)
        return cv2.remap(np.ascontiguousarray(image), grid[:, :, 0], grid[:, :, 1], cv2.INTER_LINEAR)

    def to_array(self) -> npt.NDArray[np.float32]:
        """Return everything as one (4, K) array for the store; :meth:`from_array` reads it."""
        flags = np.zeros(len(self.rows))
        flags[:2] = self.flank, 2 * self.lying + self.seen
        return np.stack([self.rows, self.left, self.right, flags]).astype(np.float32)

    @classmethod
    def from_array(cls, array: npt.NDArray[np.floating]) -> Self:
        """Read what :meth:`to_array` wrote."""
        rows, left, right, flags = np.asarray(array, np.float64)
        state = int(flags[1])
        return cls(rows, left, right, int(flags[0]), bool(state & 2), bool(state & 1))


def flank_of(viewpoint: str | None) -> int:
    """Return -1 for a left lateral view, 1 for a right one, 0 for every other."""
    return {"left": -1, "right": 1}.get((viewpoint or "").strip().lower(), 0)


def find_body_frame(regions: Regions, frame: Frame, viewpoint: str | None = None) -> BodyFrame:
    """Find the mid-line and the sides of the body that the regions show; the whole crop where they show none."""
    return body_frame_of(np.ascontiguousarray(frame.turn(regions.body)), flank_of(viewpoint))


def body_frame_of(body: npt.NDArray[np.floating], flank: int = 0, level: float = 0.5, count: int = ROWS) -> BodyFrame:
    """Find mid-line and sides on an (H, W) map of body certainty, head up (or, if it is wide, to the left).

    Both sides of every row are averaged over a tenth of the length, so that fins and waves hardly bend the line, and
    the outermost hundredths of a row are left out: they are spray and fins more often than side.

    Args:
        body: certainty of body in [0, 1].
        flank: see :class:`BodyFrame`.
        level: certainty from which a pixel counts.
        count: largest number of rows kept.
    """
    lying = body.shape[1] > body.shape[0]
    upright = body.T if lying else body
    mask = np.nan_to_num(upright) >= level
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) < 3:
        height, width = (max(side, 2) for side in upright.shape)
        ends = np.array([0.0, height - 1.0])
        return BodyFrame(ends, np.zeros(2), np.full(2, width - 1.0), flank, lying, seen=False)
    share = np.cumsum(mask[rows], axis=1) / np.count_nonzero(mask[rows], axis=1)[:, None]
    left, right = (np.argmax(share >= bound, axis=1).astype(np.float64) for bound in (0.01, 0.99))
    every = np.arange(rows[0], rows[-1] + 1)
    window = max(len(every) // 10, 1)
    sides = []
    for side in (left, right):
        padded = np.pad(np.interp(every, rows, side), (window // 2, window - 1 - window // 2), mode="edge")
        sides.append(np.convolve(padded, np.full(window, 1.0 / window), mode="valid"))
    at = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))
    lower, upper = sides[0][at], np.maximum(sides[1][at], sides[0][at] + 1.0)
    return BodyFrame(every[at].astype(np.float64), lower, upper, flank, lying)


def _piecewise(values: Values, knots: Values, knot_values: Values) -> Values:
    """Interpolate linearly, going on at the mean slope beyond both ends, so that the map can be inverted."""
    result = np.interp(values, knots, knot_values)
    slope = (knot_values[-1] - knot_values[0]) / max(knots[-1] - knots[0], 1e-9)
    below, above = np.minimum(values - knots[0], 0.0), np.maximum(values - knots[-1], 0.0)
    return np.asarray(result + slope * (below + above), np.float64)
