"""The parts of ALIKED that a CPU spends its time on besides convolutions, compiled.

Each equals the plain arithmetic of :mod:`features.keypoints.aliked` (which a GPU uses) to rounding. Loops are written
for the compiler to turn into vector instructions: no branches, 32-bit numbers, channels last.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from features.records import FloatArray

_SCALE = np.float32(1.0507009873554805)
_SCALE_ALPHA = np.float32(1.0507009873554805 * 1.6732632423543772)
_BLOCK = 1024


@numba.njit(cache=True, nogil=True, error_model="numpy")
def selu(x: FloatArray) -> None:  # pragma: no cover - compiled
    """Apply SELU (Klambauer et al., NeurIPS 2017) to a flat float32 array in place, to 2e-7.

    exp is Cephes' single-precision polynomial after the reduction to +- ln(2) / 2; the power of two is built from bits.
    """
    rest = np.empty(_BLOCK, np.float32)
    bits = np.empty(_BLOCK, np.int32)
    power = bits.view(np.float32)
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    for start in range(0, x.shape[0], _BLOCK):
        part = x[start : min(start + _BLOCK, x.shape[0])]
        for i in range(part.shape[0]):
            value = part[i] if part[i] < zero else zero
            value = value if value > np.float32(-87) else np.float32(-87)
            whole = np.floor(value * np.float32(1.44269504) + half)
            r = value - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
            q = np.float32(1.9875691500e-4)
            q = q * r + np.float32(1.3981999507e-3)
            q = q * r + np.float32(8.3334519073e-3)
            q = q * r + np.float32(4.1665795894e-2)
            q = q * r + np.float32(1.6666665459e-1)
            q = q * r + np.float32(5.0000001201e-1)
            rest[i] = q * r * r + r + one
            bits[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        for i in range(part.shape[0]):
            value = part[i]
            low = _SCALE_ALPHA * (rest[i] * power[i] - one)
            part[i] = _SCALE * value if value > zero else low


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _read_one(
    part: FloatArray, x: float, y: float, width: int, height: int, out: FloatArray, first: int
) -> None:  # pragma: no cover - compiled
    """Read a (h, w, C) map at pixel (x, y) of the image that it would be enlarged to, bilinearly, corners aligned."""
    h, w, channels = part.shape
    u, v = x * (w - 1) / max(width - 1, 1), y * (h - 1) / max(height - 1, 1)
    u, v = min(max(u, 0.0), w - 1.0), min(max(v, 0.0), h - 1.0)
    left, top = min(int(u), max(w - 2, 0)), min(int(v), max(h - 2, 0))
    right, below = min(left + 1, w - 1), min(top + 1, h - 1)
    a, b = np.float32(u - left), np.float32(v - top)
    one = np.float32(1)
    w00, w01, w10, w11 = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
    p00, p01, p10, p11 = part[top, left], part[top, right], part[below, left], part[below, right]
    for c in range(channels):
        out[first + c] = w00 * p00[c] + w01 * p01[c] + w10 * p10[c] + w11 * p11[c]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _read_unit(
    p1: FloatArray,
    p2: FloatArray,
    p3: FloatArray,
    p4: FloatArray,
    x: float,
    y: float,
    width: int,
    height: int,
    out: FloatArray,
) -> float:  # pragma: no cover - compiled
    """Read all maps at one pixel into ``out``; return what brings it to length 1."""
    first = 0
    _read_one(p1, x, y, width, height, out, first)
    first += p1.shape[2]
    _read_one(p2, x, y, width, height, out, first)
    first += p2.shape[2]
    _read_one(p3, x, y, width, height, out, first)
    first += p3.shape[2]
    _read_one(p4, x, y, width, height, out, first)
    square = 0.0
    for c in range(out.shape[0]):
        square += out[c] * out[c]
    return 1.0 / max(np.sqrt(square), 1e-12)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def read_pixels(
    p1: FloatArray,
    p2: FloatArray,
    p3: FloatArray,
    p4: FloatArray,
    pixels: npt.NDArray[np.int64],
    shift: tuple[int, int],
    padded: tuple[int, int],
) -> FloatArray:  # pragma: no cover - compiled
    """Return the (N, D) unit features at whole pixels.

    Args:
        p1, p2, p3, p4: (h, w, C) maps of the padded image.
        pixels: (N, 2) pixels of the image without padding.
        shift: (x, y) of that image within the padded one.
        padded: (height, width) of the padded image.
    """
    size = p1.shape[2] + p2.shape[2] + p3.shape[2] + p4.shape[2]
    out = np.empty((len(pixels), size), np.float32)
    for row in range(len(pixels)):
        x, y = float(pixels[row, 0] + shift[0]), float(pixels[row, 1] + shift[1])
        scale = np.float32(_read_unit(p1, p2, p3, p4, x, y, padded[1], padded[0], out[row]))
        for c in range(size):
            out[row, c] *= scale
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def read_between(
    p1: FloatArray,
    p2: FloatArray,
    p3: FloatArray,
    p4: FloatArray,
    positions: FloatArray,
    shift: tuple[int, int],
    padded: tuple[int, int],
    size: tuple[int, int],
) -> FloatArray:  # pragma: no cover - compiled
    """Return the (N, D) features between pixels: bilinear over the unit features of the four around, zero outside.

    Args:
        p1, p2, p3, p4, shift, padded: as for :func:`read_pixels`.
        positions: (N, 2) float32 pixels of the image without padding.
        size: (height, width) of that image.
    """
    dims = p1.shape[2] + p2.shape[2] + p3.shape[2] + p4.shape[2]
    out = np.zeros((len(positions), dims), np.float32)
    unit = np.empty(dims, np.float32)
    height, width = size
    for row in range(len(positions)):
        left, top = np.floor(positions[row, 0]), np.floor(positions[row, 1])
        a, b = positions[row, 0] - left, positions[row, 1] - top
        own = out[row]
        for dx in range(2):
            for dy in range(2):
                x, y = left + dx, top + dy
                weight = (a if dx else np.float32(1) - a) * (b if dy else np.float32(1) - b)
                if x < 0 or y < 0 or x >= width or y >= height or weight == 0:
                    continue
                length = _read_unit(p1, p2, p3, p4, x + shift[0], y + shift[1], padded[1], padded[0], unit)
                scale = np.float32(weight * length)
                for c in range(dims):
                    own[c] += scale * unit[c]
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def deformed_patches(x: FloatArray, offset: FloatArray, reach: float) -> FloatArray:  # pragma: no cover - compiled
    """Return what a deformable 3 x 3 convolution (Dai et al., ICCV 2017) multiplies with its weights.

    Args:
        x: (h, w, C) map.
        offset: (18, h, w) shifts of the nine places in pixels, (y, x) of each in turn.
        reach: larger shifts are cut to it.

    Returns:
        (h * w, 9 * C): bilinear, zero outside the map.
    """
    height, width, channels = x.shape
    out = np.zeros((height * width, 9 * channels), np.float32)
    for row in range(height):
        for column in range(width):
            own = out[row * width + column]
            for k in range(9):
                y = row - 1 + k // 3 + min(max(offset[2 * k, row, column], -reach), reach)
                z = column - 1 + k % 3 + min(max(offset[2 * k + 1, row, column], -reach), reach)
                top, left = np.floor(y), np.floor(z)
                b, a = np.float32(y - top), np.float32(z - left)
                for dy in range(2):
                    for dx in range(2):
                        i, j = int(top) + dy, int(left) + dx
                        if i < 0 or j < 0 or i >= height or j >= width:
                            continue
                        weight = (b if dy else np.float32(1) - b) * (a if dx else np.float32(1) - a)
                        pixel = x[i, j]
                        for c in range(channels):
                            own[k * channels + c] += weight * pixel[c]
    return out
