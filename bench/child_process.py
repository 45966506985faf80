"""What a Python that bench starts is given: the packages that this one has."""

from __future__ import annotations

import os
import sys


def environment() -> dict[str, str]:
    """Return this process's environment, with its packages in their order, installed ones or those beside bench."""
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
