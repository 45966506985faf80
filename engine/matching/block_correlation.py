"""Block by block, is it the same skin? Normalised cross-correlation of two skins, one laid on the other.

A placement that keypoints agree in may be chance: a few of a hundred always fall into line. If it is right, then the
skin between them is the same too, line by line. The candidate's flattened skin (:mod:`features.skin.picture`) is laid
on the query's by the placement; every block of the query's skin is correlated with what lies there, and with what lies
up to :data:`REACH` pixels beside it, because bodies bend and placements are not exact. Blocks of one animal agree well,
and all with nearly the same shift; those of two animals agree by chance, each with another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

WIDTH, HEIGHT = SIZE
_DEPTH = len(SCALES)
#: Cells of a picture.
ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL
_SIDE = 2 * REACH + 1
_SHIFTS = _SIDE**2
#: Where the pixels of a row lie: the first of every cell, then the second of every cell, and so on, so that a row is
#: summed into its cells, all cells at once, by adding whole parts of it.
_PLACES = np.arange(WIDTH, dtype=np.float64).reshape(COLUMNS, CELL).T.ravel()
#: Numbers in a line of the processor's cache.
_LINE = 16
#: Numbers of a laid row, whose cells have REACH more places on both sides.
_LAID = (CELL + 2 * REACH) * COLUMNS

#: A flattened skin, (height, width) uint32: see :func:`prepared`.
PackedSkin = npt.NDArray[np.uint32]

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


def prepared(skin: ByteArray) -> PackedSkin:
    """Return a flattened skin, (height, width, scales) uint8, as it is laid on others: a pixel's scales in one number.

    Returns:
        (height, width) uint32, the first scale lowest.
    """
    bytes_ = np.zeros((*skin.shape[:2], 4), np.uint8)
    bytes_[:, :, : skin.shape[2]] = skin
    return bytes_.view("<u4")[:, :, 0]


def correlations(
    query: PackedSkin,
    candidates: Sequence[PackedSkin],
    models: npt.NDArray[np.float64],
    found: npt.NDArray[np.bool_],
    size: tuple[int, int],
    sizes: Sequence[tuple[int, int]],
) -> FloatArray:
    """Correlate a query's skin with its candidates'.

    Args:
        query, candidates: flattened skins (:func:`prepared`).
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
    own, seen = _centred(query)
    area, shown = seen.sum(), np.flatnonzero(seen.any(axis=1))
    # Rows of the query that a shifted block reaches.
    rows = (max(int(shown[0]) - REACH, 0), min(int(shown[-1]) + REACH + 1, HEIGHT)) if len(shown) else (0, 0)
    # Zeros around the skin; what lies outside these rows stays zero for all candidates.
    laid = _aligned_zeros(_DEPTH * (HEIGHT + 2 * REACH) * _LAID)
    from_picture = np.linalg.inv(_to_picture(size))
    for row in np.flatnonzero(found).tolist():
        placement = _to_picture(sizes[row]) @ models[row] @ from_picture
        _correlate(own, seen.ravel(), area, rows, candidates[row].ravel(), placement, laid, numbers[row])
    return numbers


