"""The process that does a review's matching, so that whoever waits for a page never waits for a network.

Messages go both ways through a pipe. What is looked at now is drawn before questions are matched, and questions are
matched before anything is drawn in advance. A killed process loses what it was at; started again, it goes on from what
the store and the review's file hold.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from engine.review.matching import EnginePlan, ReviewEngine
from engine.workers import start_process
from scarmatch.errors import ScarmatchError

logger = logging.getLogger(__name__)

#: Photographs asked at a time, at most: an answer is kept, and the page told, after so many. The first is asked alone,
#: so that somebody who has just begun can soon decide.
_BATCH = 6
_CLOSE_SECONDS = 3.0


@dataclass
class Work:
    """What the process is at, as the pages show it.

    Attributes:
        stage: in words, "" when there is nothing to do.
        done, total: of the stage.
        problem: why the last piece of work could not be done, "" if it could.
        made_with: what the answers depend on, "" until the process says so.
        skipped: photographs that could not be read, with the reasons.
        failed: pairs whose layers cannot be drawn, with the reasons.
    """

    stage: str = "starting"
    done: int = 0
    total: int = 0
    problem: str = ""
    made_with: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


class ReviewWorker:
    """The server's end: ask for answers and layers, and hear how far they are.

    Args:
        plan: what the engine is made from.
    """

    def __init__(self, plan: EnginePlan) -> None:
        self.plan = plan
        self.work = Work()
        self._asked: set[tuple[str, str]] = set()
        self._here, there = multiprocessing.Pipe()
        self._process = start_process(_work, (there, plan))
        there.close()

    def match(self, images: Sequence[str]) -> None:
        """Ask for the answers to photographs that have none yet."""
        self._send(("match", list(images)))

    def draw(self, query: str, image: str, now: bool = True) -> None:
        """Ask for the layers of a pair: before everything else, or ``now=False`` when nothing else is to be done."""
        if (query, image) not in self._asked or now:
            self._asked.add((query, image))
            self._send(("draw", query, image, now))

    def _send(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # it has ended: `hear` says so
            self._here.send(message)

    def hear(self) -> list[str]:
        """Take up what the process said, and return the photographs that were answered since."""
        answered: list[str] = []
        try:
            while self._here.poll():
                kind, *rest = self._here.recv()
                if kind == "answered":
                    answered += rest[0]
                elif kind == "failed":
                    self.work.failed[rest[0], rest[1]] = rest[2]
                else:
                    for name, value in rest[0].items():
                        setattr(self.work, name, value)
        except (EOFError, OSError):
            if self.work.stage:
                self.work.problem = self.work.problem or (
                    "the process that matches has ended, most likely because memory ran out: start the review again; "
                    "nothing that was decided or computed is lost"
                )
                self.work.stage = ""
        return answered

    def close(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join(_CLOSE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _Waiting:
    """What is to be done, in order."""

    def __init__(self) -> None:
        self.now: deque[tuple[str, str]] = deque()
        self.questions: deque[str] = deque()
        self.later: deque[tuple[str, str]] = deque()
        self.matched = 0

    def take(self, message: tuple[Any, ...]) -> None:
        if message[0] == "match":
            self.questions.extend(image for image in message[1] if image not in self.questions)
        elif message[3]:
            self.now.appendleft((message[1], message[2]))  # what was asked for last is looked at now
        else:
            self.later.append((message[1], message[2]))

    def __bool__(self) -> bool:
        return bool(self.now or self.questions or self.later)


def _work(pipe: Connection, plan: EnginePlan) -> None:
    """Do what the pipe asks for until it closes."""
    say = _Say(pipe)
    try:
        engine = ReviewEngine(plan)
        say(made_with=engine.made_with)
        say.index(engine)
    except (ScarmatchError, OSError) as error:
        say(problem=str(error), stage="")
        return
    waiting = _Waiting()
    with contextlib.closing(engine):
        while True:
            try:
                while pipe.poll(0 if waiting else None):
                    waiting.take(pipe.recv())
            except (EOFError, OSError):
                return
            _one_piece(waiting, engine, say)


class _Say:
    """Tells the server what the process is at; when the server is gone, nobody listens, and the loop ends."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, **work: Any) -> None:
        self.send("work", work)

    def send(self, *message: Any) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def index(self, engine: ReviewEngine) -> None:
        """Describe what is not described yet."""
        index = engine.index(lambda done, total: self(stage="reading photographs", done=done, total=total))
        self(stage="", skipped={one.image_id: one.reason for one in index.failures})


def _one_piece(waiting: _Waiting, engine: ReviewEngine, say: _Say) -> None:
    """Do one piece of the work that waits."""
    try:
        if waiting.now or (waiting.later and not waiting.questions):
            pair = (waiting.now or waiting.later).popleft()
            if not engine.layers_file(*pair).is_file():
                say(stage="drawing layers", done=0, total=len(waiting.now) + len(waiting.later) + 1)
                _draw(pair, engine, say)
        elif waiting.questions:
            _match(waiting, engine, say)
        if not waiting:
            say(stage="")
    except (ScarmatchError, OSError, KeyError) as error:
        logger.warning("%s", error)
        say(stage="", problem=str(error))


def _draw(pair: tuple[str, str], engine: ReviewEngine, say: _Say) -> None:
    try:
        engine.draw(*pair)
    except Exception as error:  # what goes wrong with one picture is said beside it, and stops nothing
        logger.warning("%s with %s: %s", *pair, error)
        say.send("failed", *pair, f"{type(error).__name__}: {error}")


def _match(waiting: _Waiting, engine: ReviewEngine, say: _Say) -> None:
    say.index(engine)
    total = waiting.matched + len(waiting.questions)
    say(stage="matching", done=waiting.matched, total=total)
    size = min(_BATCH, waiting.matched + 1, len(waiting.questions))
    batch = [waiting.questions.popleft() for _ in range(size)]
    fresh = engine.open_questions(batch)
    if fresh:
        engine.answer(fresh)
    waiting.matched += len(batch)
    say.send("answered", batch)
    say(stage="matching", done=waiting.matched, total=total)
    if not waiting.questions:
        waiting.matched = 0
