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
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Codes16 = npt.NDArray[np.int16]
Integers32 = npt.NDArray[np.int32]

#: A tile's size: twelve registers of sums, two of columns, one of a row.
ROWS, COLUMNS = 6, 16
#: A unit vector times this, rounded, is its fine code.
SCALE = 2**15
#: What is not there: less than every similarity with its index.
NOTHING = -(2**31)

_LANES = 8
_HALVES = COLUMNS // _LANES
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_V8 = ir.VectorType(_I32, _LANES)
_V16_SHORT = ir.VectorType(ir.IntType(16), 2 * _LANES)
_V16 = ir.VectorType(_I32, 2 * _LANES)
_V8F = ir.VectorType(ir.FloatType(), _LANES)


@cache
def stamp() -> int:
    """Return a number that changes with this file.

    Numba looks only at the file of a kept function itself to tell whether its machine code is out of date. Those that
    use tiles from other files hold this number in a variable of their closure, which is part of the key.
    """
    return zlib.crc32(Path(__file__).read_bytes())


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


def index_bits(rows: int, columns: int) -> int:
    """Return how many low bits of a packed similarity hold the index, 10 or more."""
    return max(10, (max(rows, columns, 1) - 1).bit_length())


class _Tile:
    """Writes the code of one tile.

    Args:
        builder: of the function at hand.
        rows, panels: pointers to the tile's first row and to its panel.
        stride: numbers from one row to the next.
        steps: pairs of numbers of a descriptor.
    """

    def __init__(self, builder: ir.IRBuilder, rows: Any, panels: Any, stride: Any, steps: Any) -> None:
        self.builder = builder
        self.sums = self._product(rows, panels, stride, steps)

    def load(self, pointer: Any, at: int, kind: ir.Type) -> Any:
        """Return what lies so many numbers behind a pointer, as another type."""
        return self.builder.load(self._place(pointer, at, kind), align=2)

    def store(self, value: Any, pointer: Any, at: int) -> None:
        """Write a vector so many numbers behind a pointer."""
        self.builder.store(value, self._place(pointer, at, value.type), align=2)

    def splat(self, value: Any, kind: ir.VectorType) -> Any:
        """Return a vector of one number repeated."""
        nothing = ir.Constant(kind, ir.Undefined)
        alone = self.builder.insert_element(nothing, value, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(alone, nothing, ir.Constant(_V8, [0] * _LANES))

    def larger(self, first: Any, second: Any) -> Any:
        """Return the larger of two vectors, lane by lane."""
        return self.builder.select(self.builder.icmp_signed(">", first, second), first, second)

    def smaller(self, first: Any, second: Any) -> Any:
        """Return the smaller of two vectors, lane by lane."""
        return self.builder.select(self.builder.icmp_signed("<", first, second), first, second)

    def sorted_in(self, value: Any, best: list[Any]) -> list[Any]:
        """Return the best, second best, ... after a vector was sorted in."""
        after = []
        for one in best:
            after.append(self.larger(one, value))
            value = self.smaller(one, value)
        return after

    def _place(self, pointer: Any, at: int, kind: ir.Type) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [ir.Constant(_I64, at)]), kind.as_pointer())

    def _product(self, rows: Any, panels: Any, stride: Any, steps: Any) -> list[list[Any]]:
        """Write the loop over a descriptor's numbers; return the sums, by row and half."""
        builder = self.builder
        starts = [builder.gep(rows, [builder.mul(stride, ir.Constant(_I64, row))]) for row in range(ROWS)]
        entry, loop, done = builder.block, builder.append_basic_block("product"), builder.append_basic_block("made")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(_I64)
        step.add_incoming(ir.Constant(_I64, 0), entry)
        sums = [[builder.phi(_V8) for _ in range(_HALVES)] for _ in range(ROWS)]
        panel = builder.gep(panels, [builder.mul(step, ir.Constant(_I64, 2 * COLUMNS))])
        columns = [self.load(panel, 2 * _LANES * half, _V16_SHORT) for half in range(_HALVES)]
        longer = []
        for row in range(ROWS):
            place = builder.gep(starts[row], [builder.mul(step, ir.Constant(_I64, 2))])
            pair = builder.bitcast(self.splat(self.load(place, 0, _I32), _V8), _V16_SHORT)
            longer.append([builder.add(sums[row][half], self._pairs(pair, columns[half])) for half in range(_HALVES)])
        following = builder.add(step, ir.Constant(_I64, 1))
        step.add_incoming(following, loop)
        for before, after in zip(sums, longer, strict=True):
            for half in range(_HALVES):
                before[half].add_incoming(ir.Constant(_V8, [0] * _LANES), entry)
                before[half].add_incoming(after[half], loop)
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
        builder.position_at_end(done)
        return longer

    def _pairs(self, first: Any, second: Any) -> Any:
        """Return the sums of two neighbouring products, which LLVM knows as one instruction."""
        builder = self.builder
        product = builder.mul(builder.sext(first, _V16), builder.sext(second, _V16), flags=("nsw",))
        nothing = ir.Constant(_V16, ir.Undefined)
        even, odd = (
            builder.shuffle_vector(product, nothing, ir.Constant(_V8, list(range(first, 2 * _LANES, 2))))
            for first in (0, 1)
        )
        return builder.add(even, odd)


