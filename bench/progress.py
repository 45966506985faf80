"""How a measurement tells what it is doing: line by line on standard error, since standard output has the tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]
#: Seconds between two lines of one piece of work.
_PAUSE = 10.0


def say(line: str) -> None:
    """Print a line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)


class Progress:
    """Tells now and then how much of a long piece of work is done (what ``progress`` of the engine's API takes)."""

    def __init__(self, title: str, say: Say = say) -> None:
        self._title, self._say = title, say
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` are done."""
        now = time.monotonic()
        if now - self._last >= _PAUSE:
            self._last = now
            self._say(f"{self._title}: {done:,} of {total:,}")
