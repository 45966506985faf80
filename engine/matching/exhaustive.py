"""A local score for every photograph of a catalogue: counts of mutual nearest neighbours, weighed by their ratios.

The candidate search asks of every photograph what the matchers later ask of a few: how many of the query's keypoints
have a mutual nearest neighbour in it, and by how much that neighbour beats the next. A pair's score is the sum of
``(1 - ratio)^2`` over its mutual nearest neighbours, with Lowe's ratio (IJCV 2004) as the larger of both directions;
nothing is verified.

Descriptors are quantised to integers of seven bits and a sign. A product of two of them, summed over the descriptor's
length, is an integer below 2^24, and so are all of its partial sums: float32, int8 with int32 sums, and int16 with
int32 sums give the same integer whatever the order of summation. A score is therefore the same to the bit whichever
processor computes it, alone or in company; the fastest exact product is chosen at run time (:func:`exact_kind`):

* "int16": tiles that are asked for the best and second best while they are made (:mod:`engine.matching.tiles`);
* "int8": torch's byte product of a few photographs at once, where the processor multiplies bytes, and one compiled pass
  over it;
* "float32": torch's product on a graphics card (or, for tests, on the processor), which finds the best there too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt

from engine.matching.tiles import NOTHING, ROWS, as_panels, best_two, stamp
from features.records import BoolArray, FloatArray

#: Bumped whenever the same descriptors would give other scores.
CODE_VERSION = 1

Codes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]
Packed = npt.NDArray[np.int32]
ProductKind = Literal["int16", "int8", "float32"]

#: A unit descriptor times this, rounded, is its code; components beyond 127 / SCALE are clipped.
SCALE = 256.0
#: Low bits of a packed similarity that hold the index.
_INDEX_BITS = 10
#: What codes are multiplied by before their product, so that it leaves these bits free.
_FREE = 32
#: Keypoints of a photograph that an index can name.
MAX_KEYPOINTS = 1 << _INDEX_BITS
#: Best keypoints of a photograph that take part: half of those that are matched give nearly all of the score.
SCORED_KEYPOINTS = 256
#: Photographs that are scored before torch is imported for the sake of its product: it is a third faster.
_WITHOUT_TORCH = 10_000
#: Columns of one byte product: with 256 rows of int32 half a megabyte, half of a second-level cache.
_BLOCK_COLUMNS = 512
#: Columns of one product on a graphics card: with 256 rows some hundred megabytes, copies included.
_DEVICE_COLUMNS = 65536


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

    def take(self, rows: Integers) -> DescriptorTable:
        """Return a copy of the photographs of (n,) rows, side by side in their order."""
        return DescriptorTable.of([self.codes[self.offsets[row] : self.offsets[row + 1]] for row in rows.tolist()])


def mutual_nn_scores(
    query: Codes, table: DescriptorTable, allowed: BoolArray | None = None, device: str | None = None
) -> FloatArray:
    """Score every photograph of a table against a query.

    Args:
        query: (n, D) int8 codes of the query's keypoints, at most :data:`MAX_KEYPOINTS`.
        table: the photographs.
        allowed: (N,) True for the photographs to score; None scores all.
        device: where torch makes the product, such as "cuda"; None leaves it to this processor. No score depends on it.

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
    wanted = np.ones(len(table), bool) if allowed is None else np.asarray(allowed, bool)
    scores[wanted] = 0.0
    if not len(query) or not len(table.codes):
        return scores
    kind = exact_kind(device) if needs_torch(int(wanted.sum()), device) else "int16"
    if kind == "int16":
        panels = as_panels(query.astype(np.int16) * np.int16(_FREE))
        numbers = table.codes.shape[1]
        _table_kernel()(table.codes.reshape(-1), table.offsets, wanted, panels.reshape(-1), len(query), numbers, scores)
        return scores
    best_of_block = _byte_product(query) if kind == "int8" else _device_product(query, device or "cpu")
    columns = _BLOCK_COLUMNS if kind == "int8" else _DEVICE_COLUMNS
    for first, last in _blocks(counts, wanted, columns):
        start, stop = table.offsets[first], table.offsets[last]
        if start < stop:
            starts = table.offsets[first : last + 1] - start
            block = np.zeros(last - first, np.float32)
            _scores_kernel(starts, *best_of_block(table.codes[start:stop], starts), block)
            mask = wanted[first:last]
            scores[first:last][mask] = block[mask]
    return scores


def needs_torch(photographs: int, device: str | None) -> bool:
    """Say whether torch makes the product with so many photographs, if it can.

    It takes a second to import, in which the product without it scores some thousands.
    """
    return device is not None or "torch" in sys.modules or photographs > _WITHOUT_TORCH


