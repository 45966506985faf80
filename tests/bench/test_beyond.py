"""Protocols beyond the challenge: who is asked of what, and what the answers are worth by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench.metrics import auc

from bench.beyond import (
    _encounters,
    _firsts,
    _gains,
    _resampled,
    _verdicts,
    catalogue_size,
    photographs_per_individual,
    render,
    run,
    time_forward,
)
from bench.out_of_fold import OutOfFold
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.individuals import rank_individuals


@pytest.fixture(scope="module")
def index(made_up_dir: Path, judges: OutOfFold) -> CatalogIndex:
    """The made-up whales of two years; the first whale loses its first year and so is new in the second."""
    catalog = Catalog.read(made_up_dir)
    table = catalog.table
    gone = (table["individual_id"] == table["individual_id"].min()) & (table["date"].dt.year == 2017)
    return judges.matcher.index(catalog.subset(table["image_id"][~gone].tolist()))


class Recorder(OutOfFold):
    """Answers nothing new, and keeps what it was asked."""

    asked: list[tuple[list[str], list[str], Any]]

    def answers(self, queries: CatalogIndex, database: CatalogIndex, candidates: Any = None, top: int = 20) -> Any:
        self.asked.append((queries.catalog.ids, database.catalog.ids, candidates))
        return super().answers(queries, database, candidates, top)


@pytest.fixture
def recorder(judges: OutOfFold) -> Recorder:
    made = Recorder(judges.matcher, judges.rankers)
    object.__setattr__(made, "asked", [])
    return made


def answers_of(spec: dict[str, list[tuple[str, float]]]) -> pd.DataFrame:
    rows = [
        {"query_id": query, "image_id": f"{query}-{place}", "individual_id": who, "probability": p}
        for query, found in spec.items()
        for place, (who, p) in enumerate(found)
    ]
    return pd.DataFrame(rows)


def test_verdicts_by_hand() -> None:
    """Three known animals (right; wrong; called new) and one new one that is called new."""
    answers = answers_of(
        {
            "q1": [("a", 0.9)],
            "q2": [("x", 0.8), ("b", 0.6)],
            "q3": [("c", 0.1)],
            "q4": [("x", 0.2)],
        }
    )
    truth = pd.DataFrame(
        {"individual_id": ["a", "b", "c", "n"], "known": [True, True, True, False]}, index=["q1", "q2", "q3", "q4"]
    )
    found = _verdicts(truth, rank_individuals(answers), answers, seed=0)
    assert (found["known"], found["new"]) == (3, 1)
    assert found["top1_of_known"]["mean"] == pytest.approx(2 / 3)  # who it would be, whatever the verdict
    assert found["map5_of_known"]["mean"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["known_called_new"]["mean"] == pytest.approx(1 / 3)
    assert found["new_called_new"]["mean"] == 1.0
    assert found["balanced_accuracy"]["mean"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["auroc"]["mean"] == pytest.approx(2 / 3)  # 0.8 new stands above 0.1 and 0.15, below 0.9
    assert found["right_answer"]["mean"] == pytest.approx(2 / 4)


def test_a_question_without_candidates_is_called_new() -> None:
    answers = answers_of({"q1": [("a", 0.9)]})
    truth = pd.DataFrame({"individual_id": ["a", "n"], "known": [True, False]}, index=["q1", "q2"])
    found = _verdicts(truth, rank_individuals(answers), answers, seed=0)
    assert found["new_called_new"]["mean"] == 1.0
    assert found["auroc"]["mean"] == 1.0


def test_gains_count_places_of_individuals() -> None:
    ranked = rank_individuals(answers_of({"q1": [("a", 0.9), ("b", 0.5)], "q2": [(n, 0.5) for n in "cdefgh"]}))
    truth = pd.Series({"q1": "b", "q2": "h", "q3": "z"})
    assert _gains(ranked, truth).tolist() == [0.5, 0.0, 0.0]
    assert _firsts(ranked, pd.Series({"q1": "a", "q2": "h"})).tolist() == [1.0, 0.0]


def test_resampling_keeps_both_kinds_and_is_seeded() -> None:
    table = pd.DataFrame({"p_new": np.r_[np.linspace(0, 0.6, 12), 0.5, 0.9], "is_new": [False] * 12 + [True] * 2})
    groups = np.array([f"w{n}" for n in range(14)])

    def area(t: pd.DataFrame) -> float:
        return auc(t["p_new"].to_numpy(), t["is_new"].to_numpy())

    found = _resampled(table, groups, area, seed=1, n=200)
    assert found == _resampled(table, groups, area, seed=1, n=200)
    assert found.low < found.mean <= found.high <= 1.0


def test_encounters_take_individuals_in_turn() -> None:
    rows = [("a", f"a{n // 3}") for n in range(30)] + [("b", "b0"), ("c", "c0")]
    table = pd.DataFrame(rows, columns=["individual_id", "encounter_id"]).assign(
        image_id=lambda t: [f"i{n}" for n in t.index]
    )
    chosen = _encounters(table, 3, seed=0)
    assert sorted(name[0] for name in chosen) == ["a", "b", "c"]


def test_the_catalogue_of_time_forward_lies_before_the_questions(index: CatalogIndex, recorder: Recorder) -> None:
    found = time_forward(index, recorder, 6, seed=0)
    ((queries, database, _),) = recorder.asked
    year = index.catalog.table.set_index("image_id")["date"].dt.year
    assert set(year[queries]) == {2018}
    assert set(year[database]) == {2017}
    assert found["encounter"]["new"] >= 1
    assert found["encounter"]["known"] + found["encounter"]["new"] <= 6
    assert found["photograph"]["known"] >= found["encounter"]["known"]


def test_catalogues_grow_and_queries_stay(index: CatalogIndex, recorder: Recorder) -> None:
    by_k = photographs_per_individual(index, recorder, 4, seed=0)
    sizes = [record["database"] for record in by_k["records"]]
    assert sizes == sorted(sizes)
    assert len({tuple(queries) for queries, _, _ in recorder.asked}) == 1
    table = index.catalog.table.set_index("image_id")
    databases = [set(database) for _, database, _ in recorder.asked]
    for k, smaller, larger in zip((1, 2, 4), databases, databases[1:], strict=False):
        assert smaller <= larger
        assert table.loc[list(smaller), "individual_id"].value_counts().max() <= k
    for query in recorder.asked[0][0]:  # every query can be answered, from the smallest catalogue on
        row = table.loc[query]
        found = table.loc[sorted(databases[0])]
        assert (found["individual_id"] == row["individual_id"]).any()
        assert (found["encounter_id"] != row["encounter_id"]).all()
    assert all(candidates.exclude_encounter for _, _, candidates in recorder.asked)
    recorder.asked.clear()
    by_size = catalogue_size(index, recorder, 4, seed=3)
    if "left_out" not in by_size:
        assert [r["catalogued"] for r in by_size["records"]] == sorted(r["catalogued"] for r in by_size["records"])
    assert all(candidates.exclude_encounter for _, _, candidates in recorder.asked)


def test_a_whole_run_renders(index: CatalogIndex, judges: OutOfFold) -> None:
    figures = run(index, judges, 4, 0, lambda line: None)
    json.dumps(figures)
    text = render(figures)
    assert text.count("**") == 8
    assert "AUROC" in text
    one_year = index.subset([i for i in index.catalog.ids if index.catalog.row(i)["date"].year == 2018])
    alone = run(one_year, judges, 4, 0, lambda line: None)
    assert "there is one year only" in render(alone)
