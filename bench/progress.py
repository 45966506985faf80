"""How a measurement tells what it is doing: line by line on standard error, since standard output has the tables."""

from __future__ import annotations

import sys
from collections.abc import Callable

Say = Callable[[str], None]


def say(line: str) -> None:
    """Print a line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)
