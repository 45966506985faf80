"""Block by block, is it the same skin? Normalised cross-correlation of two skins, one laid on the other.

A placement that keypoints agree in may be chance: a few of a hundred always fall into line. If it is right, then the
skin between them is the same too, line by line. The candidate's flattened skin (:mod:`features.skin.picture`) is laid
on the query's by the placement; every block of the query's skin is correlated with what lies there, and with what lies
up to :data:`REACH` pixels beside it, because bodies bend and placements are not exact. Blocks of one animal agree well,
and all with nearly the same shift; those of two animals agree by chance, each with another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from features.records import ByteArray, FloatArray
from features.skin.picture import NEUTRAL, SCALES, SIZE, UNSEEN

#: Bumped whenever the same skins and placements would give other numbers.
CODE_VERSION = 1

#: Pixels on a side of a cell (a multiple of 4 that divides both sides of a picture), and cells on a side of a block; a
#: block begins in every cell.
CELL, BLOCK = 12, 2
#: Pixels that a block is shifted by, at most, along and across.
REACH = 3
#: Share of a block that both photographs have to show.
SHOWN = 0.5
#: Deviation that is added to a block's own, so that plain skin agrees with nothing.
NOISE = 0.04
#: Correlation from which a block agrees.
AGREES = 0.5

#: What is measured of a pair, in the order of the columns of :func:`correlations`, with its meaning.
MEANINGS: Mapping[str, str] = {
    "overlap": "share of the query's skin that falls on the candidate's by the placement of all matches",
    "blocks": "blocks of skin that both then show",
    **{
        f"{name}_{scale}": f"{meaning}, {scale} structure"
        for scale in SCALES
        for name, meaning in (
            ("correlation", "mean over these blocks of their best correlation"),
            ("agreeing", f"blocks whose best correlation is above {AGREES:g}"),
            ("drift", "deviation of the blocks' best shifts"),
        )
    },
}
NAMES = tuple(MEANINGS)
_UNITS = {"blocks": "blocks", "agreeing": "blocks", "drift": "picture heights"}
#: Units of these numbers, "1" for a pure one.
UNITS: Mapping[str, str] = {name: _UNITS.get(name.split("_")[0], "1") for name in NAMES}


def correlations(
    query: ByteArray,
    candidates: Sequence[ByteArray],
    models: npt.NDArray[np.float64],
    found: npt.NDArray[np.bool_],
    size: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
) -> FloatArray:
    """Correlate a query's skin with its candidates'.

    Args:
        query, candidates: flattened skins, (height, width, scales) uint8.
        models: (P, 3, 3), map canonical pixels of the query to canonical pixels of each candidate.
        found: (P,) whether there is such a placement.
        size, sizes: canonical (width, height) of the query and of the candidates in pixels.

    Returns:
        (P, len(NAMES)) float32: the share of the query's skin that falls on the candidate's; the number of blocks
        compared; and for every scale the mean over blocks of their best correlation, the number of blocks that agree
        (best correlation above :data:`AGREES`), and the deviation of the blocks' best shifts as a share of the height.
        NaN without placement, and where no block is shown by both (but for the overlap and the number).
    """
    numbers = np.full((len(candidates), len(NAMES)), np.nan, np.float32)
    own, seen = _centred(query), np.asarray(query[:, :, 0] != UNSEEN, np.float32)
    near = cv2.dilate(seen.astype(np.uint8), np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8))
    from_picture = np.linalg.inv(_to_picture(size))
    for row in np.flatnonzero(found).tolist():
        placement = _to_picture(sizes[row]) @ models[row] @ from_picture
        _correlate(own, seen, seen.sum(), near, candidates[row], placement, numbers[row])
    return numbers


def _to_picture(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the (3, 3) map of canonical pixels to those of the flattened skin."""
    # Pixel centres are at integers, so a resize by s maps x to (x + 0.5) s - 0.5.
    across, along = SIZE[0] / size[0], SIZE[1] / size[1]
    return np.array([[across, 0, (across - 1) / 2], [0, along, (along - 1) / 2], [0, 0, 1]])


def _centred(skin: ByteArray) -> FloatArray:
    """Return (S, H, W) differences from the local mean, -0.5 to 0.5, and 0 off the body."""
    values = (skin.astype(np.float32) - np.float32(NEUTRAL)) / np.float32(254)
    return np.ascontiguousarray(np.where(skin != UNSEEN, values, np.float32(0)).transpose(2, 0, 1))


