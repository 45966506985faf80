"""The median of thousands of short lists (a kernel for :mod:`engine.geometry.ransac`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from engine.geometry.arrays import Floats

# Bins in which the values about a median are looked for.
_BINS = 64


@njit(error_model="numpy")
def _values_about_median(values: Floats) -> tuple[int, int]:
    """Move the values about the median to the front; return how many they are and how many lie below them.

    Counting in bins needs no comparison whose outcome a processor would have to guess, which selecting does.
    """
    n, low, high = len(values), values[0], values[0]
    for i in range(n):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    if not high - low > 1e-30:
        return n, 0
    counts, scale = np.zeros(_BINS + 1, np.int64), np.float32(_BINS) / (high - low)
    for i in range(n):
        counts[int((values[i] - low) * scale)] += 1
    first, before = 0, 0
    while before + counts[first] <= (n - 1) // 2:
        before += counts[first]
        first += 1
    last, most = first, before + counts[first]
    while most <= n // 2:
        last += 1
        most += counts[last]
    count = 0
    for i in range(n):
        where = int((values[i] - low) * scale)
        values[count] = values[i]
        count += int((where >= first) & (where <= last))
    return count, before


@njit(error_model="numpy")
def median(values: Floats) -> float:
    """Return the median of a non-empty finite array, which is spoilt (Hoare's selection among those about it)."""
    n = len(values)
    count, before = _values_about_median(values)
    low, high, middle = 0, count - 1, n // 2 - before
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            break
    if n % 2:
        return float(values[middle])
    below = values[0]
    for k in range(1, middle):
        below = max(below, values[k])
    return 0.5 * (float(below) + float(values[middle]))
