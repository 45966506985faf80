"""The global descriptors of a large catalogue: an exact search that reads one byte a number instead of four.

A vector x is kept twice: as it is, and as codes c of one byte with a scale s of its own, x = s c + e. A query q has
codes of two bytes, q = t d + f, so that products c d are sums of whole numbers and the same on every processor. By
Cauchy and Schwarz

    |x q - s t c d|  <=  |s c| |f| + |e| |q|,

which the search knows, as it keeps the norms of s c and e. Whatever could be among the best by these bounds is read as
it is and multiplied in single precision, in order: the best are those of a search that reads everything, ties included
(as in the VA-file: Weber, Schek and Blott, VLDB 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

from engine.matching.exact_neighbours import product
from features.records import BoolArray, FloatArray
from features.store.segments import Digests, Rows, Segment, append, for_each, placed, read_segments

Codes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int32]

#: Largest code of a vector's number.
_LARGEST = 127
#: A code's product with a query's, summed over the vector, stays below this.
_INT32 = 2**31 - 1
#: Codes that are looked through before their pages leave the process: 32 MB.
_AT_ONCE = 16_384
#: Vectors that are read before their pages leave the process.
_ROWS_AT_ONCE = 32
#: Rounding of a product in single precision, summed in order, as a share of the norms, for each number of the vector.
_ROUNDING = 2.0**-23


def coded(vectors: FloatArray) -> dict[str, npt.NDArray[np.generic]]:
    """Return what a segment keeps of (n, D) vectors: ``exact``, ``codes``, ``scale``, and the norms of codes and rest.

    Norms are rounded up, so that bounds hold.
    """
    exact = np.ascontiguousarray(vectors, np.float32)
    codes = np.empty(exact.shape, np.int8)
    scale, norm, rest = (np.zeros(len(exact), np.float32) for _ in range(3))
    _code(exact, codes, scale, norm, rest)
    for values in (norm, rest):
        np.nextafter(values, np.float32(np.inf), out=values)
    return {"exact": exact, "codes": codes, "scale": scale, "norm": norm, "rest": rest}


def search_code(query: FloatArray) -> tuple[npt.NDArray[np.int16], float, float]:
    """Return a query's (D,) codes, their scale, and the norm of what they leave out."""
    largest = min(_INT32 // (_LARGEST * max(1, len(query))), 2**15 - 1)
    whole = query.astype(np.float64)
    scale = float(np.abs(whole).max(initial=0.0)) / largest or 1.0
    codes = np.rint(whole / scale).astype(np.int16)
    return codes, scale, float(np.linalg.norm(whole - codes * scale))


@dataclass(frozen=True, eq=False)
class Nearest:
    """The best of a search.

    Attributes:
        rows: (k,) the best, best first, ties by row.
        scores: (k,) float32 their products with the query.
        mean, spread: of the coded products of all that were allowed.
        read: how many were read as they are.
    """

    rows: Rows
    scores: FloatArray
    mean: float
    spread: float
    read: int


class VectorFiles:
    """Global descriptors by the digests of photographs, in a folder beside the store.

    Args:
        folder: where its segments lie, or will.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments: list[Segment] = read_segments(folder)

    def missing(self, digests: Digests) -> BoolArray:
        """Return the (N,) mask of the photographs that no segment has."""
        return placed(self.segments, digests)[0] < 0

    def add(self, digests: Digests, vectors: FloatArray) -> None:
        """Write further photographs' (n, D) vectors, and join small segments.

        Raises:
            OSError: the folder cannot be written.
        """
        if not len(digests):
            return
        self.segments = append(self.folder, {"digests": digests, **coded(vectors)})

    def view(self, digests: Digests) -> VectorView:
        """Return the photographs of a catalogue, in its order.

        Raises:
            KeyError: some of them are missing.
        """
        return VectorView(self.segments, digests)


class VectorView:
    """The vectors of a catalogue's photographs, in its order.

    Args:
        segments: of :class:`VectorFiles`.
        digests: (N, 2) of the photographs.

    Raises:
        KeyError: some of them are missing.
    """

    def __init__(self, segments: Sequence[Segment], digests: Digests) -> None:
        self._segments = segments
        self._segment, self._place = placed(segments, digests)
        if (self._segment < 0).any():
            raise KeyError(f"{int((self._segment < 0).sum())} photographs have no vector here")
        self._rows = [np.flatnonzero(self._segment == number) for number in range(len(segments))]

    def __len__(self) -> int:
        return len(self._segment)

    def take(self, rows: Rows) -> FloatArray:
        """Return the (n, D) float32 vectors of these photographs."""
        numbers = self._segments[0].arrays["exact"].shape[1] if self._segments else 0
        found = np.empty((len(rows), numbers), np.float32)
        for number, segment in enumerate(self._segments):
            here = np.flatnonzero(self._segment[rows] == number)
            places = self._place[rows[here]]
            order = np.argsort(places)  # as they lie on the disk
            for start in range(0, len(order), _ROWS_AT_ONCE):
                part = order[start : start + _ROWS_AT_ONCE]
                found[here[part]] = segment.arrays["exact"][places[part]]
                # The system may map two megabytes around each.
                segment.release("exact")
        return found

    def scores(self, query: FloatArray, rows: Rows) -> FloatArray:
        """Return the (n,) float32 products of a query with these photographs, each summed in order."""
        return self.products([query], rows)[0]

    def products(self, queries: Sequence[FloatArray] | FloatArray, rows: Rows) -> list[FloatArray]:
        """Return :meth:`scores` of several queries, for which the photographs' vectors are read once."""
        vectors = self.take(rows)
        return [_products(np.ascontiguousarray(query, np.float32), vectors) for query in queries]

    def nearest(self, query: FloatArray, count: int, allowed: BoolArray, threads: int = 1) -> Nearest:
        """Return the best ``count`` of the allowed photographs by their product with a query.

        Args:
            query: (D,) float32.
            count: at most so many.
            allowed: (N,) bool; the others are not looked at.
            threads: that look through segments; the answer does not depend on them.
        """
        codes, scale, left_out = search_code(query)
        length = float(np.linalg.norm(query.astype(np.float64)))
        near, slack = np.empty(len(self)), np.empty(len(self))

        def scan(number: int) -> None:
            segment, here = self._segments[number], self._rows[number]
            here = here[allowed[here]]
            places, arrays = self._place[here], segment.arrays
            sums = np.empty(len(here), np.int32)
            for start in range(0, len(here), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                _scan(arrays["codes"], codes, places[part], sums[part])
                segment.release("codes")
            steps, norm, rest = (arrays[name][places].astype(np.float64) for name in ("scale", "norm", "rest"))
            near[here] = steps * scale * sums
            rounding = len(query) * _ROUNDING * (norm + rest) * length
            slack[here] = norm * left_out + rest * length + rounding

        for_each(scan, self._segments, threads)
        rows = np.flatnonzero(allowed)
        near, slack = near[rows], slack[rows]
        return self._best(query, count, rows, near, slack)

    def _best(
        self,
        query: FloatArray,
        count: int,
        rows: Rows,
        near: npt.NDArray[np.float64],
        slack: npt.NDArray[np.float64],
    ) -> Nearest:
        mean, spread = (float(near.mean()), float(near.std())) if len(near) else (0.0, 0.0)
        if len(rows) > count > 0:
            sure = np.partition(near - slack, len(rows) - count)[len(rows) - count]
            rows = rows[near + slack >= sure]
        scores = self.scores(query, rows)
        order = np.lexsort((rows, -scores))[:count]
        return Nearest(rows[order], scores[order], mean, spread, len(rows))


@numba.njit(cache=True, nogil=True)
def _code(
    vectors: FloatArray, codes: Codes, scale: FloatArray, norm: FloatArray, rest: FloatArray
) -> None:  # pragma: no cover - compiled
    """Write the codes of each vector, their scale, and the norms of what they say and of what they leave out."""
    for row in range(len(vectors)):
        own, largest = vectors[row], np.float32(0.0)
        for k in range(len(own)):
            largest = max(largest, abs(own[k]))
        step = np.float32(largest / np.float32(_LARGEST))
        scale[row] = step
        said, left = 0.0, 0.0
        for k in range(len(own)):
            code = 0.0
            if step > 0:
                code = min(max(np.rint(np.float64(own[k]) / np.float64(step)), -_LARGEST), _LARGEST)
            codes[row, k] = np.int8(code)
            back = code * np.float64(step)
            said += back * back
            left += (np.float64(own[k]) - back) ** 2
        norm[row], rest[row] = np.sqrt(said), np.sqrt(left)


@numba.njit(cache=True, nogil=True)
def _scan(
    codes: Codes, query: npt.NDArray[np.int16], rows: Rows, sums: Integers
) -> None:  # pragma: no cover - compiled
    """Write the sum of products of a query's codes with those of each row."""
    numbers = codes.shape[1]
    for place in range(len(rows)):
        own, total = codes[rows[place]], np.int32(0)
        for k in range(numbers):
            total += np.int32(own[k]) * np.int32(query[k])
        sums[place] = total


@numba.njit(cache=True, nogil=True)
def _products(query: FloatArray, vectors: FloatArray) -> FloatArray:  # pragma: no cover - compiled
    found = np.empty(len(vectors), np.float32)
    for row in range(len(vectors)):
        found[row] = product(query, vectors[row])
    return found
