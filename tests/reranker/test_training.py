"""Training: no individual on both sides, honest figures, the choice of the kind, and tables that cannot train."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reranker import training
from reranker.cross_fitting import cross_fitted_calibrations, cross_fitted_probabilities
from reranker.out_of_fold import ALONE, LabelledTable, _can_rank, count_trees, fit
from reranker.pair_features import build
from reranker.protocols import (
    assign_folds,
    evaluate,
    protocol_tables,
    same_encounter,
    split_masks,
)
from reranker.rank_order import rank_order
from reranker.ranker import LabelledRows, Ranker, RankerSettings
from reranker.training import TrainedRanker, train_ranker
from reranker.training_settings import KINDS, TrainingError, TrainingSettings
from scarmatch.metrics import average_precision

QUICK = RankerSettings(n_trees=40, patience=10, min_data_in_leaf=10, learning_rate=0.1)


@pytest.fixture(scope="module")
def trained(pairs: pd.DataFrame) -> TrainedRanker:
    return train_ranker(pairs, TrainingSettings(folds=3), QUICK, "aliked", "0123abcd")


def test_no_individual_stands_on_both_sides_of_any_fit(pairs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Watches every fit and every prediction of a whole training: what is scored must be new to what was fitted."""
    fitted_on: dict[int, set[str]] = {}
    predictions: list[int] = []
    names = {tuple(row): pair for row, pair in zip(_keys(pairs), _individuals(pairs), strict=True)}
    fit, predict = Ranker.fit.__func__, Ranker.predict  # type: ignore[attr-defined]

    def seen(features: pd.DataFrame) -> set[str]:
        return {name for row in features[["cosine", "sharpness_log_ratio"]].to_numpy() for name in names[tuple(row)]}

    def queries(features: pd.DataFrame) -> set[str]:
        return {names[tuple(row)][0] for row in features[["cosine", "sharpness_log_ratio"]].to_numpy()}

    def watched_fit(cls, features, labels, groups, individuals, settings, valid, calibrate):  # type: ignore[no-untyped-def]
        ranker = fit(cls, features, labels, groups, individuals, settings, valid, calibrate)
        fitted_on[id(ranker)] = seen(features)
        keep.append(ranker)
        if valid is not None:
            assert not seen(features) & queries(valid.features), "early stopping saw a training individual"
        return ranker

    def watched_predict(self, features):  # type: ignore[no-untyped-def]
        if id(self) in fitted_on:
            assert not fitted_on[id(self)] & queries(features), "an individual was trained on and judged"
            predictions.append(len(features))
        return predict(self, features)

    keep: list[Ranker] = []
    monkeypatch.setattr(Ranker, "fit", classmethod(watched_fit))
    monkeypatch.setattr(Ranker, "predict", watched_predict)
    train_ranker(pairs, TrainingSettings(folds=3), QUICK)
    assert len(predictions) == 3 * 2 * 3, "folds x kinds x protocols"


def _keys(pairs: pd.DataFrame) -> np.ndarray:
    """Two features that no two pairs share, as a fingerprint of a pair inside the feature table."""
    keys = build(pairs)[["cosine", "sharpness_log_ratio"]].to_numpy()
    assert len({tuple(key) for key in keys}) == len(keys)
    return keys


def _individuals(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(pairs["individual0"], pairs["individual1"], strict=True))


def test_a_split_leaves_nothing_of_a_held_out_individual_in_training() -> None:
    query, candidate = ["a", "a", "b", "b", "c"], ["a", "b", "b", "c", "a"]
    train, held_out = split_masks(query, candidate, {"a"})
    assert train.tolist() == [False, False, True, True, False]
    assert held_out.tolist() == [True, True, False, False, False]


def test_folds_hold_each_individual_once_and_are_balanced() -> None:
    names = ["a"] * 6 + ["b"] * 3 + ["c"] * 3 + ["d", "e", "f", "g"]
    folds = assign_folds(names, np.ones(len(names)), 3, seed=0)
    loads = pd.Series(names).map(folds).value_counts()
    assert set(folds) == set(names) and sorted(loads) == [5, 5, 6]
    assert folds == assign_folds(names[::-1], np.ones(len(names)), 3, seed=0), "the order of rows must not matter"


