"""Decisions of many requests at once: written together, answered each alone, and in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'scarmatch[review]'")
from engine.review.decisions import Decision, ReviewError
from engine.review.server.writing import Writing
from engine.review.session import Review


def says(kind: str, *images: str, who: str = "Ada", name: str = "") -> Decision:
    return Decision(kind, who, images, name)


@pytest.fixture
def batches(review: Review, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Kinds of what was written together."""
    seen: list[list[str]] = []
    append = review.file.append

    def counted(decisions: Sequence[Decision]) -> list[Decision]:
        seen.append([one.kind for one in decisions])
        return append(decisions)

    monkeypatch.setattr(review.file, "append", counted)
    return seen


def decide(review: Review, *requests: list[Decision]) -> list[list[Decision] | BaseException]:
    async def at_once() -> list[list[Decision] | BaseException]:
        writing = Writing(review)
        return await asyncio.gather(*(writing.decide(one) for one in requests), return_exceptions=True)

    return asyncio.run(at_once())


def test_what_is_decided_at_once_goes_to_the_disk_together(review: Review, batches: list[list[str]]) -> None:
    told = decide(
        review,
        [says("different", "q1", "b1")],
        [says("different", "q2", "b1"), says("skip", "q2")],
        [says("same", "q1", "nobody")],
        [says("same", "q3", "c1", who="Ben")],
    )
    assert batches == [["different", "different", "skip", "same"]]
    refused = told.pop(2)
    assert isinstance(refused, ReviewError) and "nobody" in str(refused)
    rows = [[row.number for row in one] for one in told if isinstance(one, list)]
    assert rows == [[1], [2, 3], [4]]
    assert review.standing("q3").name == "C" and review.state.last == 4


def test_names_given_at_once_are_checked_one_after_the_other(review: Review, batches: list[list[str]]) -> None:
    told = decide(
        review,
        [says("new_individual", "q1", name="D")],
        [says("new_individual", "q2", name="D")],
        [says("same", "q3", "q1")],
    )
    assert batches == [["new_individual"], ["same"]]
    assert isinstance(told[1], ReviewError) and "taken" in str(told[1])
    assert review.state.name("q3") == "D" and review.state.name("q2") is None


def test_who_asks_is_told_that_the_disk_refused(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(decisions: Sequence[Decision]) -> list[Decision]:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(review.file, "append", full)
        assert [str(one) for one in decide(review, [says("skip", "q1")], [says("skip", "q2")])] == [
            "no space left on device"
        ] * 2
    assert isinstance(decide(review, [says("skip", "q1")])[0], list)


def test_who_reads_does_not_wait_for_who_writes(review: Review) -> None:
    with review.file._writing():
        review.file._insert(says("skip", "q1"))
        review.refresh()
        assert review.file.last() == 0 and review.file.decisions() == []
    assert review.file.last() == 1