def _pointers(context: Any, builder: Any, kinds: Any, values: Any) -> list[Any]:
    """Return arrays as pointers to their first number, and anything else as it is."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(kinds, values, strict=True)
    ]


def _tile_of(levels: int) -> Any:
    """Return what multiplies one tile and takes it into the best so many of its rows (by lane) and columns."""

    @intrinsic
    def take_tile(
        typingctx: Any,
        rows: Any,
        row: Any,
        panels: Any,
        column: Any,
        depth: Any,
        row_bits: Any,
        column_masks: Any,
        column_bits: Any,
        lanes: Any,
        of_columns: Any,
        stride: Any,
    ) -> Any:
        arrays = (row_bits, column_masks, column_bits, lanes, of_columns)
        signature = types.void(rows, types.intp, panels, types.intp, types.intp, *arrays, types.intp)

        def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            all_rows, row, all_panels, column, depth, *others = _pointers(context, builder, signature.args, values)
            own, masks, bits, lanes, best, stride = others
            own, masks, bits = (builder.gep(one, [at]) for one, at in ((own, row), (masks, column), (bits, column)))
            skipped = [builder.mul(stride, ir.Constant(_I64, level)) for level in range(levels)]
            bests = [builder.gep(best, [builder.add(column, one)]) for one in skipped]
            start, panel = (builder.gep(p, [builder.mul(i, depth)]) for p, i in ((all_rows, row), (all_panels, column)))
            tile = _Tile(builder, start, panel, depth, builder.ashr(depth, ir.Constant(_I64, 1)))
            for half in range(_HALVES):
                mask, index = (tile.load(one, half * _LANES, _V8) for one in (masks, bits))
                # Kept in registers from row to row: each would wait for what the one before wrote to memory.
                by_column = [tile.load(one, half * _LANES, _V8) for one in bests]
                for number in range(ROWS):
                    value, at = builder.and_(tile.sums[number][half], mask), number * COLUMNS + half * _LANES
                    places = [level * ROWS * COLUMNS + at for level in range(levels)]
                    before = [tile.load(lanes, place, _V8) for place in places]
                    for place, found in zip(places, tile.sorted_in(builder.or_(value, index), before), strict=True):
                        tile.store(found, lanes, place)
                    by_row = builder.or_(value, tile.splat(tile.load(own, number, _I32), _V8))
                    by_column = tile.sorted_in(by_row, by_column)
                for one, found in zip(bests, by_column, strict=True):
                    tile.store(found, one, half * _LANES)
            return context.get_dummy_value()

        return signature, write

    return take_tile


def _best_of(levels: int) -> Any:
    """Return the compiled search for the best so many neighbours."""
    take_tile, lanes_in_all = _tile_of(levels), ROWS * COLUMNS

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
    ) -> None:
        """Find the best columns of every row, and rows of every column, packed (see the module).

        Args:
            rows: of :func:`as_rows`, flat.
            n_rows, n_columns: how many there are without the padding.
            panels: of :func:`as_panels`, flat.
            depth: numbers of a padded descriptor.
            bits: how many low bits hold the index.
            of_rows, of_columns: (levels, padded) outputs, best first, :data:`NOTHING` where there is none.
        """
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
        for row in range(0, padded_rows, ROWS):
            lanes[:] = NOTHING
            for column in range(0, padded_columns, COLUMNS):
                take_tile(
                    rows, row, panels, column, depth, row_bits, masks, column_bits,
                    lanes, of_columns, of_columns.shape[1],
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


#: Find best and second best, or the third too, of rows and columns.
best_two, best_three = _best_of(2), _best_of(3)