def test_evaluation_counts_queries_whose_matches_the_list_lost() -> None:
    table = pd.DataFrame({"query_id": list("aabb"), "candidate_id": list("xyxy"), "cosine": [1, 2, 1, 2.0]})
    table = table.assign(same=[True, False, False, False])
    assert evaluate(table, [5, 1, 1, 2]) == {"map": 1.0, "top1": 1.0, "queries": 1}
    assert evaluate(table.assign(n_true=[1, 1, 3, 3]), [5, 1, 1, 2]) == {"map": 0.5, "top1": 0.5, "queries": 2}
    assert evaluate(table.assign(same=False), [5, 1, 1, 2])["queries"] == 0


def test_the_mean_over_queries_is_the_mean_of_single_lists(pairs: pd.DataFrame) -> None:
    table = pairs.assign(same=pairs["individual0"] == pairs["individual1"], n_true=7)
    scores = table["lightglue_inliers"].to_numpy(dtype=float)  # full of ties
    order = rank_order(table["query_id"], scores, table["cosine"], table["candidate_id"])
    lists = [rows["same"].to_numpy() for _, rows in table.iloc[order].groupby("query_id")]
    for column, total in (([], None), (["n_true"], 7)):
        expected = np.mean([average_precision(hits, total, k=3) for hits in lists])
        kept = table[["query_id", "candidate_id", "cosine", "same", *column]]
        found = evaluate(kept, scores, top=3)
        assert found["map"] == pytest.approx(expected)
        assert found["top1"] == pytest.approx(np.mean([hits[0] for hits in lists]))


def test_protocols_take_photographs_away_before_features_are_made(pairs: pd.DataFrame) -> None:
    tables = protocol_tables(pairs.assign(n_true=4, n_true_other_encounter=3))
    assert set(tables) == {"all", "other_encounter", "other_year"}
    assert not same_encounter(tables["other_encounter"]).any() and same_encounter(tables["all"]).any()
    years = [pd.to_datetime(tables["other_year"][name]).dt.year for name in ("date0", "date1")]
    assert (years[0] != years[1]).all()
    assert (tables["all"]["n_true"] == 4).all() and (tables["other_encounter"]["n_true"] == 3).all()
    assert "n_true" not in tables["other_year"], "a number that was not given must not be made up"
    unknown = pairs.assign(encounter0=None, encounter1=None)
    assert not same_encounter(unknown).any(), "two unknown encounters are not the same encounter"


def test_the_report_tells_every_method_in_every_protocol(trained: TrainedRanker) -> None:
    report = trained.report
    methods = {
        "cosine",
        "lightglue_inliers",
        "lightglue_confidence_sum",
        "wildfusion_baseline",
        "calibrated_mean",
        *KINDS,
    }
    methods |= {f"{kind}{ALONE}" for kind in KINDS}
    assert set(report["protocols"]) == {"all", "other_encounter", "other_year"}
    assert all(set(figures) == methods for figures in report["protocols"].values())
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    hard = report["protocols"]["other_encounter"]
    best = max(hard[name]["map"] for name in ("cosine", "lightglue_inliers", "lightglue_confidence_sum"))
    assert hard[report["kind"]]["map"] > best
    assert hard["cosine"]["map"] < report["protocols"]["all"]["cosine"]["map"], "the other encounters are harder"
    errors = report["calibration_errors"]["all"]
    assert report["calibration_error"]["all"] == errors["shown"]
    assert set(report["matches_counted_in"].values()) == {"lists"}
    assert set(errors) == {"pairs", "shown", "first"}
    assert errors["pairs"] < 0.05 and errors["first"] < 0.3


