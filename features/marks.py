"""Marks on the skin: what stands out from its noise once shading, outline, glints and the dorsal ridge are taken away.

Works on the upright, reduced copy that :mod:`features.regions` prepares; lengths are shares of its longer side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.records import BoolArray, ByteArray, FloatArray

if TYPE_CHECKING:
    from features.regions import RegionSettings

# Lengths are shares of the crop's longer side.
#: Width of the strip inside the outline without marks; over a second such strip they fade in.
_MARGIN = 0.012
#: Standard deviation of the window whose mean counts as shading.
_SHADING = 0.025
#: Standard deviations of the line and blob filters: from a scratch to a patch.
_WIDTHS = (0.0025, 0.005, 0.01)
#: Length over which structure along the body counts as ridge or shading, not as a mark.
_LENGTHWISE = 0.2
#: Length from which a weak line counts: noise makes short ones.
_LENGTH = 0.04
#: Lightness (0..255) from which skin counts as glint, and grey levels above the shading from which a spot does.
_GLINT, _GLITTER = 245.0, 40.0
#: Share of the shading's lightness below it from which a spot counts as blowhole or deep shadow.
_HOLE = 0.3


def box_blur(image: FloatArray, sigma: float) -> FloatArray:
    """Approximate a Gaussian by two box filters of the same total variance: as fast for wide windows as for narrow."""
    import cv2

    # A box of n pixels has variance (n^2 - 1) / 12; two of them give sigma^2 for n = sqrt(6 sigma^2 + 1).
    side = max(3, 2 * round((np.sqrt(6.0 * sigma * sigma + 1.0) - 1.0) / 2.0) + 1)
    once = cv2.blur(image, (side, side), borderType=cv2.BORDER_REFLECT)
    return cv2.blur(once, (side, side), borderType=cv2.BORDER_REFLECT)


def resize(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resize to (width, height) pixels, averaging where the image shrinks."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def find_marks(rgb: ByteArray, body: FloatArray, settings: RegionSettings) -> tuple[FloatArray, float]:
    """Find the marks on an upright, reduced copy.

    Args:
        rgb: (h, w, 3) uint8, the body's axis upright.
        body: (h, w) float32, body certainty.
        settings: options.

    Returns:
        (h, w) float32 mark map in [0, 1] and the sharpness (:func:`features.regions.find_regions`); zeros on poor data.
    """
    import cv2

    longer = max(body.shape)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    values = grey.astype(np.float32)
    skin = (body > 0.5).astype(np.uint8)
    sharpness = _sharpness(grey, skin > 0)
    margin = max(_MARGIN * longer, 1.5)
    # A tight crop ends where the body does, so its edge counts as outline too.
    depth = cv2.distanceTransform(cv2.copyMakeBorder(skin, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    depth = np.ascontiguousarray(depth[1:-1, 1:-1])
    weight = ((depth > margin) & (grey < _GLINT)).astype(np.float32)
    if np.count_nonzero(weight) < 64:
        return np.zeros(body.shape, dtype=np.float32), sharpness
    ridge_x, ridge_strength = _ridge(values, weight)
    detail, weight = _unshaded(values, weight, ridge_x, longer)
    inner = np.clip(depth / margin - 1.0, 0.0, 1.0) * cv2.erode(weight, np.ones((3, 3), np.uint8))
    excess = np.zeros(body.shape, dtype=np.float32)
    for width in sorted({max(round(share * longer, 1), 0.8) for share in _WIDTHS}):
        response = _line_response(detail, width, ridge_x, ridge_strength, longer)
        np.maximum(excess, _against_noise(response, inner, width, longer), out=excess)
    return _trusted(excess * inner, longer, settings) * body, sharpness


def _unshaded(
    values: FloatArray, weight: FloatArray, ridge_x: FloatArray, longer: int
) -> tuple[FloatArray, FloatArray]:
    """Take the shading away, then glints, then whatever runs along the ridge; return detail and weight."""
    import cv2

    sigma = max(_SHADING * longer, 2.0)
    shading = box_blur(values * weight, sigma) / (box_blur(weight, sigma) + 1e-6)
    detail = (values - shading) * weight
    # Marks differ from their surroundings by some 5 grey levels, seldom by 30: what is far brighter is glitter, what is
    # far darker the blowhole or a deep shadow, and every animal has those.
    bright = cv2.dilate((detail > _GLITTER).astype(np.uint8), np.ones((3, 3), np.uint8))
    reach = 2 * max(1, round(0.006 * longer)) + 1
    dark = cv2.dilate((detail < -_HOLE * shading).astype(np.uint8), np.ones((reach, reach), np.uint8))
    weight = weight * (1 - (bright | dark))
    detail *= weight
    return (detail - _lengthwise(detail, weight, ridge_x, _LENGTHWISE * longer)) * weight, weight


def _lengthwise(detail: FloatArray, weight: FloatArray, ridge_x: FloatArray, length: float) -> FloatArray:
    """Mean over ``length`` pixels along the body: straight on the flanks, along the ridge's own bend beside it."""
    import cv2

    height, width = detail.shape
    side = (1, 2 * max(3, round(0.5 * length)) + 1)

    def upright_mean(image: FloatArray, share: FloatArray) -> FloatArray:
        mean = cv2.blur(image, side, borderType=cv2.BORDER_REFLECT)
        mean /= cv2.blur(share, side, borderType=cv2.BORDER_REFLECT) + 1e-3
        return mean

    straight = upright_mean(detail, weight)
    shift = (ridge_x - float(ridge_x.mean()))[:, None]
    if float(np.ptp(shift)) <= 1.0:
        return straight
    rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    columns = np.arange(width, dtype=np.float32)[None]
    sheared = [cv2.remap(image, columns + shift, rows, cv2.INTER_LINEAR) for image in (detail, weight)]
    bent = cv2.remap(upright_mean(*sheared), columns - shift, rows, cv2.INTER_LINEAR)
    beside = np.clip(2.0 - np.abs(columns - ridge_x[:, None]) / (0.1 * length), 0, 1)
    return straight + beside * (bent - straight)


