"""Typed figures come back from JSON as they were, and whatever does not fit is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.figures import Figures, FiguresError
from bench.results import ResultError, machine_info, new_result, read_result, write_result
from scarmatch.metrics import Interval


@dataclass(frozen=True)
class Part:
    name: str
    share: float
    good: bool


@dataclass(frozen=True)
class Some(Figures):
    count: int
    mean: Interval
    parts: tuple[Part, ...]
    by_name: dict[str, Interval]
    pair: tuple[str, int]
    missing: float | None


SOME = Some(3, Interval(0.5, 0.25, 0.75), (Part("a", float("nan"), True),), {"x": Interval(1, 0, 2)}, ("a", 2), None)


def test_there_and_back() -> None:
    back = Some.from_json(SOME.to_json())
    assert np.isnan(back.parts[0].share), "unknown, not zero"
    assert back.to_json() == SOME.to_json()
    assert isinstance(back.mean, Interval) and isinstance(back.pair, tuple)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": "3"}, "Some.count: holds '3', expected int"),
        ({"count": True}, "Some.count"),
        ({"mean": {"mean": 1.0}}, r"Some.mean: missing figures \['high', 'low'\]"),
        ({"more": 1}, r"unknown figures \['more'\]"),
        ({"parts": [{"name": "a", "share": "much", "good": True}]}, r"Some.parts\[0\].share"),
        ({"pair": ["a"]}, "2 values"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, words: str) -> None:
    with pytest.raises(FiguresError, match=words):
        Some.from_json(SOME.to_json() | change)


def test_a_result_holds_machine_and_protocol(tmp_path: Path) -> None:
    result = new_result("some", SOME, {"path": Path("x"), "sizes": (1, 2)}, {"seed": np.int64(3)})
    back = read_result(write_result(result, tmp_path), Some)
    assert back.figures.to_json() == SOME.to_json()
    assert (back.protocol, back.settings) == ({"seed": 3}, {"path": "x", "sizes": [1, 2]})
    assert back.machine == machine_info()
    assert back.cpu.endswith("cores")


def test_files_that_are_no_results_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    for text, words in (
        (None, "no such result"),
        ("{", "not JSON"),
        ("[]", "not list"),
        ('{"schema": 2}', "missing keys"),
    ):
        if text is not None:
            file.write_text(text)
        with pytest.raises(ResultError, match=words):
            read_result(file, Some)
    whole = write_result(new_result("some", SOME, {}, {}), tmp_path)
    whole.write_text(whole.read_text().replace('"schema": 2', '"schema": 1'))
    with pytest.raises(ResultError, match="schema 1"):
        read_result(whole, Some)
