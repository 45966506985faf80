"""What the measurements compute, against cases worked out by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench import markdown
from bench.drawn_pairs import TRUE_KINDS, DrawnPair, DrawnPairs, draw_pairs
from bench.local_scores import honest_score
from bench.measurements import (
    crossvalidated,
    errors,
    first_stage,
    individuals,
    kernels,
    matcher,
    new_individual,
    pairs,
    verification,
)
from bench.measurements.descriptor import later_years
from bench.measurements.reliability import curve_of
from bench.peers.whole_matrix import matrix_neighbours
from bench.photographs import Light, light_of, thirds_by
from bench.protocols import Evaluation, Protocol
from bench.questions import any_photograph
from engine.catalogue.catalog import Catalog, CatalogError, same_encounter
from engine.matching.mutual_nn import mutual_neighbours
from engine.search.individuals import NEW_INDIVIDUAL
from engine.training.model_figures import Answers
from scarmatch.metrics import Interval, expected_calibration_error

RNG = np.random.default_rng(0)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_cells() -> None:
    value = Interval(0.4567, 0.4, 0.5)
    assert markdown.interval(value) == "0.457 (0.400–0.500)"
    assert markdown.bold(value, 2) == "**0.46** (0.40–0.50)"
    assert markdown.change(Interval(-0.1, -0.2, 0.05)) == "-0.100 (-0.200 … +0.050)"
    assert markdown.table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    assert markdown.only_once(["x", "x", "y", "x"]) == ["x", "", "y", "x"]
    assert [markdown.seconds(v) for v in (0.0002, 0.031, 0.9996, 5.32)] == ["< 1 ms", "31 ms", "1.0 s", "5.3 s"]


# --- over folds -------------------------------------------------------------------------------------------------------


def test_spread() -> None:
    found = crossvalidated.over_folds([0.2, 0.4, 0.6])
    assert (found.mean, found.sd) == (pytest.approx(0.4), pytest.approx(0.2))
    assert found.high - found.mean == pytest.approx(4.302653 * 0.2 / np.sqrt(3), rel=1e-5)  # t of 2 degrees
    assert (found.least, found.most) == (0.2, 0.6)
    with pytest.raises(ValueError, match="at least two"):
        crossvalidated.over_folds([0.5])


def test_holm() -> None:
    assert crossvalidated.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert crossvalidated.holm([0.9, 0.8]) == [1.0, 1.0]
    assert crossvalidated.holm([]) == []


def test_tests_are_paired_by_whale() -> None:
    """Ten whales that all gain differ; the same gains in whales of which half lose do not."""
    base = pd.DataFrame({"individual": [f"w{n // 2}" for n in range(20)], "ap20": np.linspace(0.1, 0.5, 20)})
    better = base.assign(ap20=base["ap20"] + np.linspace(0.01, 0.1, 20))
    mixed = base.assign(ap20=base["ap20"] + np.tile([0.05, 0.05, -0.05, -0.05], 5) + np.linspace(0, 0.001, 20))
    found = {(t.first, t.second): t for t in crossvalidated.paired_tests({"a": base, "b": better, "c": mixed})}
    assert len(found) == 3
    gain = found["a", "b"]
    assert (gain.whales, gain.p < 0.01, gain.p <= gain.p_holm) == (10, True, True)
    assert gain.difference.mean == pytest.approx(0.055)
    assert found["a", "c"].p > 0.1


# --- probabilities ----------------------------------------------------------------------------------------------------


def test_a_perfect_forecast_has_no_error_and_a_boast_has_one() -> None:
    probabilities, whales = RNG.random(4000), np.array([f"w{i % 40}" for i in range(4000)])
    same = RNG.random(4000) < probabilities
    honest = curve_of("all", "pairs", probabilities, same, whales, 0)
    boast = curve_of("all", "pairs", np.minimum(1, probabilities + 0.2), same, whales, 0)
    assert honest.error.mean == pytest.approx(expected_calibration_error(probabilities, same))
    assert honest.error.mean < 0.03 and boast.error.mean > 0.12
    assert sum(honest.bins.count) == honest.cases == 4000
    assert honest.individuals == 40


def made_decision(quality: float) -> tuple[new_individual.Decision, list[str], np.ndarray]:
    """Return a decision over 60 queries whose evidence of "new" is right to a degree, the truth and the whales."""
    rng = np.random.default_rng(0)
    who = np.array([f"w{i % 20:02d}" for i in range(60)])
    is_new = np.isin(who, [f"w{i:02d}" for i in range(7)])
    evidence = quality * is_new + rng.normal(0, 0.3, 60)
    truth = [NEW_INDIVIDUAL if new else name for new, name in zip(is_new, who, strict=True)]

    def predictions(threshold: float) -> list[list[str]]:
        first = evidence > threshold
        return [[NEW_INDIVIDUAL, name] if new else [name, "x"] for new, name in zip(first, who, strict=True)]

    return new_individual.Decision(evidence, predictions), truth, who


def test_a_threshold_is_searched_on_other_whales() -> None:
    decision, truth, who = made_decision(2.0)
    is_new = np.array([label == NEW_INDIVIDUAL for label in truth])
    assert new_individual.at(decision, 5.0, truth).gain.mean() == pytest.approx((~is_new).mean())
    earned, chosen = new_individual.on_folds(decision, truth, who, seed=0)
    assert earned.gain.mean() > 0.95 and (earned.called_new == is_new).mean() > 0.95
    assert all(0.3 < threshold < 1.7 for threshold in chosen)
    blind, truth, who = made_decision(0.0)
    guess, _ = new_individual.on_folds(blind, truth, who, seed=0)
    assert (guess.called_new == is_new).mean() < 0.72, "no threshold helps where the evidence says nothing"


def test_a_third_of_the_queries_lose_their_whale(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    question = new_individual.draw_question(catalog, 18, "all", seed=0)
    who = catalog.table.set_index("image_id")["individual_id"].reindex(question.queries)
    assert 0.2 < who.isin(question.new).mean() < 0.5
    assert new_individual.draw_question(catalog, 18, "all", seed=0) == question
    alone = Catalog(catalog.table.drop_duplicates("individual_id"), catalog.root)
    with pytest.raises(CatalogError, match="0 whales"):
        new_individual.draw_question(alone, 18, "all", seed=0)


# --- photographs and causes -------------------------------------------------------------------------------------------


def test_light() -> None:
    """A body 6 pixels wide, its left half at 50 and its right half at 150, on water that does not count."""
    rgb = np.full((10, 12, 3), 255, np.uint8)
    rgb[:, 3:6], rgb[:, 6:9] = 50, 150
    body = np.zeros((10, 12), np.float32)
    body[1:9, 3:9] = 1
    light = light_of(rgb, body, True)
    assert (light.brightness, light.side) == (pytest.approx(100), pytest.approx(0.5))
    assert light_of(rgb[:, ::-1], body[:, ::-1], True).side == pytest.approx(-0.5)
    assert np.isnan(light_of(rgb, body, False).side)
    assert np.isnan(light_of(rgb, np.zeros_like(body), True).brightness)


def test_thirds_begin_with_the_worst() -> None:
    values = np.array([3.0, 1, 2, 6, 5, 4, np.nan])
    earned, who = np.arange(7.0), np.array(list("abcdefg"))
    thirds = thirds_by(-values, earned, who, values)
    assert thirds is not None
    assert [(t.least, t.most, t.cases, t.earned.mean) for t in thirds] == [
        (1, 2, 2, 1.5),
        (3, 4, 2, 2.5),
        (5, 6, 2, 3.5),
    ]
    assert thirds_by(np.ones(7), earned, who, values) is None, "what is the same everywhere explains nothing"
    assert thirds_by(values[:5], earned[:5], who[:5], values[:5]) is None


def table_of(n: int) -> pd.DataFrame:
    """Queries whose average precision rises with resolution; nothing else differs but noise."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({cause.column: rng.random(n) for cause in errors.CAUSES}, index=[f"q{i}" for i in range(n)])
    table["length"], table["ap20"] = np.arange(n) + 100.0, np.linspace(0, 1, n)
    return table.assign(top1=table["ap20"] > 0.5, individual_id=[f"w{i // 2}" for i in range(n)])


