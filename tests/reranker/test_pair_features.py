"""Pair features: values worked out by hand, missing input, independence of other queries and of row order."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from reranker.feature_registry import FEATURE_NAMES, FEATURES, GROUPS, VIEWPOINT_PAIRS, feature
from reranker.pair_features import PairTableError, build


def small() -> pd.DataFrame:
    """One query with three candidates, numbers that can be worked out by hand."""
    return pd.DataFrame(
        {
            "query_id": ["q", "q", "q"],
            "candidate_id": ["a", "b", "c"],
            "cosine": [0.2, 0.8, 0.5],
            "lightglue_matches": [10, 0, 20],
            "lightglue_matches_50": [4, 0, 9],
            "lightglue_confidence_sum": [5.0, 0.0, 10.0],
            "lightglue_keypoints0": [100, 100, 100],
            "lightglue_keypoints1": [50, 200, 400],
            "lightglue_inliers": [6, 0, 6],
            "mutual_nn_inliers": [40, 0, 10],
            "mutual_nn_plausibility": [0.5, 1.0, 0.5],
            "mutual_nn_matches": [200, 0, 150],
            "mutual_nn_distinctive_inliers": [8, 0, 8],
            "mutual_nn_distinctive_plausibility": [1.0, 1.0, 0.25],
            "skin_inliers": [9, 0, 20],
            "skin_plausibility": [0.5, 0.0, 1.0],
            "skin_keypoints0": [300, 300, 300],
            "skin_keypoints1": [100, 400, 0],
            "skin_aligned_left": [0.6, np.nan, 0.2],
            "skin_aligned_right": [0.4, 0.3, 0.7],
            "skin_inliers_left": [3, np.nan, 12],
            "skin_inliers_right": [6, 0, 8],
            "lightglue_model_kind": ["affine", "none", "something new"],
            "lightglue_scale": [2.0, np.nan, 0.5],
            "lightglue_rotation": [-20.0, np.nan, 30.0],
            "date0": pd.to_datetime(["2018-01-02"] * 3),
            "date1": pd.to_datetime(["2018-01-02", "2017-12-31", None]),
            "viewpoint0": ["top", "left", None],
            "viewpoint1": ["top", "right", "top"],
            "width0": [100, 100, 100],
            "height0": [400, 400, 400],
            "width1": [800, 50, np.nan],
            "height1": [200, 40, np.nan],
            "sharpness0": [2.0, 2.0, 2.0],
            "sharpness1": [1.0, 4.0, np.nan],
        }
    )


def test_the_registry_is_complete_and_unambiguous() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert {entry.group for entry in FEATURES} == set(GROUPS)
    assert all(entry.unit and entry.meaning for entry in FEATURES)
    assert all(entry.monotone == 0 for entry in FEATURES if entry.categories), "a category has no direction"
    assert feature("cosine").monotone == 1
    with pytest.raises(KeyError, match="colour"):
        feature("colour")


def test_the_table_has_the_registrys_columns_in_float32_and_the_index_of_the_input() -> None:
    raw = small().set_axis([7, 3, 5])
    made = build(raw)
    assert list(made.columns) == list(FEATURE_NAMES)
    assert list(made.index) == [7, 3, 5]
    assert set(made.dtypes) == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cosine", [0.2, 0.8, 0.5]),
        ("cosine_log_rank", [math.log(3), 0.0, math.log(2)]),
        ("cosine_to_best", [-0.6, 0.0, -0.3]),
        ("cosine_to_next", [math.nan, 0.3, 0.3]),
        ("cosine_zscore", [-math.sqrt(1.5), math.sqrt(1.5), 0.0]),
        ("lightglue_matches_log1p", [math.log(11), 0.0, math.log(21)]),
        ("lightglue_confidence_mean", [0.5, math.nan, 0.5]),
        ("lightglue_matches_per_keypoint", [4 / 50, 0.0, 9 / 100]),
        ("lightglue_confidence_per_keypoint", [0.1, 0.0, 0.1]),
        ("lightglue_inliers_log_rank", [math.log(1.5), math.log(3), math.log(1.5)]),
        ("lightglue_inliers_zscore", [math.sqrt(0.5), -math.sqrt(2), math.sqrt(0.5)]),
        ("lightglue_model_kind", [2, 0, math.nan]),
        ("mutual_nn_agreement", [math.log(21), 0.0, math.log(6)]),
        ("mutual_nn_agreement_log_rank", [0.0, math.log(3), math.log(2)]),
        ("mutual_nn_agreement_list_mean", [(math.log(21) + math.log(6)) / 3] * 3),
        ("mutual_nn_matches_log1p", [math.log(201), 0.0, math.log(151)]),
        ("mutual_nn_distinctive_agreement", [math.log(9), 0.0, math.log(3)]),
        ("mutual_nn_confidence_sum", [math.nan] * 3),
        ("skin_agreement", [math.log(5.5), 0.0, math.log(21)]),
        ("skin_inliers_per_keypoint", [9 / 100, 0.0, math.nan]),
        ("skin_keypoints_min_log1p", [math.log(101), math.log(301), 0.0]),
        ("skin_flank_best", [0.6, 0.3, 0.7]),
        ("skin_flank_other", [0.4, math.nan, 0.2]),
        ("skin_flank_inliers_min_log1p", [math.log(4), math.nan, math.log(9)]),
        ("mutual_nn_distinctive_agreement_log_rank", [0.0, math.log(3), math.log(2)]),
        ("lightglue_absolute_log_scale", [math.log(2), math.nan, math.log(2)]),
        ("lightglue_absolute_rotation", [20, math.nan, 30]),
        ("date_gap_days_log1p", [0, math.log(3), math.nan]),
        ("same_day", [1, 0, math.nan]),
        ("season_gap", [0, 365.25 - 363, math.nan]),
        ("years_apart", [0, 1, math.nan]),
        ("log_length0", [math.log(400)] * 3),
        ("log_length1", [math.log(800), math.log(50), math.nan]),
        ("log_length_ratio", [math.log(2), math.log(8), math.nan]),
        ("log_length_min", [math.log(400), math.log(50), math.nan]),
        ("sharpness_min", [1, 2, math.nan]),
        ("sharpness_log_ratio", [math.log(2), math.log(2), math.nan]),
        ("requery_score", [math.nan] * 3),
    ],
)
def test_values_worked_out_by_hand(name: str, expected: list[float]) -> None:
    np.testing.assert_allclose(build(small())[name], np.array(expected, np.float32), rtol=1e-5, atol=1e-6)


def test_days_are_counted_from_midnight_to_midnight() -> None:
    late, early = pd.Timestamp("2018-01-02 23:59"), pd.Timestamp("2018-01-02 00:01")
    made = build(small().assign(date0=late, date1=[pd.Timestamp("2018-01-03 00:01"), early, late]))
    np.testing.assert_array_equal(made["same_day"], [0, 1, 1])
    np.testing.assert_allclose(made["date_gap_days_log1p"], [math.log(2), 0, 0], rtol=1e-6)


def test_viewpoint_pairs_do_not_depend_on_the_order_of_the_two() -> None:
    pairs = [
        ("top", "top"),
        ("left", "right"),
        ("left", "left"),
        ("up", "up"),
        ("up", "top"),
        ("top", "left"),
        ("top", None),
    ]
    names = ["top_top", "left_right", "same_side", "same_other", "different", "lateral_top", "unknown"]
    for swap in (False, True):
        ordered = [pair[::-1] if swap else pair for pair in pairs]
        raw = pd.DataFrame(ordered, columns=["viewpoint0", "viewpoint1"])
        raw = raw.assign(query_id="q", candidate_id=[str(i) for i in range(len(raw))], cosine=0.1)
        codes = build(raw)["viewpoint_pair"].astype(int)
        assert [VIEWPOINT_PAIRS[code] for code in codes] == names


def test_only_the_required_columns_are_needed_and_the_rest_is_unknown_not_zero() -> None:
    made = build(small()[["query_id", "candidate_id", "cosine"]])
    known = {"cosine", "cosine_log_rank", "cosine_to_best", "cosine_to_next", "cosine_zscore", "viewpoint_pair"}
    assert set(made.columns[made.notna().any()]) == known
    assert (made["viewpoint_pair"] == VIEWPOINT_PAIRS.index("unknown")).all()


def test_a_missing_required_column_is_named() -> None:
    with pytest.raises(PairTableError, match=r"lacks the column\(s\) candidate_id, cosine"):
        build(small().drop(columns=["candidate_id", "cosine"]))


def test_a_pair_given_twice_and_an_empty_identifier_are_refused() -> None:
    raw = small()
    with pytest.raises(PairTableError, match="occur twice, first: query q, candidate a"):
        build(pd.concat([raw, raw.iloc[:1]], ignore_index=True))
    with pytest.raises(PairTableError, match="'query_id'"):
        build(raw.assign(query_id=["q", None, "q"]))


def test_unknown_columns_and_labels_never_become_features(pairs: pd.DataFrame) -> None:
    labels = ["individual0", "individual1", "encounter0", "encounter1"]
    without = build(pairs.drop(columns=labels))
    with_more = build(pairs.assign(timestamp=range(len(pairs)), colour="white"))
    pd.testing.assert_frame_equal(without, with_more)


def test_other_queries_change_nothing(pairs: pd.DataFrame) -> None:
    everything = build(pairs)
    for query in pairs["query_id"].unique()[:5]:
        alone = pairs["query_id"] == query
        pd.testing.assert_frame_equal(build(pairs.loc[alone]), everything.loc[alone])


def test_the_order_of_rows_changes_nothing_to_the_last_bit(pairs: pd.DataFrame) -> None:
    shuffled = pairs.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(build(shuffled).loc[pairs.index], build(pairs), check_exact=True)


def test_equal_candidates_get_equal_features_whatever_their_names() -> None:
    raw = pd.DataFrame(
        {"query_id": "q", "candidate_id": list("abcd"), "cosine": [0.5, 0.7, 0.5, 0.2], "lightglue_inliers": 3}
    )
    made = build(raw)
    pd.testing.assert_series_equal(made.loc[0], made.loc[2], check_names=False)
    np.testing.assert_allclose(made["cosine_log_rank"][0], math.log(2.5), rtol=1e-6)
    assert (made["lightglue_inliers_zscore"] == 0).all()


def test_empty_tables_and_single_candidates() -> None:
    assert build(small().iloc[:0]).shape == (0, len(FEATURES))
    lone = build(small().iloc[:1])
    assert lone["cosine_zscore"].item() == 0 and np.isnan(lone["cosine_to_next"].item())


def test_infinite_or_absurd_numbers_become_unknown() -> None:
    made = build(small().assign(cosine=[np.inf, 0.1, 0.2], lightglue_scale=[0.0, -1.0, 1.0]))
    assert (
        np.isnan(made["cosine"][0])
        and np.isnan(made["lightglue_absolute_log_scale"][0])
        and np.isnan(made["lightglue_absolute_log_scale"][1])
    )
    assert made["cosine_to_best"].notna().sum() == 2, "one bad value must not spoil the list"


def test_nullable_columns_are_read() -> None:
    raw = small().astype(
        {"width1": "Int64", "height1": "Int64", "viewpoint0": "string", "lightglue_model_kind": "string"}
    )
    pd.testing.assert_frame_equal(build(raw), build(small()))


def test_the_input_is_not_changed(pairs: pd.DataFrame) -> None:
    before = pairs.copy(deep=True)
    build(pairs)
    pd.testing.assert_frame_equal(pairs, before)


def test_the_skin_says_nothing_between_a_flank_and_a_back(pairs: pd.DataFrame) -> None:
    looked = pairs[pairs["lightglue_keypoints0"].notna()].assign(viewpoint0="top", viewpoint1="top")
    mixed = looked.assign(viewpoint1="left")
    names = [entry.name for entry in FEATURES if entry.group in ("skin", "mutual_nn", "lightglue")]
    assert len(names) > 40
    assert build(looked)["skin_agreement"].notna().all()
    assert build(mixed)[names].isna().all(axis=None)
    assert build(mixed)["cosine"].notna().all()
    expected = np.log1p(looked["skin_inliers"] * looked["skin_plausibility"])
    np.testing.assert_allclose(build(looked)["skin_agreement"], expected, rtol=1e-5)
