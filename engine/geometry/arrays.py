"""What the kernels of :mod:`engine.geometry` hand to each other.

Points are normalised: the frame's centre is the origin and the unit is the frame's longer side (the animal's size), so
that sums of products are well scaled and errors of photographs of different resolution compare. Models are (3, 3)
matrices kept as flat arrays of 9 float64, row by row, with the last entry 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

Vector = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
RandomState = npt.NDArray[np.uint64]

# Re-ordering sums lets loops use vector registers; NaN and infinity keep their meaning (no "nnan", no "ninf").
REORDER = {"reassoc", "contract", "nsz"}


class NormalisedPair(NamedTuple):
    """The correspondences of one pair, the most confident first.

    Attributes:
        points: (4, n) float64 with the rows x0, y0, x1, y1, for the sums of products that decide a model.
        points32: the same in float32, where errors are only compared with a threshold: twice as many of them fit into
            a vector register.
        threshold: largest symmetric transfer error of an inlier.
        noise_floor: least noise that is believed.
        half_width, half_height: half of the frame of view 0.
    """

    points: Points
    points32: Floats
    threshold: float
    noise_floor: float
    half_width: float
    half_height: float


class Workspace(NamedTuple):
    """Memory that the kernels of one pair share; each says what it leaves there, if anything.

    Attributes:
        sums: (23,) weighted sums, see :func:`engine.geometry.minimal_solvers.solve_homography`; the first six are the
            weighted moments xx, xy, x, yy, y, 1 of view 0.
        scratch: (6,) inverse of the moments.
        inverse: (9,) inverse of the model at hand.
        errors: (n,) squared symmetric transfer errors.
        depths: (n,) 1 / projective depths in view 0.
    """

    sums: Vector
    scratch: Vector
    inverse: Vector
    errors: Floats
    depths: Floats


@njit
def make_workspace(n: int) -> Workspace:
    """Return the work space for n correspondences."""
    return Workspace(np.empty(23), np.empty(6), np.empty(9), np.empty(n, np.float32), np.empty(n, np.float32))


@njit
def copy_into(target: Vector, source: Vector) -> None:
    """Copy a (9,) model (numba compiles a slice assignment with all of its error messages: seconds)."""
    for k in range(9):
        target[k] = source[k]