def _line_response(
    detail: FloatArray, width: float, ridge_x: FloatArray, ridge_strength: float, longer: int
) -> FloatArray:
    """Strength of lines and blobs of one width: the larger Hessian eigenvalue, weaker where two signs meet (saddles).

    Lines that run along the dorsal ridge, on it, are taken away in proportion to how clearly the ridge shows.
    """
    import cv2

    smooth = cv2.GaussianBlur(detail, (0, 0), width)
    xx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0, ksize=3, scale=0.25)
    yy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2, ksize=3, scale=0.25)
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1, ksize=3, scale=0.25)
    # |trace| / 2 + spread is the larger eigenvalue by size; a saddle has no trace, hence counts half.
    half_difference = xx - yy
    half_difference *= 0.5
    response = cv2.magnitude(half_difference, xy)
    response += np.abs(xx + yy)
    response *= 0.5 * width * width
    if ridge_strength > 0:
        reach = 0.008 * longer + 1.5 * width
        first = max(0, int(ridge_x.min() - 1.5 * reach))
        last = min(detail.shape[1], int(ridge_x.max() + 1.5 * reach) + 2)
        near = np.s_[:, first:last]
        columns = np.arange(first, last, dtype=np.float32)[None]
        band = np.clip(1.5 - np.abs(columns - ridge_x[:, None]) / reach, 0, 1)
        # An upright line bends along x only. Wide structure on the ridge is the ridge's own shape and shadow.
        across, along = np.abs(xx[near]), np.abs(yy[near])
        upright = np.clip(across - along, 0, None) / (across + along + 1e-3)
        share = np.maximum(np.sqrt(upright), min(1.0, width / (0.01 * longer)))
        response[near] *= 1 - ridge_strength * band * share
    return response


def _against_noise(response: FloatArray, inner: FloatArray, width: float, longer: int) -> FloatArray:
    """Divide a response by the skin's own noise, the larger of the whole body's and that of the neighbourhood."""
    on_skin = response[::2, ::2][inner[::2, ::2] > 0.5]
    if on_skin.size < 16:
        return np.zeros(response.shape, dtype=np.float32)
    # Noise alone would make the responses Rayleigh distributed; the 30th percentile, unlike the median that it stands
    # for, does not rise much on skin that is covered with scratches.
    typical = 1.39 * float(np.percentile(on_skin, 30))
    # The floor is the response to a line of one grey level: less is shading, the more so the wider the line.
    floor = 0.25 * max(1.0, 0.5 * width)
    height, breadth = response.shape
    limited = np.ascontiguousarray((np.minimum(response, 2.0 * typical) * inner)[::4, ::4])
    window = max(0.015 * longer, 1.5)
    nearby = box_blur(limited, window) / (box_blur(np.ascontiguousarray(inner[::4, ::4]), window) + 1e-3)
    noise = np.maximum(resize(nearby, (breadth, height)), max(0.7 * typical, floor))
    return response / noise


