"""The yardstick of local evidence: what is drawn, how it is scored, and the list form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.pair_draw import PARTS, DrawnPair, draw_pairs, part_of
from bench.pair_page import chosen_pairs, draw_pair_page
from bench.pairs import figures_of, folds_of, keypoint_score, main
from engine.catalogue.catalog import Catalog


def test_pairs_are_what_they_are_called(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    pairs = draw_pairs(catalog, 8, "all", seed=1)
    assert pairs == draw_pairs(catalog, 8, "all", seed=1)
    kinds = {pair.kind for pair in pairs}
    assert {"same encounter", "other encounter, same year", "other year", "any two"} <= kinds
    for pair in pairs:
        a, b = catalog.row(pair.image_id0), catalog.row(pair.image_id1)
        assert (a["individual_id"] == b["individual_id"]) == pair.same
        assert pair.individual == a["individual_id"]
        if pair.kind == "same encounter":
            assert a["encounter_id"] == b["encounter_id"]
        if pair.kind == "other encounter, same year":
            assert a["encounter_id"] != b["encounter_id"]
            assert a["date"].year == b["date"].year
        if pair.kind == "other year":
            assert a["date"].year != b["date"].year
        if pair.kind == "lateral and top":
            assert {a["viewpoint"] == "top", b["viewpoint"] == "top"} == {True, False}
    keys = [frozenset((pair.image_id0, pair.image_id1)) for pair in pairs]
    for kind in kinds:
        of_kind = [key for key, pair in zip(keys, pairs, strict=True) if pair.kind == kind]
        assert len(of_kind) == len(set(of_kind))


def test_no_whale_is_in_both_parts(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    who = {part: {pair.individual for pair in draw_pairs(catalog, 8, part)} for part in PARTS[:2]}
    assert who["tuning"] and who["test"]
    assert not who["tuning"] & who["test"]
    assert all(part_of(name) == part for part, names in who.items() for name in names)


def test_figures_by_hand() -> None:
    true = [DrawnPair("a", "b", "other year", f"w{i}") for i in range(4)]
    impostors = [DrawnPair("c", "d", "any two", f"x{i}") for i in range(10)]
    scores = np.array([5.0, 9.5, 20.0, 30.0, *range(1, 11)])
    record = figures_of([*true, *impostors], scores)[0]
    # Of 10 impostors none may lie above the limit: it is the highest, 10; two of four true pairs are above it.
    assert record["tpr_at_0.01"]["mean"] == pytest.approx(0.5)
    # Pairs won: 5 beats 4 and ties one (4.5), 9.5 beats 9, the others all 10: 33.5 of 40.
    assert record["auc"] == pytest.approx(33.5 / 40)


def test_keypoint_score_orders_by_plausible_agreement_first() -> None:
    numbers = pd.DataFrame(
        {
            "lightglue_inliers": [0, 5, 50, 50],
            "lightglue_plausibility": [0.0, 1.0, 0.01, 1.0],
            "lightglue_confidence_sum": [90.0, 1.0, 9.0, 9.0],
        }
    )
    assert keypoint_score(numbers).argsort().tolist() == [0, 2, 1, 3]


def test_all_pairs_of_a_whale_are_in_one_fold() -> None:
    pairs = [DrawnPair(f"a{i}", f"b{i}", "other year", f"w{i % 40}") for i in range(200)]
    folds = folds_of(pairs)
    assert set(folds) == set(range(5))
    by_whale = {pair.individual: set() for pair in pairs}
    for pair, fold in zip(pairs, folds, strict=True):
        by_whale[pair.individual].add(int(fold))
    assert all(len(found) == 1 for found in by_whale.values())


def test_a_list_of_pairs_is_scored(made_up_dir: Path, shared_store: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    same = next(p for p in draw_pairs(catalog, 4, "all") if p.kind == "same encounter")
    other = next(p for p in draw_pairs(catalog, 4, "all") if p.kind == "any two")
    given = pd.DataFrame(
        {
            "image_id0": [other.image_id0, same.image_id0],
            "image_id1": [other.image_id1, same.image_id1],
            "note": ["x", "y"],
        }
    )
    given.to_csv(tmp_path / "pairs.csv", index=False)
    quick = ["describe.descriptor.model=efficientnet_lite0", "describe.descriptor.mirror=false"]
    quick += ["describe.keypoints.max_keypoints=128", "describe.keypoints.long_side=384"]
    arguments = [f"--catalog={made_up_dir}", f"--pairs={tmp_path / 'pairs.csv'}", f"--output={tmp_path / 'scores.csv'}"]
    assert main([*arguments, f"--store={shared_store}", "--workers=1", *(f"--set={item}" for item in quick)]) == 0
    scores = pd.read_csv(tmp_path / "scores.csv", dtype={"image_id0": str, "image_id1": str})
    assert list(scores.columns) == ["image_id0", "image_id1", "note", "score"]
    assert scores["note"].tolist() == ["x", "y"]
    assert scores["score"][1] > scores["score"][0]


def test_the_surest_the_missed_and_the_most_wrong_are_chosen() -> None:
    kinds = ["other year"] * 4 + ["any two"] * 200 + ["lateral and top"] + ["two, lateral and top"] * 2
    pairs = [DrawnPair(f"a{i}", f"b{i}", kind, f"w{i}") for i, kind in enumerate(kinds)]
    scores = np.r_[[5.0, -3.0, 2.0, -9.0], np.linspace(-4, 1, 200), [0.0], [-1.0, -2.0]]
    parts = dict(chosen_pairs(pairs, scores, 2))
    assert [row for row, _ in parts["other year: the surest"]] == [0, 2]
    assert [row for row, _ in parts["other year: missed"]] == [3, 1]
    assert [row for row, _ in parts["any two: the most wrong"]] == [203, 202]
    assert parts["lateral and top: the surest"] == [(204, -1.0)]
    assert "lateral and top: missed" not in parts, "the only pair is shown once"
    limit = parts["other year: the surest"][0][1]
    assert (scores[4:204] > limit).mean() <= 0.01


def test_the_page_shows_every_chosen_pair(made_up_dir: Path, shared_store: Path, tmp_path: Path) -> None:
    from engine.search.matcher import Matcher

    catalog = Catalog.read(made_up_dir)
    drawn = draw_pairs(catalog, 2, "all")
    pairs = [next(p for p in drawn if p.kind == kind) for kind in ("same encounter", "any two")]
    matcher = Matcher(store=shared_store, ranker="fusion", workers=1)
    index = matcher.index(catalog.subset(list({n for p in pairs for n in (p.image_id0, p.image_id1)})))
    page = draw_pair_page(pairs, np.array([1.0, -1.0]), index, matcher, tmp_path / "pairs", count=1)
    text = page.read_text()
    pictures = sorted(tmp_path.glob("pairs/*.jpg"))
    assert len(pictures) == 2 * 3
    for name in ("same encounter: the surest", "any two: the most wrong", *(picture.name for picture in pictures)):
        assert name in text
    assert all(pair.image_id0 in text and pair.image_id1 in text for pair in pairs)