def _aligned_zeros(count: int) -> FloatArray:
    """Return (count,) zeros that begin where a line of the cache does: a fifth less time for the sums."""
    room = np.zeros(count + _LINE, np.float32)
    start = -(room.ctypes.data // room.itemsize) % _LINE
    return room[start : start + count]


def _to_picture(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the (3, 3) map of canonical pixels to those of the flattened skin."""
    # Pixel centres are at integers, so a resize by s maps x to (x + 0.5) s - 0.5.
    across, along = SIZE[0] / size[0], SIZE[1] / size[1]
    return np.array([[across, 0, (across - 1) / 2], [0, along, (along - 1) / 2], [0, 0, 1]])


def _centred(skin: PackedSkin) -> tuple[FloatArray, FloatArray]:
    """Return (S, H * W) differences from the local mean, -0.5 to 0.5 and 0 off the body, and (H, W) 1 on it.

    Rows are in the order of :data:`_PLACES`.
    """
    in_order = np.ascontiguousarray(skin[:, _PLACES.astype(int)])
    levels = in_order.view(np.uint8).reshape(HEIGHT, WIDTH, 4)[:, :, :_DEPTH].transpose(2, 0, 1)
    values = (levels.astype(np.float32) - np.float32(NEUTRAL)) / np.float32(254)
    own = np.where(levels != UNSEEN, values, np.float32(0)).reshape(_DEPTH, -1)
    return np.ascontiguousarray(own), np.asarray(levels[0] != UNSEEN, np.float32)


@njit(nogil=True, error_model="numpy", cache=True)
def _lay(
    skin: PackedSkin, placement: npt.NDArray[np.float64], first: int, end: int, laid: FloatArray, seen: FloatArray
) -> None:  # pragma: no cover - compiled
    """Lay a candidate's skin on some rows of the query's grid, bilinearly.

    A row is done in steps without branches, over few and contiguous arrays: only such loops become vector instructions.

    Args:
        skin: (H * W,) a candidate's.
        placement: (3, 3), maps pixels of the grid to pixels of the skin.
        first, end: these rows.
        laid: (S * (H + 2 REACH) * _LAID,) output: a row has the places -REACH to CELL + REACH - 1 of every cell, all
            cells of a place side by side.
        seen: (H * W,), multiplied by whether all four pixels around show skin, in the order of :data:`_PLACES`.
    """
    one, unit, middle = np.float32(1), np.float32(1 / 254), np.float32(NEUTRAL) * np.float32(1 / 254)
    low, at = np.int32(255), np.empty(WIDTH, np.int32)
    corners, parts = np.empty((4, WIDTH), np.int32), np.empty((4, WIDTH), np.float32)
    corner0, corner1, corner2, corner3 = corners[0], corners[1], corners[2], corners[3]
    part0, part1, part2, part3 = parts[0], parts[1], parts[2], parts[3]
    inside, level = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    for y in range(first, end):
        for k in range(WIDTH):
            x = _PLACES[k]
            depth = placement[2, 0] * x + placement[2, 1] * y + placement[2, 2]
            closer = 1 / depth
            u = (placement[0, 0] * x + placement[0, 1] * y + placement[0, 2]) * closer
            v = (placement[1, 0] * x + placement[1, 1] * y + placement[1, 2]) * closer
            # Written so that it holds for NaN too: a placement may send a pixel to infinity.
            there = (depth > 0) & (u >= 0) & (v >= 0) & (u < WIDTH - 1) & (v < HEIGHT - 1)
            u, v = (u if there else 0.0), (v if there else 0.0)
            row, column = np.int32(v), np.int32(u)
            down, right = np.float32(v - row), np.float32(u - column)
            at[k] = np.int32(row * np.int32(WIDTH)) + column
            part0[k], part1[k] = (one - down) * (one - right) * unit, (one - down) * right * unit
            part2[k], part3[k] = down * (one - right) * unit, down * right * unit
            inside[k] = one if there else np.float32(0)
        for k in range(WIDTH):
            place = np.uint32(at[k])
            corner0[k], corner1[k] = skin[place], skin[place + np.uint32(1)]
            corner2[k], corner3[k] = skin[place + np.uint32(WIDTH)], skin[place + np.uint32(WIDTH + 1)]
        shown = seen[y * WIDTH : (y + 1) * WIDTH]
        for k in range(WIDTH):
            least = min(min(corner0[k] & low, corner1[k] & low), min(corner2[k] & low, corner3[k] & low))
            inside[k] = inside[k] if least != UNSEEN else np.float32(0)
            shown[k] *= inside[k]
        for s in range(_DEPTH):
            shift, start = np.int32(8 * s), (s * (HEIGHT + 2 * REACH) + y + REACH) * _LAID
            for k in range(WIDTH):
                above = np.float32((corner0[k] >> shift) & low) * part0[k]
                above += np.float32((corner1[k] >> shift) & low) * part1[k]
                below = np.float32((corner2[k] >> shift) & low) * part2[k]
                below += np.float32((corner3[k] >> shift) & low) * part3[k]
                level[k] = ((above + below) - middle) * inside[k]
            before, own, behind = (
                laid[start : start + REACH * COLUMNS],
                laid[start + REACH * COLUMNS : start + (REACH + CELL) * COLUMNS],
                laid[start + (REACH + CELL) * COLUMNS : start + _LAID],
            )
            for k in range(WIDTH):
                own[k] = level[k]
            # The places beside a cell are the neighbouring cell's; the outermost stay zero.
            for beyond in range(REACH):
                for c in range(COLUMNS - 1):
                    before[beyond * COLUMNS + c + 1] = level[(CELL - REACH + beyond) * COLUMNS + c]
                    behind[beyond * COLUMNS + c] = level[beyond * COLUMNS + c + 1]


@njit(nogil=True, error_model="numpy", cache=True)
def _into_cells(row: FloatArray, cells: FloatArray) -> None:  # pragma: no cover - compiled
    """Sum a (W,) row, in the order of :data:`_PLACES`, into its (COLUMNS,) cells."""
    for c in range(COLUMNS):
        first, second = row[c], row[COLUMNS + c]
        third, fourth = row[2 * COLUMNS + c], row[3 * COLUMNS + c]
        for place in range(4, CELL, 4):
            first += row[place * COLUMNS + c]
            second += row[(place + 1) * COLUMNS + c]
            third += row[(place + 2) * COLUMNS + c]
            fourth += row[(place + 3) * COLUMNS + c]
        cells[c] = (first + second) + (third + fourth)


@njit(nogil=True, error_model="numpy", cache=True)
def _sum_products(both: FloatArray, laid: FloatArray, line: FloatArray) -> None:  # pragma: no cover - compiled
    """Write the (W,) sums over a row of cells of the products of (CELL * W,) ``both`` with rows of _LAID places."""
    for k in range(WIDTH):
        total = np.float32(0)
        for y in range(0, CELL, 4):
            first = both[y * WIDTH + k] * laid[y * _LAID + k]
            first += both[(y + 1) * WIDTH + k] * laid[(y + 1) * _LAID + k]
            second = both[(y + 2) * WIDTH + k] * laid[(y + 2) * _LAID + k]
            second += both[(y + 3) * WIDTH + k] * laid[(y + 3) * _LAID + k]
            total += first + second
        line[k] = total


@njit(nogil=True, error_model="numpy", cache=True)
def _judge(
    compared: npt.NDArray[np.bool_],
    shown: FloatArray,
    energy0: FloatArray,
    energy1: FloatArray,
    products: FloatArray,
    numbers: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Write mean of the blocks' best correlations, how many agree, and the deviation of their shifts in pixels.

    Args:
        compared: (ROWS * COLUMNS,) the cells in which a block begins.
        shown, energy0, energy1: (ROWS * COLUMNS,) sums of cells.
        products: (ROWS * shifts * COLUMNS,).
        numbers: (3,) output.
    """
    best, at = np.empty(COLUMNS, np.float32), np.empty(COLUMNS, np.int32)
    noise, power0, power1 = np.empty((3, COLUMNS), np.float32)
    blocks, total, agreeing = 0, 0.0, 0
    weights, mean_x, mean_y, squares = 0.0, 0.0, 0.0, 0.0
    for row in range(ROWS - BLOCK + 1):
        if not compared[row * COLUMNS : (row + 1) * COLUMNS].any():
            continue
        best[:], at[:] = -np.inf, 0
        noise[:], power0[:], power1[:] = 0, 0, 0
        for i in range(row, row + BLOCK):
            for j in range(BLOCK):
                for c in range(COLUMNS - BLOCK + 1):
                    noise[c] += shown[i * COLUMNS + c + j] * np.float32(NOISE**2)
                    power0[c] += energy0[i * COLUMNS + c + j]
                    power1[c] += energy1[i * COLUMNS + c + j]
        for shift in range(_SHIFTS):
            first = (row * _SHIFTS + shift) * COLUMNS
            for c in range(COLUMNS - BLOCK + 1):
                product = np.float32(0)
                for i in range(BLOCK):
                    for j in range(BLOCK):
                        product += products[first + i * _SHIFTS * COLUMNS + c + j]
                better = product > best[c]
                best[c] = product if better else best[c]
                at[c] = np.int32(shift) if better else at[c]
        for c in range(COLUMNS - BLOCK + 1):
            if not compared[row * COLUMNS + c]:
                continue
            correlation = best[c] / np.sqrt((power0[c] + noise[c]) * (power1[c] + noise[c]))
            down, right = at[c] // _SIDE - REACH, at[c] % _SIDE - REACH
            blocks += 1
            total += correlation
            agreeing += correlation > AGREES
            # What agrees says where; a little of all, lest nothing does.
            weight = max(correlation, np.float32(0)) + 1e-6
            weights += weight
            mean_y += weight * down
            mean_x += weight * right
            squares += weight * (down * down + right * right)
    spread = squares / weights - (mean_x / weights) ** 2 - (mean_y / weights) ** 2
    numbers[0] = total / blocks
    numbers[1] = agreeing
    numbers[2] = np.sqrt(max(spread, 0.0))


@njit(nogil=True, error_model="numpy", cache=True)
def _correlate(
    own: FloatArray,
    own_seen: FloatArray,
    own_area: np.float32,
    reached: tuple[int, int],
    skin: PackedSkin,
    placement: npt.NDArray[np.float64],
    laid: FloatArray,
    numbers: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Write what is measured of one pair; see :func:`correlations`.

    Args:
        own: (S, H * W) the query's centred skin.
        own_seen: (H * W,), 1 where it shows skin.
        own_area: pixels of that.
        reached: rows of the query that a shifted block reaches.
        skin: (H * W,) the candidate's.
        placement: (3, 3), maps pixels of the query's skin to the candidate's.
        laid: room for the candidate's skin on the query's grid (:func:`_lay`); the rows beyond those reached are zero.
        numbers: (2 + 3 S,) output, NaN.
    """
    seen, shown = own_seen.copy(), np.zeros(ROWS * COLUMNS, np.float32)
    _lay(skin, placement, reached[0], reached[1], laid, seen)
    line, both = np.empty(WIDTH, np.float32), np.empty(CELL * WIDTH, np.float32)
    for row in range(ROWS):
        line[:] = 0
        for y in range(row * CELL, (row + 1) * CELL):
            for k in range(WIDTH):
                line[k] += seen[y * WIDTH + k]
        _into_cells(line, shown[row * COLUMNS : (row + 1) * COLUMNS])
    numbers[0] = shown.sum() / own_area if own_area > 0 else np.float32(0)
    least, blocks = np.float32(SHOWN * (CELL * BLOCK) ** 2), 0
    compared = np.zeros(ROWS * COLUMNS, np.bool_)
    for row in range(ROWS - BLOCK + 1):
        for c in range(COLUMNS - BLOCK + 1):
            area = np.float32(0)
            for i in range(row, row + BLOCK):
                for j in range(c, c + BLOCK):
                    area += shown[i * COLUMNS + j]
            compared[row * COLUMNS + c] = area >= least
            blocks += int(area >= least)
    numbers[1] = blocks
    if blocks == 0:
        return
    products = np.zeros(ROWS * _SHIFTS * COLUMNS, np.float32)
    energy0, energy1 = np.zeros(ROWS * COLUMNS, np.float32), np.zeros(ROWS * COLUMNS, np.float32)
    for s in range(_DEPTH):
        for row in range(ROWS):
            cells = row * COLUMNS
            # A block that begins here, or in the row of cells above, reads these.
            if not compared[max(cells - (BLOCK - 1) * COLUMNS, 0) : cells + COLUMNS].any():
                continue
            first = row * CELL * WIDTH
            start = (s * (HEIGHT + 2 * REACH) + row * CELL) * _LAID
            line[:] = 0
            for y in range(CELL):
                for k in range(WIDTH):
                    both[y * WIDTH + k] = own[s, first + y * WIDTH + k] * seen[first + y * WIDTH + k]
                    line[k] += both[y * WIDTH + k] * both[y * WIDTH + k]
            _into_cells(line, energy0[cells : cells + COLUMNS])
            line[:] = 0
            for y in range(CELL):
                middle = start + (y + REACH) * _LAID + REACH * COLUMNS
                for k in range(WIDTH):
                    line[k] += laid[middle + k] * laid[middle + k] * seen[first + y * WIDTH + k]
            _into_cells(line, energy1[cells : cells + COLUMNS])
            for down in range(_SIDE):
                for across in range(_SIDE):
                    moved = start + down * _LAID + across * COLUMNS
                    _sum_products(both, laid[moved : moved + CELL * _LAID], line)
                    into = cells * _SHIFTS + (down * _SIDE + across) * COLUMNS
                    _into_cells(line, products[into : into + COLUMNS])
        _judge(compared, shown, energy0, energy1, products, numbers[2 + 3 * s : 5 + 3 * s])
        numbers[4 + 3 * s] /= HEIGHT
