"""Python's search for unreachable cycles, held back while a large catalogue is read."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Hold the collector back inside the block, and leave it as it was.

    A hundred thousand texts and tuples that stay are looked through again and again while they are made, which takes a
    sixth of the time, and none of them is garbage.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
