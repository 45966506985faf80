"""The code of one tile, written down in LLVM's own language (see :mod:`engine.matching.tiles`)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: A tile's size: twelve registers of sums, two of columns, one of a row.
ROWS, COLUMNS = 6, 16
#: What is not there: less than every similarity with its index.
NOTHING = -(2**31)

_LANES = 8
_HALVES = COLUMNS // _LANES
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_V8 = ir.VectorType(_I32, _LANES)
_V16_SHORT = ir.VectorType(ir.IntType(16), 2 * _LANES)
_V16 = ir.VectorType(_I32, 2 * _LANES)
_V8F = ir.VectorType(ir.FloatType(), _LANES)


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

    def outside(self, rows: Any, row: int, columns: Any, half: int, reach: Any) -> Any:
        """Return which columns of a half lie out of a row's reach, along or across.

        Args:
            rows: pointer to (along, across) of the tile's rows.
            row: the row.
            columns: pointer to the tile's columns, for each panel all alongs and then all acrosses.
            half: of the columns.
            reach: pointer to the largest distances.
        """
        builder, far = self.builder, []
        for axis in range(2):
            own, most = (
                self.splat(self.load(pointer, at, ir.FloatType()), _V8F)
                for pointer, at in ((rows, 2 * row + axis), (reach, axis))
            )
            gap = builder.fsub(own, self.load(columns, axis * COLUMNS + half * _LANES, _V8F))
            without_sign = builder.and_(builder.bitcast(gap, _V8), ir.Constant(_V8, [0x7FFFFFFF] * _LANES))
            far.append(builder.fcmp_ordered(">", builder.bitcast(without_sign, _V8F), most))
        return builder.or_(*far)

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


def tile_of(levels: int, within: bool = False) -> Any:
    """Return what multiplies one tile and takes it into the best so many of its rows (by lane) and columns.

    Args:
        levels: how many.
        within: whether only those count whose places lie within reach of each other.
    """

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
        row_places: Any,
        column_places: Any,
        reach: Any,
    ) -> Any:
        arrays = (row_bits, column_masks, column_bits, lanes, of_columns)
        places = (row_places, column_places, reach)
        signature = types.void(rows, types.intp, panels, types.intp, types.intp, *arrays, types.intp, *places)

        def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            all_rows, row, all_panels, column, depth, *others = _pointers(context, builder, signature.args, values)
            own, masks, bits, lanes, best, stride, row_places, column_places, reach = others
            own, masks, bits = (builder.gep(one, [at]) for one, at in ((own, row), (masks, column), (bits, column)))
            skipped = [builder.mul(stride, ir.Constant(_I64, level)) for level in range(levels)]
            bests = [builder.gep(best, [builder.add(column, one)]) for one in skipped]
            start, panel = (builder.gep(p, [builder.mul(i, depth)]) for p, i in ((all_rows, row), (all_panels, column)))
            tile = _Tile(builder, start, panel, depth, builder.ashr(depth, ir.Constant(_I64, 1)))
            row_places, column_places = (
                builder.gep(one, [builder.mul(at, ir.Constant(_I64, 2))])
                for one, at in ((row_places, row), (column_places, column))
            )
            nothing = ir.Constant(_V8, [NOTHING] * _LANES)
            for half in range(_HALVES):
                mask, index = (tile.load(one, half * _LANES, _V8) for one in (masks, bits))
                # Kept in registers from row to row: each would wait for what the one before wrote to memory.
                by_column = [tile.load(one, half * _LANES, _V8) for one in bests]
                for number in range(ROWS):
                    value, at = builder.and_(tile.sums[number][half], mask), number * COLUMNS + half * _LANES
                    places = [level * ROWS * COLUMNS + at for level in range(levels)]
                    before = [tile.load(lanes, place, _V8) for place in places]
                    of_row = builder.or_(value, index)
                    of_column = builder.or_(value, tile.splat(tile.load(own, number, _I32), _V8))
                    if within:
                        outside = tile.outside(row_places, number, column_places, half, reach)
                        of_row, of_column = (builder.select(outside, nothing, one) for one in (of_row, of_column))
                    for place, found in zip(places, tile.sorted_in(of_row, before), strict=True):
                        tile.store(found, lanes, place)
                    by_column = tile.sorted_in(of_column, by_column)
                for one, found in zip(bests, by_column, strict=True):
                    tile.store(found, one, half * _LANES)
            return context.get_dummy_value()

        return signature, write

    return take_tile