def _trusted(excess: FloatArray, longer: int, settings: RegionSettings) -> FloatArray:
    """Map noise deviations to [0, 1], keeping only what is strong somewhere or long (noise makes short, weak dots)."""
    import cv2

    weak = (excess > settings.mark_low).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    length = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    keep = length >= max(_LENGTH * longer, 6.0)
    keep[labels[excess > 0.5 * (settings.mark_low + settings.mark_high)]] = True
    keep[0] = False
    scaled = (excess - settings.mark_low) / (settings.mark_high - settings.mark_low)
    return np.clip(scaled, 0.0, 1.0) * keep[labels]


def _ridge(values: FloatArray, weight: FloatArray) -> tuple[FloatArray, float]:
    """Find the dorsal ridge: the path from head to tail along the strongest steps across the body.

    Args:
        values: (h, w) lightness, upright.
        weight: (h, w) float32, 1 on skin.

    Returns:
        x of the path in each row, (h,), and how clearly it stands out, in [0, 1] (0: there is none).
    """
    import cv2

    height, width = values.shape
    scale = min(1.0, 96 / height)
    size = (max(3, round(width * scale)), max(3, round(height * scale)))
    small, skin = resize(values, size), resize(weight, size)
    on_skin = skin > 0.5
    left, right = on_skin.argmax(axis=1), size[0] - 1 - on_skin[:, ::-1].argmax(axis=1)
    offset = np.abs(np.arange(size[0])[None] - 0.5 * (left + right)[:, None])
    # The middle two thirds of each row: the outline's own step is no ridge.
    core = on_skin & (offset <= np.maximum((right - left)[:, None] / 3.0, 1.0))
    if np.count_nonzero(core) < 16:
        return np.zeros(height, dtype=np.float32), 0.0
    steps = np.abs(cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)) * core
    path = _strongest_path(steps)
    rows = core[np.arange(size[1]), path]
    if np.count_nonzero(rows) < 8:
        return np.zeros(height, dtype=np.float32), 0.0
    along = float(np.median(steps[np.arange(size[1]), path][rows]))
    clear = float(np.clip((along / (float(np.median(steps[core])) + 0.5) - 1.5) / 2.0, 0.0, 1.0))
    if clear == 0:
        return np.zeros(height, dtype=np.float32), 0.0
    # Where the body ends the path wanders: it goes on straight from its last step on the skin.
    body_rows = np.flatnonzero(rows)
    steady = np.interp(np.arange(size[1]), body_rows, path[body_rows]).astype(np.float32)[:, None]
    steady = cv2.GaussianBlur(steady, (1, 13), sigmaX=1.0, sigmaY=2.0, borderType=cv2.BORDER_REPLICATE)[:, 0]
    centres = (np.arange(height) + 0.5) * (size[1] / height) - 0.5
    ridge_x = np.interp(centres, np.arange(size[1]), (steady + 0.5) * (width / size[0]) - 0.5)
    return ridge_x.astype(np.float32), clear


def _strongest_path(strength: FloatArray) -> npt.NDArray[np.int64]:
    """Columns of the top-to-bottom path of the largest sum that moves at most one column a row (dynamic programme)."""
    height, width = strength.shape
    moves = np.zeros((height, width), dtype=np.int8)
    padded = np.full(width + 2, -np.inf, dtype=np.float32)
    middle, left, right = padded[1:-1], padded[:-2], padded[2:]
    middle[:] = strength[0]
    for row in range(1, height):
        side = np.maximum(left, right)
        np.multiply(side > middle, np.where(left >= right, -1, 1), out=moves[row], casting="unsafe")
        middle[:] = np.maximum(side, middle) + strength[row]
    path = np.empty(height, dtype=np.int64)
    path[-1] = int(middle.argmax())
    for row in range(height - 1, 0, -1):
        path[row - 1] = path[row] + moves[row, path[row]]
    return path


def _sharpness(grey: ByteArray, skin: BoolArray) -> float:
    """Reciprocal width of the clearest edges (defined in :func:`features.regions.find_regions`)."""
    import cv2

    window = np.ones((9, 9), np.uint8)
    animal = cv2.dilate(skin.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    contrast = cv2.subtract(cv2.dilate(grey, window), cv2.erode(grey, window))
    values = contrast[::2, ::2][animal[::2, ::2]]
    if values.size < 16:
        return 0.0
    clear = animal & (contrast >= max(float(np.percentile(values, 90)), 8.0))
    if not clear.any():
        return 0.0
    steps = [cv2.Sobel(grey, cv2.CV_32F, *axis, ksize=3, scale=0.125) for axis in ((1, 0), (0, 1))]
    steepest = cv2.dilate(cv2.magnitude(*steps), window)
    return float(np.median(2.0 * steepest[clear] / contrast[clear]))
