"""Blending of rankings: the published rank table by hand arithmetic, and the weights' search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from reranker.blend import (
    NEW_INDIVIDUAL,
    RankTableSettings,
    blend_probabilities,
    blend_rankings,
    blend_scores,
    calibrated_mean,
    coordinate_ascent,
    cross_fit,
    fit_weights,
    map_at,
)
from scarmatch.metrics import reciprocal_rank
from scarmatch.settings import SettingsError


def test_points_worked_out_by_hand() -> None:
    lists = [["a", "b", "c", "d", "e", "f"], ["b", "a"]]
    scores = blend_scores(lists, weights=[1.0, 0.5], photographs={"a": 10, "b": 100})
    assert scores["a"] == pytest.approx(10 + 0.5 * 6.5 - 0.33)
    assert scores["b"] == pytest.approx(6.5 + 0.5 * 10 - 3.3)
    assert (scores["c"], scores["d"], scores["e"], scores["f"]) == (3.3, 2.9, 2.7, 0.0)


def test_new_individual_is_damped_unless_first_or_second() -> None:
    def points(place: int) -> float:
        return blend_scores([[*"abcd"[:place], NEW_INDIVIDUAL]])[NEW_INDIVIDUAL]

    assert [points(place) for place in range(5)] == [10, 6.5, 3.3 / 4, 2.9 / 4, 2.7 / 4]


def test_a_label_named_twice_counts_once_at_its_best_place() -> None:
    assert blend_scores([["a", "a", "b"]]) == {"a": 10.0, "b": 6.5}


def test_rankings_are_blended_query_by_query_and_ties_go_by_label() -> None:
    first, second = {"q1": ["a", "b"], "q2": ["c"]}, {"q1": ["b", "a"]}
    assert blend_rankings([first, second]) == {"q1": ["a", "b"], "q2": ["c"]}
    assert blend_rankings([first, second], weights=[1, 1.1])["q1"] == ["b", "a"]
    assert blend_rankings([first], settings=RankTableSettings(top=1))["q1"] == ["a"]
    assert blend_rankings([]) == {}


def test_map_worked_out_by_hand() -> None:
    blended = {"q1": ["a", "b"], "q2": ["b", "a"], "q3": ["b"]}
    assert map_at(blended, {"q1": "a", "q2": "a", "q3": "a", "q4": "a"}) == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert map_at({"q": list("abcdef")}, {"q": "f"}, top=5) == 0
    with pytest.raises(ValueError, match="known answer"):
        map_at(blended, {})


def test_coordinate_ascent_climbs_by_steps_and_stops_at_small_gains() -> None:
    asked: list[tuple[float, ...]] = []

    def objective(weights: tuple[float, ...]) -> float:
        asked.append(weights)
        return -abs(weights[0] - 1.5) - 1e-4 * abs(weights[1] - 5)

    weights, best = coordinate_ascent(objective, 2)
    assert weights == (1.5, 1.0), "0.1 nearer in the second weight gains only 0.00001"
    assert best == pytest.approx(-4e-4)
    assert asked[0] == (1.0, 1.0)


def test_a_gain_of_exactly_the_least_is_kept_and_weights_stay_positive() -> None:
    assert coordinate_ascent(lambda w: 0.01 * w[0] if w[0] < 1.15 else 0.011, 1)[0] == (1.1,)
    assert coordinate_ascent(lambda w: -w[0], 1)[0] == (0.0,)


def test_weights_learn_which_ranking_to_trust() -> None:
    names = [f"w{i}" for i in range(6)]
    truth = {f"q{i}": names[i % 6] for i in range(30)}
    # Where one puts the right label first and the other second, equal weights leave the choice to the alphabet.
    wrong = {query: names[(names.index(label) + 1) % 6] for query, label in truth.items()}
    good = {query: [label, wrong[query]] for query, label in truth.items()}
    bad = {query: [wrong[query], label] for query, label in truth.items()}
    assert map_at(blend_rankings([bad, good]), truth) < 1

    def per_query(weights, queries):
        blended = blend_rankings([bad, good], weights)
        return [reciprocal_rank(blended[query], truth[query]) for query in queries]

    weights, score = fit_weights(per_query, list(truth), 2)
    assert score == 1 and weights[1] > weights[0]


def test_calibrated_mean_leaves_out_what_a_model_does_not_know() -> None:
    nan = np.nan
    mean = calibrated_mean([[0.2, nan, nan], [0.6, 0.4, nan]], weights=[3, 1])
    np.testing.assert_allclose(mean, [0.3, 0.4, nan])
    with pytest.raises(ValueError, match="need 2 weights, got 1"):
        calibrated_mean([[0.1], [0.2]], weights=[1])


def test_impossible_rank_tables_are_refused() -> None:
    for wrong in ({"table": (1.0, 2.0)}, {"table": ()}, {"new_damping": 0.0}, {"top": 0}):
        with pytest.raises(SettingsError):
            RankTableSettings(**wrong)  # type: ignore[arg-type]


def test_the_mean_of_probabilities_counts_what_a_list_lacks_as_none() -> None:
    one, two = {"q": {"a": 0.9, "b": 0.1}}, {"q": {"b": 0.5}, "p": {"c": 0.3}}
    mean = blend_probabilities([one, two], [3.0, 1.0])
    assert list(mean["q"]) == ["a", "b"]
    assert mean["q"] == pytest.approx({"a": 0.675, "b": 0.2})
    assert mean["p"] == {"c": 0.3}, "a model that lacks the query has no say"


def test_weights_are_judged_on_groups_that_had_no_say() -> None:
    asked: list[tuple[tuple[float, ...], tuple[str, ...]]] = []
    groups = {f"q{i}": f"w{i % 3}" for i in range(9)}

    def per_query(weights: tuple[float, ...], queries: Sequence[str]) -> list[float]:
        asked.append((weights, tuple(queries)))
        # Only queries of w0 would have the weight raised.
        return [weights[0] if groups[q] == "w0" else 1.0 for q in queries]

    earned = cross_fit(per_query, groups, 1, folds=3, step=0.5)
    assert list(earned) == list(groups)
    assert {earned[q] for q in groups if groups[q] == "w0"} == {1.0}, "learned without w0: left at 1"
    for _, queries in asked:
        names = {groups[q] for q in queries}
        assert all(sum(groups[q] == name for q in queries) == 3 for name in names), "a group is never divided"
    with pytest.raises(ValueError, match="two"):
        cross_fit(per_query, {"q0": "w0", "q3": "w0"}, 1)
