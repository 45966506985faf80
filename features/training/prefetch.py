"""Preparing samples in threads ahead of the network, in the order in which they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

#: A picture and its class.
Sample = tuple[npt.NDArray[np.float32], int]


def prefetch(
    make: Callable[..., Sample], arguments: Sequence[tuple[int, int]], batch: int, workers: int
) -> Iterator[list[Sample]]:
    """Yield ``make(*arguments[i])`` in order, ``batch`` at a time; threads keep two batches ready."""
    groups = [arguments[start : start + batch] for start in range(0, len(arguments), batch)]
    if workers < 1:
        for group in groups:
            yield [make(*one) for one in group]
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[list[Future[Sample]]] = deque()
        for group in groups:
            waiting.append([pool.submit(make, *one) for one in group])
            if len(waiting) > 2:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