def test_the_kind_is_the_best_out_of_fold_and_the_simplest_of_equals(trained: TrainedRanker) -> None:
    figures = trained.report["protocols"]
    values = {kind: figures["other_encounter"][kind]["map"] for kind in KINDS}
    assert trained.ranker.kind == trained.report["kind"]
    assert values[trained.ranker.kind] >= max(values.values()) - 0.001
    assert "other_encounter" in trained.report["reason"]
    equal = {"all": {kind: {"map": 0.5} for kind in KINDS}}
    assert training._choose(equal, TrainingSettings())[0] == "logistic"


def test_the_ranker_remembers_what_it_was_trained_on(trained: TrainedRanker) -> None:
    assert (trained.ranker.keypoint_kind, trained.ranker.descriptor) == ("aliked", "0123abcd")
    assert trained.ranker.metadata["report"] == trained.report


def test_out_of_fold_scores_cover_every_labelled_row(trained: TrainedRanker, pairs: pd.DataFrame) -> None:
    frame = trained.scores["all"]
    assert len(frame) == len(pairs)
    assert frame[[*KINDS, "calibrated_mean", "wildfusion_baseline"]].notna().all().all()
    assert len(frame[["individual0", "fold"]].drop_duplicates()) == frame["individual0"].nunique()


def test_training_twice_gives_the_same_file_whatever_the_order_of_rows(pairs: pd.DataFrame, tmp_path) -> None:  # type: ignore[no-untyped-def]
    settings = TrainingSettings(kind="blend", folds=2)
    texts = []
    for i, table in enumerate((pairs, pairs.sample(frac=1, random_state=5))):
        train_ranker(table, settings, QUICK).ranker.save(tmp_path / f"{i}.json")
        texts.append(json.loads((tmp_path / f"{i}.json").read_text())["members"])
    assert texts[0][0] == texts[1][0]
    np.testing.assert_allclose(texts[0][1]["weights"], texts[1][1]["weights"], atol=1e-6)