@njit(nogil=True, error_model="numpy", cache=True)
def _laid(
    skin: ByteArray, placement: npt.NDArray[np.float64], near: ByteArray, laid: FloatArray, seen: FloatArray
) -> None:  # pragma: no cover - compiled
    """Lay a candidate's skin on the query's grid, with a margin of REACH zeros around it, bilinearly.

    Args:
        skin: (H, W, S) uint8.
        placement: (3, 3), maps pixels of the grid to pixels of the skin.
        near: (H, W), 0 where no block of the query's skin ever lies.
        laid: (S, H + 2 REACH, W + 2 REACH) output, all zeros.
        seen: (H, W) output, 1 where all four pixels around show skin.
    """
    height, width, scales = skin.shape
    one, neutral, unit = np.float32(1), np.float32(NEUTRAL), np.float32(1 / 254)
    for y in range(height):
        for x in range(width):
            seen[y, x] = np.float32(0)
            if not near[y, x]:
                continue
            depth = placement[2, 0] * x + placement[2, 1] * y + placement[2, 2]
            closer = 1 / depth
            u = (placement[0, 0] * x + placement[0, 1] * y + placement[0, 2]) * closer
            v = (placement[1, 0] * x + placement[1, 1] * y + placement[1, 2]) * closer
            # Written so that it holds for NaN too: a placement may send a pixel to infinity.
            if not (depth > 0 and u >= 0 and v >= 0 and u < width - 1 and v < height - 1):
                continue
            i, j = np.uint32(v), np.uint32(u)
            below, beside = i + np.uint32(1), j + np.uint32(1)
            if min(skin[i, j, 0], skin[i, beside, 0], skin[below, j, 0], skin[below, beside, 0]) == UNSEEN:
                continue
            seen[y, x] = one
            down, right = np.float32(v - i), np.float32(u - j)
            part00, part01 = (one - down) * (one - right) * unit, (one - down) * right * unit
            part10, part11 = down * (one - right) * unit, down * right * unit
            for s in range(scales):
                level = np.float32(skin[i, j, s]) * part00 + np.float32(skin[i, beside, s]) * part01
                level += np.float32(skin[below, j, s]) * part10 + np.float32(skin[below, beside, s]) * part11
                laid[s, y + REACH, x + REACH] = level - neutral * unit


