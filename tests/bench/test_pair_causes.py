"""On which photographs true pairs are missed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.error_causes import Light
from bench.pair_causes import MEASURES, found_by_measure, measures_of, render
from bench.pair_draw import DrawnPair


def photographs(n: int) -> SimpleNamespace:
    names = [f"a{i}" for i in range(n)]
    plain = pd.DataFrame(
        {"length": np.linspace(100, 400, n), "sharpness": 0.5, "body_share": 0.6}, index=names, dtype=float
    )
    light = {name: Light(100.0 + i, -1.0 if i % 2 else 1.0) for i, name in enumerate(names)}
    return SimpleNamespace(plain=plain, marks=lambda name: float(int(name[1:]) % 3), light=light.__getitem__)


def test_each_pair_is_measured_by_its_worse_photograph() -> None:
    table = measures_of([DrawnPair("a0", "a9", "other year", "w")], photographs(10))
    row = table.iloc[0]
    assert (row["length"], row["length_ratio"], row["brightness"], row["light_gap"], row["marks"]) == (
        100.0,
        4.0,
        100.0,
        2.0,
        0.0,
    )


def test_the_worst_third_comes_first_and_lateral_pairs_take_no_part() -> None:
    n = 30
    pairs = [DrawnPair(f"a{i}", f"a{i}", "other year", f"w{i}") for i in range(n)]
    pairs += [DrawnPair("a0", "a1", "any two", f"x{i}") for i in range(200)]
    pairs += [DrawnPair("a0", "a1", "lateral and top", "w0"), DrawnPair("a0", "a1", "two, lateral and top", "w0")]
    # Only the larger photographs are found.
    scores = np.r_[[5.0 if i >= 20 else -5.0 for i in range(n)], np.linspace(-1, 1, 200), [9.0, 9.0]]
    records = {record["measure"]: record["thirds"] for record in found_by_measure(pairs, scores, photographs(n))}
    length = records[MEASURES["length"][0]]
    assert [third["found"]["mean"] for third in length] == [0.0, 0.0, 1.0]
    assert [third["pairs"] for third in length] == [10, 10, 10]
    assert length[0]["least"] == 100.0 and length[2]["most"] == pytest.approx(400.0)
    assert MEASURES["sharpness"][0] not in records, "what is the same everywhere explains nothing"
    text = render(found_by_measure(pairs, scores, photographs(n)))
    assert "| longer side of the smaller photograph, pixels | 0.00 (0.00–0.00) at 100 to " in text
    assert found_by_measure(pairs[:n], scores[:n], photographs(n)) == [], "no impostors, no rate"
