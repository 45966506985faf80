"""Known or new: who leaves the database, thresholds chosen on other whales, and the whole on made-up whales."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import new_individual as bench
from bench.new_individual import NEW_INDIVIDUAL, Decision, draw_question
from bench.out_of_fold import OutOfFold
from engine.catalogue.catalog import Catalog, CatalogError
from engine.search.matcher import Matcher, MatcherSettings


def test_a_third_of_the_queries_lose_their_whale(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    question = draw_question(catalog, 18, "all", seed=0)
    who = catalog.table.set_index("image_id")["individual_id"].reindex(question.queries)
    assert 0.2 < who.isin(question.new).mean() < 0.5
    assert draw_question(catalog, 18, "all", seed=0) == question
    assert draw_question(catalog, 18, "all", seed=1).queries != question.queries
    alone = Catalog(catalog.table.drop_duplicates("individual_id"), catalog.root)
    with pytest.raises(CatalogError, match="0 whales"):
        draw_question(alone, 18, "all", seed=0)


def made_decision(quality: float, seed: int = 0) -> tuple[Decision, list[str], np.ndarray]:
    """Return a decision over 60 queries whose evidence of "new" is right to a degree, the truth and the whales."""
    rng = np.random.default_rng(seed)
    who = np.array([f"w{i % 20:02d}" for i in range(60)])
    is_new = np.isin(who, [f"w{i:02d}" for i in range(7)])
    evidence = quality * is_new + rng.normal(0, 0.3, 60)
    truth = [NEW_INDIVIDUAL if new else name for new, name in zip(is_new, who, strict=True)]

    def predictions(threshold: float) -> list[list[str]]:
        first = evidence > threshold
        return [[NEW_INDIVIDUAL, name] if new else [name, "x"] for new, name in zip(first, who, strict=True)]

    return Decision(evidence, predictions), truth, who


def test_a_threshold_is_searched_on_other_whales() -> None:
    decision, truth, who = made_decision(2.0)
    is_new = np.array([label == NEW_INDIVIDUAL for label in truth])
    bad = bench._at(decision, 5.0, truth)
    assert bad["gain"].mean() == pytest.approx((~is_new).mean())
    earned, chosen = bench._on_folds(decision, truth, who, seed=0)
    assert earned["gain"].mean() > 0.95 and earned["right"].mean() > 0.95
    assert all(0.3 < threshold < 1.7 for threshold in chosen)
    area = bench._auroc(decision.evidence, is_new, who, 0)
    assert area["low"] <= area["mean"] <= area["high"] <= 1 and area["mean"] > 0.98
    blind, truth, who = made_decision(0.0)
    is_new = np.array([label == NEW_INDIVIDUAL for label in truth])
    guess, _ = bench._on_folds(blind, truth, who, seed=0)
    fair = bench._balanced(guess["right"], is_new, who, 0)
    assert fair["mean"] < 0.72, "no threshold helps where the evidence says nothing"


def test_the_engines_threshold_is_odds_given_beforehand() -> None:
    rows = [("q", "1", "a", 0.6), ("p", "2", "b", 0.1)]
    answers = pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability"])
    decision = bench.by_engine(answers, ["q", "p", "nobody"])
    assert decision.evidence[:2] == pytest.approx([np.log(0.4 / 0.6), np.log(9.0)])
    assert decision.predictions(0.0) == [["a", NEW_INDIVIDUAL], [NEW_INDIVIDUAL, "b"], [NEW_INDIVIDUAL]]
    assert decision.predictions(-1.0)[0] == [NEW_INDIVIDUAL, "a"]
    assert decision.predictions(3.0)[1] == ["b", NEW_INDIVIDUAL]


def test_the_whole_on_made_up_whales(made_up_dir: Path, small_settings: MatcherSettings, shared_store: Path) -> None:
    matcher = Matcher(small_settings, shared_store, ranker="fusion", workers=1)
    figures = bench.run(Catalog.read(made_up_dir), OutOfFold(matcher, ("fusion",)), 9, 0, lambda line: None)
    records = pd.DataFrame(figures["decisions"])
    assert set(records["rule"]) == set(bench.RULES)
    assert (records.groupby("rule")["decision"].nunique() == 4).all()
    for name in ("auroc", "balanced_accuracy", "map5"):
        assert all(0 <= r["low"] <= r["mean"] <= r["high"] <= 1 for r in records[name])
    assert all(0 < r["new"] < r["queries"] for r in figures["decisions"])
    json.dumps(figures)
    assert bench.render(figures).count("\n| ") == 8
