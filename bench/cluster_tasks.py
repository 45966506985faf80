"""How well several worker processes of a cluster share work that computes, and waits as for a network."""

from __future__ import annotations

import time

from bench.progress import Say
from engine.cluster.cluster import Cluster, ClusterError

#: Seconds that a task computes and waits, and tasks for each worker.
COMPUTES, WAITS = 0.02, 0.08
_TASKS = 40
#: Worker processes.
COUNTS = (1, 2, 4)


def no_state() -> None:
    """Return what these tasks need."""


def work(state: None, number: int) -> int:
    """Compute for a while and wait for a while."""
    until = time.thread_time() + COMPUTES
    while time.thread_time() < until:
        number += 1
    time.sleep(WAITS)
    return number


def efficiency(say: Say) -> dict[str, float]:
    """Return by number of workers what share of their time they were of use, against one; empty without dask."""
    rates: dict[int, float] = {}
    for count in COUNTS:
        try:
            cluster = Cluster(f"local:{count}")
        except ClusterError as error:
            say(f"no cluster: {error}")
            return {}
        try:
            pool = cluster.pool(no_state)
            list(pool.run(work, range(4 * count)))  # every worker imports what it needs
            started = time.perf_counter()
            list(pool.run(work, range(_TASKS * count)))
            rates[count] = _TASKS * count / (time.perf_counter() - started)
        finally:
            cluster.close()
        say(f"{count} workers: {rates[count]:.1f} tasks/s")
    return {str(count): rate / (count * rates[COUNTS[0]]) for count, rate in rates.items()}