def _blocks(counts: Integers, wanted: BoolArray, most: int) -> list[tuple[int, int]]:
    """Cut the wanted photographs into runs of neighbours with about so many keypoints together."""
    blocks: list[tuple[int, int]] = []
    first, columns = -1, 0
    for position in range(len(counts)):
        if first >= 0 and (not wanted[position] or columns + counts[position] > most):
            blocks.append((first, position))
            first = -1
        if wanted[position]:
            if first < 0:
                first, columns = position, 0
            columns += int(counts[position])
    if first >= 0:
        blocks.append((first, len(counts)))
    return blocks


@cache
def exact_kind(device: str | None = None) -> ProductKind:
    """Return the fastest exact product: "float32" on a torch device, "int8" where this processor multiplies bytes."""
    import torch

    if device is not None:
        return "float32"
    vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    # torch's byte product is not part of its stable interface, so it has to prove itself; without byte instructions
    # it is a plain loop.
    if not vnni() or not hasattr(torch, "_int_mm"):
        return "int16"
    codes = torch.arange(-127, 128, dtype=torch.int32).repeat(1 + 64 * 128 // 255)[: 64 * 128].reshape(64, 128)
    try:
        exact = torch.equal(torch._int_mm(codes.char(), codes.char().T), codes @ codes.T)
    except RuntimeError:
        return "int16"
    return "int8" if exact else "int16"


#: Makes, of the (m, D) codes of photographs and where each starts, the packed best and second best of the query's
#: keypoints in each photograph, (photographs, n), and of the photographs' keypoints in the query, (m,).
_BestOfBlock = Callable[[Codes, Integers], tuple[Packed, Packed, Packed, Packed]]


def _byte_product(query: Codes) -> _BestOfBlock:
    import torch

    rows: Any = torch.from_numpy(np.ascontiguousarray(query))

    def best(codes: Codes, starts: Integers) -> tuple[Packed, Packed, Packed, Packed]:
        similarity = np.asarray(torch._int_mm(rows, torch.from_numpy(codes).T).numpy())
        of_query = [np.full((len(starts) - 1, len(query)), NOTHING, np.int32) for _ in range(2)]
        of_others = [np.full(len(codes), NOTHING, np.int32) for _ in range(2)]
        _best_of_block(similarity, starts, *of_query, *of_others)
        return of_query[0], of_query[1], of_others[0], of_others[1]

    return best


def _device_product(query: Codes, device: str) -> _BestOfBlock:
    """Return what multiplies and looks for the best on a torch device: single precision is exact here (see above)."""
    import torch

    rows = torch.from_numpy(np.ascontiguousarray(query)).to(device).float()
    low = MAX_KEYPOINTS - 1
    by_row = low - torch.arange(len(query), dtype=torch.int32, device=device)[:, None]

    def two(packed: Any, dimension: int) -> tuple[Packed, Packed]:
        """Return the largest two along a dimension, NOTHING where there are fewer."""
        count = min(2, packed.shape[dimension])
        found = packed.topk(count, dim=dimension).values.cpu().numpy().astype(np.int32)
        parts = np.split(found, count, axis=dimension)
        best = np.squeeze(parts[0], dimension)
        return best, np.squeeze(parts[1], dimension) if count == 2 else np.full_like(best, NOTHING)

    def best(codes: Codes, starts: Integers) -> tuple[Packed, Packed, Packed, Packed]:
        similarity = (rows @ torch.from_numpy(codes).to(device).float().T).to(torch.int32) << _INDEX_BITS
        of_others = two(similarity + by_row, 0)
        # Photographs side by side, as wide as the widest; a column too many is nobody's.
        places = np.arange(int(np.diff(starts).max(initial=1)))
        column = np.minimum(starts[:-1, None] + places, len(codes) - 1)
        held = torch.from_numpy(places < np.diff(starts)[:, None]).to(device)
        apart = similarity[:, torch.from_numpy(column).to(device)]
        packed = torch.where(held, apart + torch.from_numpy(low - places).to(device).int(), NOTHING)
        first, second = (np.ascontiguousarray(part.T) for part in two(packed, 2))
        return first, second, *of_others

    return best


@numba.njit(nogil=True)
def _photo_score(
    query_best: Packed, query_second: Packed, best: Packed, second: Packed, n_query: int, squared_norm: np.float32
) -> np.float32:  # pragma: no cover - compiled
    """Return a photograph's score from the packed best and second best of both sides."""
    last, total = np.int32(MAX_KEYPOINTS - 1), np.float32(0.0)
    for i in range(n_query):
        if query_best[i] == NOTHING:
            continue
        j = last - (query_best[i] & last)
        if last - (best[j] & last) != i:
            continue
        runner_up = max(query_second[i], second[j])
        ratio = np.float32(0.0)
        if runner_up != NOTHING:
            # For unit vectors the squared distance is 2 - 2 cosine; an arithmetic shift drops the index.
            nearest = max(squared_norm - np.float32(query_best[i] >> _INDEX_BITS), np.float32(0.0))
            ratio = np.sqrt(nearest / max(squared_norm - np.float32(runner_up >> _INDEX_BITS), np.float32(1.0)))
        margin = max(np.float32(1.0) - ratio, np.float32(0.0))
        total += margin * margin
    return total


@cache
def _table_kernel() -> Callable[..., int]:
    """Return the compiled loop over a table, from numba's cache on disk where tiles are as they were."""
    version = stamp()

    @numba.njit(cache=True, nogil=True)
    def score_table(
        codes: Codes,
        offsets: Integers,
        wanted: BoolArray,
        panels: npt.NDArray[np.int16],
        n_query: int,
        numbers: int,
        scores: FloatArray,
    ) -> int:
        widest, depth = 0, numbers + numbers % 2
        for k in range(len(wanted)):
            widest = max(widest, offsets[k + 1] - offsets[k])
        padded, columns = -(-widest // ROWS) * ROWS, len(panels) // depth
        rows = np.zeros(padded * depth, np.int16)
        of_rows, of_query = np.empty((2, padded), np.int32), np.empty((2, columns), np.int32)
        for k in range(len(wanted)):
            start, count = offsets[k], offsets[k + 1] - offsets[k]
            if not wanted[k] or not count:
                continue
            for i in range(count):
                for d in range(numbers):
                    rows[i * depth + d] = np.int16(codes[(start + i) * numbers + d]) * np.int16(_FREE)
            rows[count * depth : -(-count // ROWS) * ROWS * depth] = 0
            best_two(rows, count, panels, n_query, depth, _INDEX_BITS, of_rows, of_query)
            norm = np.float32(SCALE * SCALE)
            scores[k] = _photo_score(of_query[0], of_query[1], of_rows[0], of_rows[1], n_query, norm)
        return version

    return score_table


@numba.njit(cache=True, nogil=True)
def _scores_kernel(
    starts: Integers, query_best: Packed, query_second: Packed, best: Packed, second: Packed, scores: FloatArray
) -> None:  # pragma: no cover - compiled
    """Score each of a block's photographs, whose keypoints are ``starts[k]`` to ``starts[k + 1]`` of ``best``."""
    for k in range(len(scores)):
        if starts[k] < starts[k + 1]:
            own, runner_up = best[starts[k] : starts[k + 1]], second[starts[k] : starts[k + 1]]
            norm = np.float32(SCALE * SCALE)
            scores[k] = _photo_score(query_best[k], query_second[k], own, runner_up, query_best.shape[1], norm)


@numba.njit(cache=True, nogil=True)
def _best_of_block(
    similarity: npt.NDArray[np.int32],
    starts: Integers,
    query_best: Packed,
    query_second: Packed,
    best: Packed,
    second: Packed,
) -> None:  # pragma: no cover - compiled
    """Find best and second best in a block of similarities; photograph k's are the columns from ``starts[k]`` on."""
    nothing, shift, last = np.int32(NOTHING), np.int32(MAX_KEYPOINTS), np.int32(MAX_KEYPOINTS - 1)
    widest = 0
    for k in range(len(query_best)):
        widest = max(widest, starts[k + 1] - starts[k])
    packed = np.empty(widest, np.int32)
    for k in range(len(query_best)):
        width = starts[k + 1] - starts[k]
        column_best, column_second = best[starts[k] : starts[k + 1]], second[starts[k] : starts[k + 1]]
        # Loops without branches over 32-bit integers, which the compiler turns into vector instructions.
        for i in range(similarity.shape[0]):
            row, own, top, runner_up = similarity[i, starts[k] : starts[k + 1]], last - np.int32(i), nothing, nothing
            for j in range(width):
                value = np.int32(row[j]) * shift
                packed[j] = value + (last - np.int32(j))
                top = max(top, packed[j])
                by_row = value + own
                column_second[j] = max(column_second[j], min(column_best[j], by_row))
                column_best[j] = max(column_best[j], by_row)
            for j in range(width):
                runner_up = max(runner_up, packed[j] if packed[j] != top else nothing)
            query_best[k, i], query_second[k, i] = top, runner_up
