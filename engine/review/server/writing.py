"""Decisions of many requests, written together: nobody who looks at a page waits for the disk.

A disk takes tens of milliseconds until a decision is safe on it. While it works, further decisions gather, and go to it
together. Each request is answered when its decisions are on the disk, as if it had been alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from engine.review.decisions import PAIR_KINDS, Decision
from engine.review.session import Review
from scarmatch.errors import ScarmatchError

#: Kinds that can be checked without knowing what is written at the same moment.
_TOGETHER = (*PAIR_KINDS, "skip")


class Writing:
    """Writes the decisions of a review's requests, in a thread, in the order in which they came.

    Args:
        review: whose file is written; used in the event loop's thread alone.
    """

    def __init__(self, review: Review) -> None:
        self._review = review
        self._waiting: deque[tuple[Sequence[Decision], asyncio.Future[list[Decision]]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def decide(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Make decisions, all or none, as :meth:`engine.review.session.Review.decide` does."""
        future: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        self._waiting.append((decisions, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        while self._waiting:
            ready = []
            for decisions, future in self._next():
                try:
                    ready.append((self._review.ready(decisions), future))
                except ScarmatchError as error:
                    _end(future, error)
            rows = [row for part, _ in ready for row in part]
            try:
                written = await asyncio.to_thread(self._review.file.append, rows) if rows else []
                self._review.refresh()
            except Exception as error:  # a disk that is full: whoever asked is told
                for _, future in ready:
                    _end(future, error)
                continue
            for part, future in ready:
                own, written = written[: len(part)], written[len(part) :]
                _end(future, own)

    def _next(self) -> list[tuple[Sequence[Decision], asyncio.Future[list[Decision]]]]:
        """Return the requests to write now: one that gives names or takes back is alone, as later ones build on it."""
        taken = [self._waiting.popleft()]
        while _can_wait(taken[-1][0]) and self._waiting and _can_wait(self._waiting[0][0]):
            taken.append(self._waiting.popleft())
        return taken


def _can_wait(decisions: Sequence[Decision]) -> bool:
    return all(one.kind in _TOGETHER for one in decisions)


def _end(future: asyncio.Future[list[Decision]], outcome: list[Decision] | Exception) -> None:
    if future.done():  # nobody waits any more
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
