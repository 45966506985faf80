"""The measurement of the whole: its tasks, its grouping by individual and its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.accuracy import figures_of, render, run, tasks_of
from engine.catalogue.catalog import Catalog
from engine.search.matcher import Matcher


@pytest.fixture(scope="module")
def figures(made_up_dir: Path, small_settings, shared_store: Path) -> dict:
    settings = small_settings.with_option("shortlist.size", "12")
    matcher = Matcher(settings, shared_store, ranker="fusion", workers=1)
    return run(Catalog.read(made_up_dir), matcher, "all", n_queries=12, say=lambda line: None)


def test_tasks_ask_only_what_the_database_may_know(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    tasks = tasks_of(catalog, 12, seed=0)
    names = [task.name for task in tasks]
    assert len(names) == len(set(names)) >= 4
    for task in tasks:
        known = set(catalog.subset(task.database).table["individual_id"])
        assert set(catalog.subset(task.queries).table["individual_id"]) <= known


def test_every_task_rule_and_method_has_a_figure(figures: dict) -> None:
    records = pd.DataFrame(figures["accuracy"])
    assert set(records["rule"]) == {"all", "other_encounter"}
    counts = records.groupby(["task", "rule"])["method"].nunique()
    assert (counts == counts.iloc[0]).all()
    for interval in records["map20"]:
        assert 0 <= interval["low"] <= interval["mean"] <= interval["high"] <= 1
    cosine = records[records["method"] == "cosine"]
    assert all(gain["mean"] == 0 for gain in cosine["gain_over_cosine"])
    json.dumps(figures)
    assert render(figures).count("\n") > len(figures["accuracy"])


def test_average_precision_counts_matches_outside_the_list() -> None:
    """A query with two matches, of which the list holds one in first place, earns one half."""
    frame = pd.DataFrame(
        {
            "query_id": ["t|q", "t|q"],
            "candidate_id": ["a", "b"],
            "individual0": ["w", "w"],
            "same": [True, False],
            "cosine": [0.9, 0.1],
        }
    )
    raw = pd.DataFrame({"query_id": ["t|q"], "n_true": [2.0], "n_true_other_encounter": [0.0]})
    records = figures_of({"all": frame, "other_encounter": frame}, raw)
    first = next(r for r in records if r["rule"] == "all")
    assert first["map20"]["mean"] == pytest.approx(0.5)
    assert not [r for r in records if r["rule"] == "other_encounter" and r["queries"]]


def test_choice_of_queries_takes_individuals_in_turn(made_up_dir: Path) -> None:
    from engine.training.ranker_training import choose_queries

    catalog = Catalog.read(made_up_dir)
    chosen = catalog.subset(choose_queries(catalog, 6, seed=1)).table["individual_id"]
    assert chosen.nunique() == 6
    assert choose_queries(catalog, 6, seed=1) == choose_queries(catalog, 6, seed=1)
    assert np.all(catalog.table["individual_id"].value_counts() > 1)