def test_what_is_judged_beside_teaches_nothing_and_is_scored_by_models_that_never_saw_its_individuals(
    trained: TrainedRanker, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    more = protocol_tables(pairs)["all"]
    more = more[more["query_id"].isin(more["query_id"].unique()[:5])]
    beside = train_ranker(pairs, TrainingSettings(folds=3), QUICK, "aliked", "0123abcd", further={"beside": more})
    for name, one in (("beside", beside), ("plain", trained)):
        one.ranker.save(tmp_path / f"{name}.json")
    assert (tmp_path / "beside.json").read_bytes() == (tmp_path / "plain.json").read_bytes()
    plain = trained.scores["all"].set_index(["query_id", "candidate_id"])
    judged = beside.scores["beside"].set_index(["query_id", "candidate_id"])
    assert len(judged) and list(beside.scores) == [*trained.scores, "beside"]
    pd.testing.assert_frame_equal(judged, plain.loc[judged.index])


def test_unlabelled_candidates_stay_in_the_lists_but_teach_nothing(pairs: pd.DataFrame) -> None:
    unknown = pairs["individual1"] == "whale03"
    table = pairs.assign(individual1=pairs["individual1"].where(~unknown))
    outcome = train_ranker(table, TrainingSettings(kind="logistic", folds=2), QUICK)
    assert len(outcome.scores["all"]) == (~unknown).sum()
    kept = outcome.scores["all"].merge(pairs[["query_id", "candidate_id"]].assign(row=build(pairs)["cosine_zscore"]))
    assert len(kept) == (~unknown).sum()


def test_both_askings_teach_and_say_which_they_are(pairs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[LabelledRows] = []

    def spy(rows: LabelledRows, settings: RankerSettings, valid: LabelledRows | None = None) -> Ranker:
        seen.append(rows)
        return fit(rows, settings, valid)

    monkeypatch.setattr(training, "fit", spy)
    asked = pairs.assign(own_encounter_allowed=True)
    report = train_ranker(asked, TrainingSettings(kind="logistic", folds=2), QUICK).report
    (rows,) = seen
    without = (~same_encounter(pairs)).sum()
    assert len(rows.labels) == len(pairs) + without and report["training_rows"] == len(pairs)
    allowed = rows.features["own_encounter_allowed"].to_numpy(bool)
    assert allowed.sum() == len(pairs)
    assert not set(rows.queries[allowed]) & set(rows.queries[~allowed]), "lists of their own"
    assert report["training_queries"] == pairs["query_id"].nunique()


def test_a_group_that_nothing_was_measured_of_is_no_part_of_the_ranker(pairs: pd.DataFrame) -> None:
    bare = pairs.drop(columns=[name for name in pairs.columns if str(name).startswith("lightglue_")])
    ranker = train_ranker(bare, TrainingSettings(kind="logistic", folds=2), QUICK).ranker
    assert "lightglue" not in ranker.settings.groups and "metadata" in ranker.settings.groups
    assert not [name for name in ranker.feature_names if name.startswith("lightglue_") and "mark" not in name]


def test_without_encounters_or_dates_the_table_itself_is_the_protocol(pairs: pd.DataFrame) -> None:
    bare = pairs[["query_id", "candidate_id", "cosine", "lightglue_inliers", "individual0", "individual1"]]
    report = train_ranker(bare, TrainingSettings(folds=2), QUICK).report
    assert set(report["protocols"]) == {"all"} and "mean of all:" in report["reason"]


def test_tables_that_cannot_train_say_why(pairs: pd.DataFrame) -> None:
    with pytest.raises(TrainingError, match=r"column\(s\) individual1"):
        train_ranker(pairs.drop(columns="individual1"))
    one = pairs[(pairs["individual0"] == "whale00") & (pairs["individual1"] == "whale00")]
    with pytest.raises(TrainingError, match="at least 4 individuals with a match"):
        train_ranker(one)


def test_too_few_individuals_for_early_stopping_train_all_trees(pairs: pd.DataFrame) -> None:
    """Of the individuals left by the inner split none may have a list with both kinds of candidate."""
    table = LabelledTable.of(pairs)
    own = table.same
    lonely = dataclasses.replace(table, raw=table.raw.assign(query_id=np.where(own, "match", "other")))
    rows = lonely.rows(np.ones(len(pairs), bool))
    assert not _can_rank(rows)
    assert _can_rank(table.rows(np.ones(len(pairs), bool)))
    settings, ranker = TrainingSettings(), RankerSettings()
    assert count_trees(lonely, set(), settings, ranker) == ranker.n_trees


def test_what_is_hidden_has_no_say(pairs: pd.DataFrame) -> None:
    hidden = [name for name in build(pairs).columns if name != "cosine" and not name.startswith("cosine")]
    settings = TrainingSettings(folds=2, kind="lambdamart", rescoring=False)
    frames = [
        train_ranker(raw, settings, QUICK, hidden=hidden, protocols={"all": raw}).scores["all"]
        for raw in (pairs, pairs.assign(lightglue_inliers=0.0, lightglue_confidence_sum=1.0))
    ]
    np.testing.assert_array_equal(frames[0]["lambdamart"], frames[1]["lambdamart"])
    seen = train_ranker(pairs, settings, QUICK, protocols={"all": pairs}).scores
    assert list(seen) == ["all"]
    assert (seen["all"]["lambdamart"] != frames[0]["lambdamart"]).any()


def test_nobody_has_a_say_in_the_own_calibration(trained: TrainedRanker) -> None:
    frame = trained.scores["all"].dropna(subset=["blend"]).reset_index(drop=True)
    before = cross_fitted_probabilities(frame, cross_fitted_calibrations({"all": frame}, "blend"), "blend")
    mine = (frame["fold"] == 0).to_numpy()
    turned = frame.assign(same=np.where(mine, ~frame["same"], frame["same"]))
    after = cross_fitted_probabilities(turned, cross_fitted_calibrations({"all": turned}, "blend"), "blend")
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before[~mine] != after[~mine]).any()
