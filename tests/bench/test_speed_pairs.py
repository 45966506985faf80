"""Distributions of inliers and the worth of the cheap test, by hand and on the made-up catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.pair_draw import DrawnPair, draw_pairs
from bench.speed import impostors, quick_looks
from engine.catalogue.catalog import Catalog
from engine.search.matcher import Matcher


@pytest.fixture(scope="module")
def setup(made_up_dir: Path, small_settings, shared_store: Path):
    matcher = Matcher(small_settings, shared_store, ranker="fusion", workers=1)
    index = matcher.index(Catalog.read(made_up_dir))
    return matcher, index, draw_pairs(index.catalog, 4, "all")


def test_distribution_by_hand() -> None:
    kinds = ["same encounter"] * 3 + ["same second"] * 2
    pairs = [DrawnPair("a", "b", kind, "w") for kind in kinds]
    true, false = impostors.distribution(pairs, np.array([0, 10, 20, 4, 4]))
    assert (true["kind"], true["pairs"], true["median"], true["most"]) == ("same encounter", 3, 10, 20)
    assert true["no_model"] == pytest.approx(1 / 3)
    assert true["counts"] == {"0": 1, "10": 1, "20": 1}
    assert (false["kind"], false["least"], false["p99"], false["no_model"]) == ("same second", 4, 4, 0)


def test_thresholds_by_hand() -> None:
    scores = np.r_[np.arange(100), np.zeros(50), np.full(50, 60)].astype(float)
    same = np.arange(200) < 100
    found = same & (np.arange(200) >= 50)
    record = quick_looks.judge(scores, same, found)
    at = {row["loss"]: row for row in record["at_loss"]}
    # Found pairs score 50 to 99: 5 % of 50 pairs are 2, so that the threshold is 52.
    assert at[0.05]["found_dropped"] == pytest.approx(2 / 50)
    assert at[0.05]["true_dropped"] == pytest.approx(52 / 100)
    assert at[0.05]["impostors_dropped"] == pytest.approx(0.5)
    assert at[0.01]["found_dropped"] <= 0.01
    nobody = quick_looks.judge(scores, same, np.zeros(200, bool))
    assert nobody["auc_found"] is None
    assert nobody["at_loss"] == []


def test_impostors_have_fewer_inliers(setup) -> None:
    matcher, index, pairs = setup
    figures = impostors.measure(index, pairs, matcher)
    kinds = {record["kind"]: record for record in figures["inliers"]}
    assert kinds["same encounter"]["median"] > kinds["any two"]["median"]
    assert sum(record["pairs"] for record in kinds.values()) == figures["pairs"] == len(pairs)
    text = impostors.render(figures)
    assert "any two" in text
    assert "found at 1 % false" in text


def test_the_quick_looks_are_measured_as_they_are_used(setup) -> None:
    matcher, index, pairs = setup
    figures = quick_looks.measure(index, pairs, matcher)
    assert figures["true"] + sum(not pair.same for pair in pairs) == figures["pairs"]
    assert [way["way"] for way in figures["ways"]] == ["skin", "keypoints", "both weighed"]
    rates = figures["pairs_per_second"]
    assert rates["keypoints"] > rates["lightglue"] > 0.5
    assert figures["ways"][1]["auc_found"] >= 0.5
    assert "impostors spared" in quick_looks.render(figures)
