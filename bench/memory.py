"""The highest resident memory of a process."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def peak_mib() -> float:
    """Return this process's highest resident memory in MiB.

    Linux counts in ``ru_maxrss`` also what the parent held when it started the process, so ``VmHWM`` goes first.
    """
    return high_water_mib("self") or usage_mib(resource.RUSAGE_SELF)


def usage_mib(who: int) -> float:
    """Return ``ru_maxrss`` in MiB of this process, or of the largest of its children that ended."""
    return resource.getrusage(who).ru_maxrss / 1024


def high_water_mib(process: str) -> float:
    """Return a process's ``VmHWM`` in MiB, 0 where the system does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
