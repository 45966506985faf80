"""The cross-validated table: its figures by hand, its corrections, and a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.crossvalidated import (
    FIGURES,
    LOCAL,
    figures_of,
    holm,
    over_folds,
    per_query,
    render,
    run,
    tests_between,
    with_candidates,
)
from engine.catalogue.catalog import Catalog
from engine.search.matcher import Matcher

tests_between.__test__ = False  # type: ignore[attr-defined]


def lists(spec: dict[str, tuple[str, int, list[tuple[str, float]]]]) -> pd.DataFrame:
    """Make scored lists from query -> (individual, fold, [(candidate's individual, score)])."""
    rows = [
        {
            "query_id": query,
            "candidate_id": f"c{place}",
            "individual0": who,
            "individual1": other,
            "same": who == other,
            "fold": fold,
            "cosine": score,
        }
        for query, (who, fold, found) in spec.items()
        for place, (other, score) in enumerate(found)
    ]
    return pd.DataFrame(rows)


def test_a_list_by_hand() -> None:
    rows = lists({"t|q": ("a", 0, [("b", 0.9), ("b", 0.8), ("a", 0.7), ("c", 0.1), ("a", 0.2)])})
    judged = per_query(rows, "cosine", pd.Series({"t|q": 3}))
    one = judged.loc["t|q"]
    assert one["guess"] == "b"
    assert one["gain5"] == 1 / 2  # the individual counts once, however many photographs stand before it
    assert one["ap20"] == pytest.approx((1 / 3 + 2 / 4) / 3)  # one match is not in the list


def test_a_missing_individual_gains_nothing() -> None:
    rows = lists({"t|q": ("a", 0, [(name, 1.0 - i / 10) for i, name in enumerate("bcdefa")])})
    assert per_query(rows, "cosine", pd.Series({"t|q": 1})).loc["t|q", "gain5"] == 0.0


def test_spread_by_hand() -> None:
    found = over_folds(np.array([0.2, 0.4, 0.6]))
    assert found["mean"] == pytest.approx(0.4)
    assert found["sd"] == pytest.approx(0.2)
    assert found["high"] - found["mean"] == pytest.approx(4.302653 * 0.2 / np.sqrt(3), rel=1e-5)  # t of 2 degrees
    assert (found["least"], found["most"]) == (0.2, 0.6)
    with pytest.raises(ValueError, match="at least two"):
        over_folds(np.array([0.5]))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_tests_are_paired_by_whale() -> None:
    """Ten whales that all gain differ; the same gains in whales of which half lose do not."""
    base = pd.DataFrame({"individual": [f"w{n // 2}" for n in range(20)], "ap20": np.linspace(0.1, 0.5, 20)})
    better = base.assign(ap20=base["ap20"] + np.linspace(0.01, 0.1, 20))
    mixed = base.assign(ap20=base["ap20"] + np.tile([0.05, 0.05, -0.05, -0.05], 5) + np.linspace(0, 0.001, 20))
    found = {(t["first"], t["second"]): t for t in tests_between({"base": base, "better": better, "mixed": mixed})}
    assert len(found) == 3
    gain = found["base", "better"]
    assert gain["whales"] == 10
    assert gain["p"] < 0.01
    assert gain["p"] <= gain["p_holm"]
    assert gain["difference"]["mean"] == pytest.approx(0.055)
    assert found["base", "mixed"]["p"] > 0.1


def test_questions_are_told_apart_by_task_and_rule() -> None:
    spec = {}
    for n in range(8):
        for task in ("top: all years", "top: 2018 -> 2017", "lateral -> top", "top: 2017 within"):
            spec[f"{task}|q{n}"] = (f"w{n}", n % 2, [(f"w{n}", 0.9), ("other", 0.1 * n)])
    rows = lists(spec)
    raw = rows.assign(n_true=1.0, n_true_other_encounter=(rows["individual0"] < "w4").astype(float))
    records = figures_of({"all": rows, "other_encounter": rows}, raw, {"cosine": "cosine"})
    counts = {record["question"]: record["queries"] for record in records}
    assert counts == {
        "top, all years": 8,
        "top, all years, other encounters": 4,
        "top, later years → earlier": 8,
    }
    assert records[0]["methods"]["cosine"]["accuracy"]["mean"] == 1.0


def test_plain_score_joins_by_pair() -> None:
    rows = lists({"t|q": ("a", 0, [("b", 0.9), ("a", 0.8)])}).drop(columns=["individual1"])
    raw = pd.DataFrame(
        {
            "query_id": "t|q",
            "candidate_id": ["c1", "c0"],
            "individual1": ["a", "b"],
            "lightglue_inliers": [10, 4],
            "lightglue_plausibility": [0.5, 1.0],
            "lightglue_confidence_sum": [0.0, 0.0],
            "skin_inliers": [0, 0],
            "skin_plausibility": [1.0, 1.0],
            "skin_aligned_similarity": [np.nan, 0.0],
            "mutual_nn_inliers": [0, 0],
            "mutual_nn_plausibility": [np.nan, 1.0],
            "mutual_nn_confidence_sum": [0.0, 0.0],
        }
    )
    joined = with_candidates(rows, raw)
    assert joined["individual1"].tolist() == ["b", "a"]
    assert np.exp(joined[LOCAL]).tolist() == pytest.approx([1 + 4, 1 + 5])


def test_a_whole_run(made_up_dir: Path, small_settings, shared_store: Path) -> None:
    matcher = Matcher(small_settings, shared_store, "fusion", 1)
    figures = run(Catalog.read(made_up_dir), matcher, queries=12, folds=2, seed=0, say=lambda line: None)
    assert figures["questions"]
    for record in figures["questions"]:
        assert list(record["methods"]) == ["cosine", "local matching alone", "calibrated mean", "ranker"]
        assert len(record["tests"]) == 6
        for values in record["methods"].values():
            assert len(values["map20"]["folds"]) >= 2
            for name in FIGURES:
                assert 0 <= values[name]["least"] <= values[name]["mean"] <= values[name]["most"] <= 1
    json.dumps(figures)
    text = render(figures)
    assert all(name in text for name in FIGURES.values())
    assert "Wilcoxon" in text
