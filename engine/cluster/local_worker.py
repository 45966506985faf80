"""A worker process of a cluster of one's own; ends with the program that started it, whatever ends that.

``python -m engine.cluster.local_worker tcp://127.0.0.1:PORT``, with a pipe for standard input that its owner keeps
open. Dask's own way to start processes imports the program's main module again, which runs a script without a guard
twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

#: Seconds without a scheduler after which a worker ends.
PATIENCE = 10.0


def main(scheduler: str) -> None:
    """Work for a scheduler until it, or the owner of standard input, is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of a terminal's; the first alone must act
    threading.Thread(target=_end_with_the_owner, name="end-with-the-program", daemon=True).start()
    asyncio.run(_work(scheduler))


async def _work(scheduler: str) -> None:
    from distributed import Worker

    options = {"nthreads": 1, "dashboard": False, "dashboard_address": None, "memory_limit": 0}
    async with Worker(scheduler, death_timeout=PATIENCE, **options) as worker:
        await worker.finished()


def _end_with_the_owner() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
