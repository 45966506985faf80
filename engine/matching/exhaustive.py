"""A local score for every photograph of a catalogue: counts of mutual nearest neighbours, weighed by their ratios.

The candidate search asks of every photograph what the matchers later ask of a few: how many of the query's keypoints
have a mutual nearest neighbour in it, and by how much that neighbour beats the next. A pair's score is the sum of
``(1 - ratio)^2`` over its mutual nearest neighbours, with Lowe's ratio (IJCV 2004) as the larger of both directions;
nothing is verified.

Descriptors are quantised to integers of seven bits and a sign. A product of two of them, summed over the descriptor's
length, is an integer below 2^24, and so are all of its partial sums: float32, bfloat16 inputs with float32 sums, and
int8 with int32 sums give the same integer whatever the order of summation. A score is therefore the same to the bit
whichever processor computes it, alone or in company; the fastest exact product is chosen at run time.

One product serves the query and a few photographs at once, small enough for its result to stay in the second-level
cache; one compiled pass over it finds best, second best and the mutual test in both directions. Similarity and index
are packed into one integer (similarity in the high bits, index reversed in the low ones), so that the best of a row or
column is a plain maximum and equal similarities go to the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from features.records import BoolArray, FloatArray

#: Bumped whenever the same descriptors would give other scores.
CODE_VERSION = 1

Codes = npt.NDArray[np.int8]

#: A unit descriptor times this, rounded, is its code; components beyond 127 / SCALE are clipped.
SCALE = 256.0
#: Low bits of a packed similarity that hold the index.
_INDEX_BITS = 10
#: Keypoints of a photograph that an index can name.
MAX_KEYPOINTS = 1 << _INDEX_BITS
#: Best keypoints of a photograph that take part: half of those that are matched give nearly all of the score.
SCORED_KEYPOINTS = 256
#: Columns of one product: with 256 rows of int32 half a megabyte, half of a second-level cache.
_BLOCK_COLUMNS = 512


def quantise(descriptors: FloatArray) -> Codes:
    """Return the (N, D) int8 codes of (N, D) unit descriptors.

    Raises:
        ValueError: the descriptors are so long that a product could leave the exact range (D above 1,000).
    """
    if descriptors.shape[1] > 1000:
        raise ValueError(f"descriptors of {descriptors.shape[1]} numbers: products of more than 1,000 are not exact")
    return np.clip(np.rint(descriptors * np.float32(SCALE)), -127, 127).astype(np.int8)


@dataclass(frozen=True, eq=False)
class DescriptorTable:
    """The quantised descriptors of many photographs, one photograph after the other.

    Attributes:
        codes: (T, D) int8, C-contiguous; may be a memory map.
        offsets: (N + 1,) int64: photograph k holds the rows ``offsets[k]`` to ``offsets[k + 1]``.
    """

    codes: Codes
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, photographs: Sequence[Codes]) -> DescriptorTable:
        """Join the (n, D) codes of photographs, each with at most :data:`MAX_KEYPOINTS` keypoints."""
        counts = [len(codes) for codes in photographs]
        # A photograph without keypoints does not know how long its descriptors would be.
        filled = [codes for codes in photographs if len(codes)] or [np.zeros((0, 1), np.int8)]
        return cls(np.ascontiguousarray(np.concatenate(filled)), np.cumsum([0, *counts], dtype=np.int64))


def mutual_nn_scores(query: Codes, table: DescriptorTable, allowed: BoolArray | None = None) -> FloatArray:
    """Score every photograph of a table against a query.

    Args:
        query: (n, D) int8 codes of the query's keypoints, at most :data:`MAX_KEYPOINTS`.
        table: the photographs.
        allowed: (N,) True for the photographs to score; None scores all.

    Returns:
        (N,) float32 sums of ``(1 - ratio)^2`` over mutual nearest neighbours; 0 without any, NaN where not allowed.

    Raises:
        ValueError: a photograph has more keypoints than an index can name.
    """
    counts = np.diff(table.offsets)
    largest = max(len(query), int(counts.max(initial=0)))
    if largest > MAX_KEYPOINTS:
        raise ValueError(f"{largest} keypoints in one photograph; at most {MAX_KEYPOINTS} can be compared")
    scores = np.full(len(table), np.nan, np.float32)
    wanted = np.ones(len(table), bool) if allowed is None else allowed
    scores[wanted] = 0.0
    if not len(query):
        return scores
    product = _Product(query)
    for first, last in _blocks(counts, wanted):
        start, stop = table.offsets[first], table.offsets[last]
        if start == stop:
            continue
        similarity = product.with_rows(table.codes[start:stop])
        block = np.zeros(last - first, np.float32)
        _score_block(similarity, table.offsets[first : last + 1] - start, np.float32(SCALE * SCALE), block)
        mask = wanted[first:last]
        scores[first:last][mask] = block[mask]
    return scores


def _blocks(counts: npt.NDArray[np.int64], wanted: BoolArray) -> list[tuple[int, int]]:
    """Cut the wanted photographs into runs of neighbours with about :data:`_BLOCK_COLUMNS` keypoints together."""
    blocks: list[tuple[int, int]] = []
    first, columns = -1, 0
    for position in range(len(counts)):
        if first >= 0 and (not wanted[position] or columns + counts[position] > _BLOCK_COLUMNS):
            blocks.append((first, position))
            first = -1
        if wanted[position]:
            if first < 0:
                first, columns = position, 0
            columns += int(counts[position])
    if first >= 0:
        blocks.append((first, len(counts)))
    return blocks


@lru_cache(maxsize=1)
def exact_kind() -> str:
    """Return the fastest exact product of this processor: "int8" where it multiplies bytes, otherwise "float32"."""
    import torch

    vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    # torch's byte product is not part of its stable interface, so it has to prove itself; without byte instructions
    # it is a plain loop.
    if not vnni() or not hasattr(torch, "_int_mm"):
        return "float32"
    codes = torch.arange(-127, 128, dtype=torch.int32).repeat(1 + 64 * 128 // 255)[: 64 * 128].reshape(64, 128)
    try:
        exact = torch.equal(torch._int_mm(codes.char(), codes.char().T), codes @ codes.T)
    except RuntimeError:
        return "float32"
    return "int8" if exact else "float32"


class _Product:
    """A query's codes, ready to be multiplied with others'."""

    def __init__(self, query: Codes, kind: str | None = None) -> None:
        import torch

        self._kind = kind or exact_kind()
        rows = torch.from_numpy(np.ascontiguousarray(query))
        self._rows: Any = rows if self._kind == "int8" else rows.float()

    def with_rows(self, codes: Codes) -> npt.NDArray[Any]:
        """Return the (n, m) similarities as exact integers, int32 or float32."""
        import torch

        others = torch.from_numpy(codes)
        if self._kind == "int8":
            return np.asarray(torch._int_mm(self._rows, others.T).numpy())
        return np.asarray(torch.mm(self._rows, others.float().T).numpy())


@numba.njit(cache=True, nogil=True)
def _score_block(
    similarity: npt.NDArray[Any], starts: npt.NDArray[np.int64], squared_norm: np.float32, scores: FloatArray
) -> None:  # pragma: no cover - compiled
    """Score each of a block's photographs; their columns are ``starts[k]`` to ``starts[k + 1]`` of the similarities."""
    lowest = np.int32(-2147483647)
    shift, last = np.int32(MAX_KEYPOINTS), np.int32(MAX_KEYPOINTS - 1)
    n_rows = similarity.shape[0]
    widest = 0
    for k in range(len(scores)):
        widest = max(widest, starts[k + 1] - starts[k])
    column_best, column_second = np.empty(widest, np.int32), np.empty(widest, np.int32)
    packed = np.empty(widest, np.int32)
    row_best, row_second = np.empty(n_rows, np.int32), np.empty(n_rows, np.int32)
    for k in range(len(scores)):
        width = starts[k + 1] - starts[k]
        column_best[:width] = lowest
        column_second[:width] = lowest
        # Loops without branches over 32-bit integers, which the compiler turns into vector instructions.
        for i in range(n_rows):
            row = similarity[i, starts[k] : starts[k + 1]]
            own = last - np.int32(i)
            best = lowest
            for j in range(width):
                value = np.int32(row[j]) * shift
                by_column = value + (last - np.int32(j))
                packed[j] = by_column
                best = max(best, by_column)
                by_row = value + own
                column_second[j] = max(column_second[j], min(column_best[j], by_row))
                column_best[j] = max(column_best[j], by_row)
            second = lowest
            for j in range(width):
                second = max(second, packed[j] if packed[j] != best else lowest)
            row_best[i], row_second[i] = best, second
        total = np.float32(0.0)
        for i in range(n_rows if width else 0):
            j = last - (row_best[i] & last)
            if last - (column_best[j] & last) != i:
                continue
            second = max(row_second[i], column_second[j])
            ratio = np.float32(0.0)
            if second != lowest:
                # For unit vectors the squared distance is 2 - 2 cosine; an arithmetic shift drops the index.
                nearest = max(squared_norm - np.float32(row_best[i] >> _INDEX_BITS), np.float32(0.0))
                ratio = np.sqrt(nearest / max(squared_norm - np.float32(second >> _INDEX_BITS), np.float32(1.0)))
            margin = max(np.float32(1.0) - ratio, np.float32(0.0))
            total += margin * margin
        scores[k] = total