@njit(nogil=True, error_model="numpy", cache=True)
def _into_cells(row: FloatArray, cells: FloatArray) -> None:  # pragma: no cover - compiled
    """Sum a (W,) row into its (W // CELL,) cells, four sums at once: each would wait for its own last term."""
    at = np.uint64(0)
    for cell in range(len(cells)):
        first, second, third, fourth = row[at], row[at + np.uint64(1)], row[at + np.uint64(2)], row[at + np.uint64(3)]
        for _ in range(1, CELL // 4):
            at += np.uint64(4)
            first += row[at]
            second += row[at + np.uint64(1)]
            third += row[at + np.uint64(2)]
            fourth += row[at + np.uint64(3)]
        at += np.uint64(4)
        cells[cell] = (first + second) + (third + fourth)


@njit(nogil=True, error_model="numpy", cache=True)
def _row_sums(
    own: FloatArray,
    laid: FloatArray,
    seen: FloatArray,
    row: int,
    first: int,
    end: int,
    energy0: FloatArray,
    energy1: FloatArray,
    products: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Sum cells of one row and scale: squares of both skins where both are seen, and their products at every shift.

    Rows of pixels are cut out one by one, as contiguous arrays: only those are added up several at once.

    Args:
        own: (H, W) the query's skin. seen: (H, W), 1 where both are seen.
        laid: (H + 2 REACH, W + 2 REACH), the candidate's, with its margin.
        row, first, end: the row of cells, and which of it.
        energy0, energy1: (rows, columns) outputs.
        products: (rows, shifts, columns) output.
    """
    top, left, right = row * CELL, first * CELL, end * CELL
    width, side = right - left, 2 * REACH + 1
    line, both = np.zeros(width, np.float32), np.empty((CELL, width), np.float32)
    for y in range(CELL):
        here, shown, masked = own[top + y, left:right], seen[top + y, left:right], both[y]
        for x in range(width):
            masked[x] = here[x] * shown[x]
            line[x] += masked[x] * masked[x]
    _into_cells(line, energy0[row, first:end])
    line[:] = 0
    for y in range(CELL):
        there, shown = laid[top + y + REACH, left + REACH : right + REACH], seen[top + y, left:right]
        for x in range(width):
            line[x] += there[x] * there[x] * shown[x]
    _into_cells(line, energy1[row, first:end])
    for down in range(side):
        for across in range(side):
            line[:] = 0
            begin, stop = left + across, right + across
            for y in range(0, CELL, 4):
                # Four at once: the line is read and written a quarter as often.
                a, b, c, d = both[y], both[y + 1], both[y + 2], both[y + 3]
                e, f = laid[top + y + down, begin:stop], laid[top + y + down + 1, begin:stop]
                g, h = laid[top + y + down + 2, begin:stop], laid[top + y + down + 3, begin:stop]
                for x in range(width):
                    line[x] += (a[x] * e[x] + b[x] * f[x]) + (c[x] * g[x] + d[x] * h[x])
            _into_cells(line, products[row, down * side + across, first:end])


@njit(nogil=True, error_model="numpy", cache=True)
def _judge(
    places: npt.NDArray[np.int64],
    shown: FloatArray,
    energy0: FloatArray,
    energy1: FloatArray,
    products: FloatArray,
    numbers: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Write mean of the blocks' best correlations, how many agree, and the deviation of their shifts in pixels.

    Args:
        places: (blocks, 2) the cell (row, column) in which each begins.
        shown, energy0, energy1: (rows, columns) sums of cells.
        products: (rows, shifts, columns).
        numbers: (3,) output.
    """
    side = 2 * REACH + 1
    total, agreeing = 0.0, 0
    weights, mean_x, mean_y, squares = 0.0, 0.0, 0.0, 0.0
    for block in range(len(places)):
        row, column = places[block]
        noise, power0, power1 = np.float32(0), np.float32(0), np.float32(0)
        for i in range(row, row + BLOCK):
            for j in range(column, column + BLOCK):
                noise += shown[i, j] * np.float32(NOISE**2)
                power0 += energy0[i, j]
                power1 += energy1[i, j]
        best, at = np.float32(-np.inf), 0
        for shift in range(side * side):
            product = np.float32(0)
            for i in range(row, row + BLOCK):
                for j in range(column, column + BLOCK):
                    product += products[i, shift, j]
            if product > best:
                best, at = product, shift
        best = best / np.sqrt((power0 + noise) * (power1 + noise))
        down, right = at // side - REACH, at % side - REACH
        total += best
        agreeing += best > AGREES
        # What agrees says where; a little of all, lest nothing does.
        weight = max(best, np.float32(0)) + 1e-6
        weights += weight
        mean_y += weight * down
        mean_x += weight * right
        squares += weight * (down * down + right * right)
    spread = squares / weights - (mean_x / weights) ** 2 - (mean_y / weights) ** 2
    numbers[0] = total / len(places)
    numbers[1] = agreeing
    numbers[2] = np.sqrt(max(spread, 0.0))


@njit(nogil=True, error_model="numpy", cache=True)
def _correlate(
    own: FloatArray,
    own_seen: FloatArray,
    own_area: np.float32,
    near: ByteArray,
    skin: ByteArray,
    placement: npt.NDArray[np.float64],
    numbers: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Write what is measured of one pair; see :func:`correlations`.

    Args:
        own: (S, H, W) the query's centred skin.
        own_seen, near: (H, W), 1 where it shows skin, and where it does within REACH.
        own_area: pixels of the former.
        skin: (H, W, S) uint8, the candidate's.
        placement: (3, 3), maps pixels of the query's skin to the candidate's.
        numbers: (2 + 3 S,) output, NaN.
    """
    scales, height, width = own.shape
    rows, columns, shifts = height // CELL, width // CELL, (2 * REACH + 1) ** 2
    laid = np.zeros((scales, height + 2 * REACH, width + 2 * REACH), np.float32)
    seen, shown = np.empty((height, width), np.float32), np.zeros((rows, columns), np.float32)
    _laid(skin, placement, near, laid, seen)
    for y in range(height):
        for x in range(width):
            seen[y, x] *= own_seen[y, x]
            shown[y // CELL, x // CELL] += seen[y, x]
    numbers[0] = shown.sum() / own_area if own_area > 0 else np.float32(0)
    least, blocks = np.float32(SHOWN * (CELL * BLOCK) ** 2), 0
    places = np.empty((rows * columns, 2), np.int64)
    for row in range(rows - BLOCK + 1):
        for column in range(columns - BLOCK + 1):
            if shown[row : row + BLOCK, column : column + BLOCK].sum() >= least:
                places[blocks, 0], places[blocks, 1] = row, column
                blocks += 1
    numbers[1] = blocks
    if blocks == 0:
        return
    products = np.zeros((rows, shifts, columns), np.float32)
    energy0, energy1 = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    for s in range(scales):
        for row in range(rows):
            first, end = 0, columns
            while first < end and shown[row, first] == 0:
                first += 1
            while first < end and shown[row, end - 1] == 0:
                end -= 1
            if first == end:
                continue
            _row_sums(own[s], laid[s], seen, row, first, end, energy0, energy1, products)
        _judge(places[:blocks], shown, energy0, energy1, products, numbers[2 + 3 * s : 5 + 3 * s])
        numbers[4 + 3 * s] /= height