def test_causes() -> None:
    table = table_of(60)
    worst = errors.worst_fifths(table)
    assert np.flatnonzero(worst["low resolution"]).tolist() == list(range(12))
    far = worst["long ago"].to_numpy()  # much of it is bad
    assert table["days"][far].min() >= table["days"][~far].max()
    assert not errors.worst_fifths(table.assign(marks=3.0))["few marks"].any(), "everybody alike: no cause"
    records = {record.cause: record for record in errors.by_cause(table)}
    low = records["longer side, pixels"]
    assert low.correlation == pytest.approx(1.0)
    assert (low.worst.cases, low.worst.least, low.worst.most) == (20, 100.0, 119.0)
    assert low.worst.earned.mean == pytest.approx(np.linspace(0, 1, 60)[:20].mean())
    assert (low.share_of_failures, low.share_of_all) == (pytest.approx(12 / 30), pytest.approx(12 / 60))
    assert all(np.isnan(record.correlation) for record in errors.by_cause(table.assign(ap20=0.0)))


def test_confusion() -> None:
    answers = pd.DataFrame(
        [("q1", 1, "x1", "b", 0.9), ("q2", 1, "x2", "a", 0.6), ("q3", 1, "x3", "c", 0.8), ("q4", 1, "x4", "a", 0.7)],
        columns=["query_id", "rank", "image_id", "individual_id", "probability"],
    )
    queries = pd.DataFrame({"individual_id": list("abaa")}, index=["q1", "q2", "q3", "q4"])
    asked = errors.Asked(Protocol("p", (), ()), answers, queries)
    first, second = errors.confusion(asked)
    assert (first.individuals, first.queries, first.both_directions) == (("a", "b"), 2, True)
    assert (first.query, first.candidate, first.probability) == ("q1", "x1", pytest.approx(0.9))
    assert (second.individuals, second.both_directions) == (("a", "c"), False)


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_pairs_are_what_they_are_called(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    drawn = draw_pairs(catalog, 8, seed=1)
    assert drawn == draw_pairs(catalog, 8, seed=1)
    kinds = {pair.kind for pair in drawn}
    assert {"same encounter", "other encounter, same year", "other year", "any two"} <= kinds
    for pair in drawn:
        a, b = catalog.row(pair.image_id0), catalog.row(pair.image_id1)
        assert (a["individual_id"] == b["individual_id"]) == (pair.kind in TRUE_KINDS)
        assert pair.individual == a["individual_id"]
        together = bool(same_encounter(a, catalog.keys)[catalog.position(pair.image_id1)])
        if pair.kind in ("same encounter", "other encounter, same year"):
            assert together == (pair.kind == "same encounter"), "by the catalogue's own rule"
        if pair.kind.startswith("other"):
            assert (a["date"].year == b["date"].year) == (pair.kind != "other year")
        assert ({a["viewpoint"] == "top", b["viewpoint"] == "top"} == {True, False}) == ("lateral" in pair.kind)
    for kind in kinds:
        keys = [frozenset((p.image_id0, p.image_id1)) for p in drawn if p.kind == kind]
        assert len(keys) == len(set(keys))


def drawn_of(kinds: list[str]) -> DrawnPairs:
    made = tuple(DrawnPair(f"a{i}", f"a{i}", kind, f"w{i}") for i, kind in enumerate(kinds))
    return DrawnPairs(made, None, pd.DataFrame())  # type: ignore[arg-type]


def test_rates_of_pairs() -> None:
    drawn = drawn_of(["other year"] * 4 + ["any two"] * 10 + ["two, lateral and top"])
    scores = np.array([5.0, 9.5, 20.0, 30.0, *range(1, 11), 99.0])
    (record,) = pairs.judge(drawn, scores, "x")
    # Of 10 impostors none may lie above the limit: it is the highest, 10; two of four true pairs are above it.
    assert record.found_at_1_percent.mean == pytest.approx(0.5)
    # Pairs won: 5 beats 4 and ties one (4.5), 9.5 beats 9, the others all 10: 33.5 of 40.
    assert record.auc == pytest.approx(33.5 / 40)


def test_where_pairs_are_missed() -> None:
    n = 30
    names = [f"a{i}" for i in range(n)]
    columns = {"length": np.linspace(100, 400, n), "sharpness": 0.5, "body_share": 0.6}
    photographs = SimpleNamespace(
        plain=pd.DataFrame(columns, index=names, dtype=float),
        marks=lambda name: float(int(name[1:]) % 3),
        light=lambda name: Light(100.0 + int(name[1:]), -1.0 if int(name[1:]) % 2 else 1.0),
    )
    row = pairs.measures_of([DrawnPair("a0", "a29", "other year", "w")], photographs).iloc[0]  # type: ignore[arg-type]
    assert row[["length", "length_ratio", "brightness", "light_gap", "marks"]].tolist() == [100, 4, 100, 2, 0]
    drawn = drawn_of(["other year"] * n + ["any two"] * 200 + ["lateral and top", "two, lateral and top"])
    # Only the larger photographs are found; lateral pairs take no part.
    scores = np.r_[[5.0 if i >= 20 else -5.0 for i in range(n)], np.linspace(-1, 1, 200), [9.0, 9.0]]
    found = {record.measure: record for record in pairs.missed_by(drawn, scores, photographs)}  # type: ignore[arg-type]
    length = found[pairs.MEASURES["length"][0]]
    assert [t.earned.mean for t in (length.worst, length.middle, length.best)] == [0.0, 0.0, 1.0]
    assert pairs.MEASURES["sharpness"][0] not in found


def test_what_thresholds_spare() -> None:
    same = np.arange(20) < 10
    found = same & (np.arange(20) != 0)  # LightGlue misses one
    scores = np.where(same, 5.0, np.arange(20) % 10.0)
    scores[0] = -1.0
    way = first_stage.judge("x", scores, same, found)
    assert [at.found_dropped for at in way.at_loss] == [0.0, 0.0, 0.0]
    assert [at.true_dropped for at in way.at_loss] == [0.1] * 3
    assert [at.impostors_dropped for at in way.at_loss] == [0.5] * 3
    assert np.isnan(first_stage.judge("x", scores, same, np.zeros(20, bool)).auc_found)


def test_weights_never_saw_the_whale_that_they_score(monkeypatch: pytest.MonkeyPatch) -> None:
    who = np.array([f"w{i % 40}" for i in range(200)])
    seen = []

    def cross_fitted(numbers: object, same: object, folds: np.ndarray, *rest: object) -> np.ndarray:
        seen.append(folds)
        return folds.astype(float)

    monkeypatch.setattr("bench.local_scores.cross_fitted", cross_fitted)
    found = honest_score(pd.DataFrame(index=range(200)), who == "w0", who, who != "", repeats=2)
    assert len(seen) == 2 and (seen[0] != seen[1]).any()
    assert found == pytest.approx((seen[0] + seen[1]) / 2)
    for folds in seen:
        assert pd.Series(folds).groupby(who).nunique().eq(1).all()


# --- matches, models, years -------------------------------------------------------------------------------------------


def test_agreement_of_matches() -> None:
    ours, theirs = [np.array([[0, 0], [1, 2]]), np.zeros((0, 2), int)], [np.array([[1, 2]]), np.array([[3, 3]])]
    assert matcher.agreement(ours, theirs, np.array([True, True])) == (0.5, 0.5)
    assert matcher.agreement(ours, theirs, np.array([False, True])) == (None, 0.0)
    sizes = [(3, 3), (5, 3), (3, 3), (0, 3), (9, 9)]
    made = [(range(a), range(b)) for a, b in sizes]
    assert matcher.batches_of(made, 4, 16) == [[0, 2], [1], [4]]  # type: ignore[arg-type]
    assert matcher.batches_of(made, 4, 1) == [[0], [2], [1], [4]]  # type: ignore[arg-type]


def test_models_are_judged_by_the_truth() -> None:
    made = verification.make_pairs(4, 0.5, seed=1)
    for a, b, model, true in zip(made.points0, made.points1, made.models, made.true, strict=True):
        gap = np.linalg.norm(verification.transfer(model, a) - b, axis=1)
        assert true.sum() == 100 and np.median(gap[true]) < 2 < np.median(gap[~true])
    perfect = verification.quality(made, made.models, made.true)
    assert perfect["corner_error_median_px"] == 0
    assert perfect["share_below_5_px"] == perfect["recall_by_mask"] == 1
    nothing = verification.quality(made, [None] * 4, [np.zeros(200, bool)] * 4)
    assert nothing["share_below_5_px"] == nothing["recall_by_mask"] == nothing["recall_by_model"] == 0
    for took, pairs_given in ((100.0, 10_000), (20_000.0, 1_000), (1e9, verification.LEAST_PAIRS)):
        assert verification.pairs_within(took, 10_000, 20.0) == pairs_given


def test_every_later_photograph_is_asked_once() -> None:
    def evaluation(name: str, size: int, worth: float) -> Evaluation:
        table = pd.DataFrame({"individual_id": ["a"], "ap20": [worth], "top1": [True]})
        return Evaluation(Protocol(name, ("q",), tuple(f"d{i}" for i in range(size))), table, 0)

    parts = [("top: 3 -> 1", 1, 0.9), ("top: 3 -> 1+2", 2, 0.5), ("top: 2 -> 1", 1, 0.3), ("top -> lateral", 1, 1.0)]
    found = later_years([evaluation(*part) for part in parts])
    assert (found.queries, found.map20.mean) == (2, pytest.approx(0.4))
    assert later_years([]).queries == 0


def test_the_whole_matrix_holds_the_neighbours_that_tiles_find() -> None:
    query, candidates = kernels.made_list(0, 4, 60, 128, "aliked")
    for other in candidates:
        indices, cosine, ratio = matrix_neighbours(query.descriptors, other.descriptors)
        found = mutual_neighbours(query.descriptors, other.descriptors)
        np.testing.assert_array_equal(indices, np.stack([found.rows, found.columns], 1))
        np.testing.assert_allclose(cosine, found.cosine, atol=1e-6)
        np.testing.assert_allclose(ratio, found.ratio, atol=1e-5)
    sure = [(mutual_neighbours(query.descriptors, other.descriptors).ratio < 0.8).sum() for other in candidates]
    assert min(sure[1::2]) >= 15 and max(sure[::2]) <= 3, "every second candidate shows the query"


# --- individuals ------------------------------------------------------------------------------------------------------


def test_individuals_of_single_photographs_and_of_encounters_together() -> None:
    """Two photographs of A's encounter: alone each names B first once; together A leads. C's match is not found."""
    rows = [
        ("t|a1", "x1", "A", 0.5),
        ("t|a1", "y1", "B", 0.1),
        ("t|a2", "x2", "A", 0.5),
        ("t|a2", "z1", "B", 0.6),
        ("t|c1", "y1", "B", 0.2),
    ]
    table = pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability"])
    truth = pd.Series({"t|a1": "A", "t|a2": "A", "t|c1": "C"})
    answers = Answers.of(table, truth, pd.Series({"t|a1": 2, "t|a2": 2, "t|c1": 1}))
    # As asked without their individuals: nothing of A's is there to raise B's second photograph.
    left = table[table["individual_id"] != "A"].assign(probability=[0.05, 0.3, 0.2])
    if_new = Answers.of(left, truth, answers.matches)
    alone = individuals.figures_of_questions(answers, if_new, None, "t", "other_encounter", 0)
    assert (alone.questions, alone.individuals) == (3, 2)
    assert (alone.first.mean, alone.in_five.mean) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    encounters = pd.Series({"t|a1": "e", "t|a2": "e", "t|c1": "f"})
    together = individuals.figures_of_questions(answers, if_new, encounters, "t", "other_encounter", 0)
    assert (together.questions, together.question) == (2, individuals.TOGETHER)
    assert together.first.mean == together.in_five.mean == pytest.approx(1 / 2)
    # A's questions say "none of them" more once A is gone; beside themselves, nothing tells them apart.
    same = individuals.figures_of_questions(answers, answers, None, "t", "other_encounter", 0)
    assert same.new_auroc.mean == 0.5 < min(alone.new_auroc.mean, together.new_auroc.mean)
    pairs = pd.DataFrame({"query_id": ["q", "q"], "individual0": ["A", "A"], "individual1": ["B", "A"]})
    assert individuals.without_matches(pairs)["individual1"].tolist() == ["B"]


def test_years_are_one_task_and_whole_encounters_hold_whales_that_were_seen_again() -> None:
    table = pd.DataFrame({"query_id": ["top: 2018 -> 2017|a", "top: 2019 -> 2018|b", "top: all years|a"]})
    table = table.assign(image_id="x", individual_id="A", probability=0.5)
    truth = pd.Series("A", table["query_id"])
    parts = individuals.by_task(Answers.of(table, truth, pd.Series(1, table["query_id"])))
    assert {name: len(part.truth) for name, part in parts.items()} == {
        "top: later years -> earlier years": 2,
        "top: all years": 1,
    }
    photographs = pd.DataFrame(
        {
            "image_id": ["a1", "a2", "a3", "a4", "b1", "b2", "c1", "c2"],
            "individual_id": ["A", "A", "A", "A", "B", "B", "C", "C"],
            "encounter_id": ["1", "1", "2", "2", "3", "3", "4", "5"],
            "viewpoint": ["top"] * 8,
        }
    )
    catalog = Catalog(photographs.assign(path=[f"{name}.jpg" for name in photographs["image_id"]]), Path("/nowhere"))
    task = individuals.whole_encounters(catalog, 9, 0)
    assert task is not None
    # B was seen once; C's encounters have one photograph each.
    assert task.queries == ("a1", "a2", "a3", "a4") and len(task.database) == 8
    drawn = any_photograph(catalog, 5, 0)
    assert drawn is not None and len(set(drawn.queries)) == 5 and len(drawn.database) == 8
    assert drawn == any_photograph(catalog, 5, 0) != any_photograph(catalog, 5, 1)
    alone = catalog.subset(["a1", "b1", "b2"])
    assert any_photograph(alone, 9, 0).queries == ("b1", "b2"), "nobody else shows A"  # type: ignore[union-attr]
    assert any_photograph(catalog.subset(["a1", "b1"]), 9, 0) is None
    one = individuals.whole_encounters(catalog, 1, 0)
    assert one is not None and len(one.queries) == 2
    assert individuals.whole_encounters(catalog.subset(["b1", "b2"]), 9, 0) is None
