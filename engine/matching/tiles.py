"""Nearest neighbours of two sets of descriptors, found while their product is made: what :mod:`numba` has no words for.

Descriptors are whole numbers of 16 bits, and their products sums of 32: exact, so that they are the same to the bit
whatever the order of summation, the processor and the company. A processor multiplies two such numbers and adds both
products in one instruction, which makes them twice as fast as single precision. The product is made in tiles of
:data:`ROWS` x :data:`COLUMNS` that stay in the processor's registers, and each tile is asked for the best and second
best of its rows and columns before the next one is made: the matrix of similarities never exists.

A similarity and the index of whom it belongs to share one integer (:func:`index_bits`): similarity in the high bits,
index reversed in the low ones, so that the best is a plain maximum and equal similarities go to the lower index.

Loops are written down in LLVM's own language, with vectors of eight numbers: no compiler turns nested loops into this
by itself. It is the same on every processor; LLVM picks the instructions (``vpmaddwd`` on x86, ``vpdpwssd`` where there
is one, ``smull`` and ``smlal`` on ARM).
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.matching import tile_code
from engine.matching.tile_code import COLUMNS as COLUMNS
from engine.matching.tile_code import NOTHING as NOTHING
from engine.matching.tile_code import ROWS as ROWS
from engine.matching.tile_code import tile_of

Codes16 = npt.NDArray[np.int16]
Integers32 = npt.NDArray[np.int32]
Floats32 = npt.NDArray[np.float32]

#: A unit vector times this, rounded, is its fine code.
SCALE = 2**15
#: By how much more than the reach panels must be away to be passed over: sums and differences round differently.
_SLACK = np.float32(1e-4)


@cache
def stamp() -> int:
    """Return a number that changes with what tiles are made of.

    Numba looks only at the file of a kept function itself to tell whether its machine code is out of date. Those that
    use tiles from other files hold this number in a variable of their closure, which is part of the key.
    """
    return zlib.crc32(Path(__file__).read_bytes() + Path(tile_code.__file__).read_bytes())


def pad(count: int, to: int) -> int:
    """Return the next multiple of ``to``."""
    return -(-count // to) * to


def fine_codes(vectors: npt.NDArray[np.floating]) -> Codes16:
    """Return the (N, D) codes of unit vectors: their numbers times :data:`SCALE`, rounded.

    That is finer than the half precision that descriptors are kept in (a cosine is off by some 1e-5), and so coarse
    that no sum of products overflows: by Cauchy and Schwarz none is larger than the square of the scale. Vectors longer
    than 1 are therefore shortened.
    """
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1.0))
    return np.clip(np.rint(vectors * (np.float32(SCALE) / length)), 1 - SCALE, SCALE - 1).astype(np.int16)


def as_rows(codes: Codes16) -> Codes16:
    """Return (n, D) codes as the rows of tiles: (n padded, D padded) int16, zeros behind the last."""
    rows = np.zeros((pad(len(codes), ROWS), pad(codes.shape[1], 2)), np.int16)
    rows[: len(codes), : codes.shape[1]] = codes
    return rows


def as_panels(codes: Codes16) -> Codes16:
    """Return (m, D) codes as the columns of tiles: (panels, D / 2, COLUMNS, 2) int16, zeros behind the last."""
    padded = np.zeros((pad(len(codes), COLUMNS), pad(codes.shape[1], 2)), np.int16)
    padded[: len(codes), : codes.shape[1]] = codes
    return np.ascontiguousarray(padded.reshape(-1, COLUMNS, padded.shape[1] // 2, 2).transpose(0, 2, 1, 3))


def row_places(places: Floats32) -> Floats32:
    """Return (n, 2) places (along, across) as those of the rows of tiles: (n padded, 2)."""
    padded = np.zeros((pad(len(places), ROWS), 2), np.float32)
    padded[: len(places)] = places
    return padded


def panel_places(places: Floats32) -> Floats32:
    """Return (m, 2) places as those of the columns of tiles: (panels, 2, COLUMNS)."""
    padded = np.zeros((pad(len(places), COLUMNS), 2), np.float32)
    padded[: len(places)] = places
    return np.ascontiguousarray(padded.reshape(-1, COLUMNS, 2).transpose(0, 2, 1))


def index_bits(rows: int, columns: int) -> int:
    """Return how many low bits of a packed similarity hold the index, 10 or more."""
    return max(10, (max(rows, columns, 1) - 1).bit_length())


@njit(nogil=True)
def _along(column_places: Floats32, column: int) -> np.float32:  # pragma: no cover - compiled
    """Return how far along the body a column lies."""
    return column_places[column // COLUMNS * 2 * COLUMNS + column % COLUMNS]


def _best_of(levels: int, within: bool = False) -> Any:
    """Return the compiled search for the best so many neighbours, all or those within reach."""
    take_tile, lanes_in_all = tile_of(levels, within), ROWS * COLUMNS

    @njit(nogil=True)
    def best(
        rows: Codes16,
        n_rows: int,
        panels: Codes16,
        n_columns: int,
        depth: int,
        bits: int,
        of_rows: Integers32,
        of_columns: Integers32,
        row_places: Floats32,
        column_places: Floats32,
        reach: Floats32,
    ) -> None:
        low = np.int32((1 << bits) - 1)
        padded_rows, padded_columns = -(-n_rows // ROWS) * ROWS, -(-n_columns // COLUMNS) * COLUMNS
        row_bits = np.full(padded_rows, np.int32(NOTHING))
        masks, column_bits = np.zeros(padded_columns, np.int32), np.full(padded_columns, np.int32(NOTHING))
        for i in range(n_rows):
            row_bits[i] = low - np.int32(i)
        for j in range(n_columns):
            masks[j], column_bits[j] = ~low, low - np.int32(j)
        lanes = np.empty(levels * lanes_in_all, np.int32)
        of_columns[:] = NOTHING
        first, last = 0, padded_columns
        for row in range(0, padded_rows, ROWS):
            lanes[:] = NOTHING
            if within:
                # Both are sorted along the body: panels before the first and behind the last are out of reach.
                head, tail = row_places[2 * row], row_places[2 * min(row + ROWS - 1, n_rows - 1)]
                while first < padded_columns and _along(column_places, min(first + COLUMNS, n_columns) - 1) < (
                    head - reach[0] - _SLACK
                ):
                    first += COLUMNS
                last = max(last if row else first, first)
                while last < padded_columns and _along(column_places, last) <= tail + reach[0] + _SLACK:
                    last += COLUMNS
            for column in range(first, last, COLUMNS):
                take_tile(
                    rows, row, panels, column, depth, row_bits, masks, column_bits,
                    lanes, of_columns, of_columns.shape[1], row_places, column_places, reach,
                )  # fmt: skip
            for number in range(ROWS):
                for level in range(levels):
                    of_rows[level, row + number] = NOTHING
                for at in range(levels):
                    for lane in range(number * COLUMNS, (number + 1) * COLUMNS):
                        value = lanes[at * lanes_in_all + lane]
                        if value <= of_rows[levels - 1, row + number]:
                            continue
                        for level in range(levels):
                            top = of_rows[level, row + number]
                            of_rows[level, row + number] = max(top, value)
                            value = min(top, value)

    return best


_best_two, _best_three, _best_three_within = _best_of(2), _best_of(3), _best_of(3, within=True)
_NOWHERE = np.zeros(0, np.float32)


@njit(nogil=True)
def best_two(
    rows: Codes16,
    n_rows: int,
    panels: Codes16,
    n_columns: int,
    depth: int,
    bits: int,
    of_rows: Integers32,
    of_columns: Integers32,
) -> None:  # pragma: no cover - compiled
    """Find the best two columns of every row, and rows of every column, packed (see the module).

    Args:
        rows: of :func:`as_rows`, flat.
        n_rows, n_columns: how many there are without the padding.
        panels: of :func:`as_panels`, flat.
        depth: numbers of a padded descriptor.
        bits: how many low bits hold the index.
        of_rows, of_columns: (levels, padded) outputs, best first, :data:`NOTHING` where there is none.
    """
    _best_two(
        rows, n_rows, panels, n_columns, depth, bits, of_rows, of_columns, _NOWHERE, _NOWHERE, _NOWHERE
    )  # fmt: skip


@njit(nogil=True)
def best_three(
    rows: Codes16,
    n_rows: int,
    panels: Codes16,
    n_columns: int,
    depth: int,
    bits: int,
    of_rows: Integers32,
    of_columns: Integers32,
) -> None:  # pragma: no cover - compiled
    """Find the best three; see :func:`best_two`."""
    _best_three(
        rows, n_rows, panels, n_columns, depth, bits, of_rows, of_columns, _NOWHERE, _NOWHERE, _NOWHERE
    )  # fmt: skip


@njit(nogil=True)
def best_three_within(
    rows: Codes16,
    n_rows: int,
    panels: Codes16,
    n_columns: int,
    depth: int,
    bits: int,
    of_rows: Integers32,
    of_columns: Integers32,
    row_places: Floats32,
    column_places: Floats32,
    reach: Floats32,
) -> None:  # pragma: no cover - compiled
    """Find the best three among those within reach; see :func:`best_two`.

    Args:
        row_places: of :func:`row_places`, flat; like the columns' sorted along the body.
        column_places: of :func:`panel_places`, flat.
        reach: (2,) float32 largest distances along and across.
    """
    _best_three_within(
        rows, n_rows, panels, n_columns, depth, bits, of_rows, of_columns, row_places, column_places, reach
    )
