"""The process that matches, as the server hears it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from engine.review import worker


class _Engine:
    """Stands where the engine does, and answers at once."""

    made_with = "made up"

    def __init__(self, plan: Any) -> None:
        self.plan = plan

    def index(self, progress: Any = None) -> Any:
        return SimpleNamespace(failures=())

    def open_questions(self, images: Sequence[str]) -> list[str]:
        return list(images)

    def answer(self, images: Sequence[str]) -> None:
        """Answer."""

    def close(self) -> None:
        """Be done."""


def test_whoever_has_just_begun_soon_has_a_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ReviewEngine", _Engine)
    here, there = multiprocessing.Pipe()
    working = threading.Thread(target=worker._work, args=(there, None))
    working.start()
    here.send(("match", [f"q{number}" for number in range(20)]))
    answered: list[list[str]] = []
    done = []
    while sum(map(len, answered)) < 20:
        assert here.poll(20)
        kind, *rest = here.recv()
        if kind == "answered":
            answered += rest
        elif rest[0].get("stage") == "matching":
            done.append((rest[0]["done"], rest[0]["total"]))
    here.close()
    working.join(20)
    assert not working.is_alive()
    assert [len(batch) for batch in answered] == [1, 2, 4, 6, 6, 1]
    assert done[0] == (0, 20) and (1, 20) in done
