"""From photographs to individuals: combination by hand arithmetic, encounters as one question, the k-NN head."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from engine.search.individuals import (
    COLUMNS,
    NEW_INDIVIDUAL,
    IdentifySettings,
    KnnSettings,
    average_in,
    combine,
    knn_head,
    new_individual_probability,
    place_new_individual,
    rank_encounters,
    rank_individuals,
)
from reranker.individual_model import IndividualModel
from scarmatch.settings import SettingsError


def answers(*rows: tuple[str, str, str | None, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability"])


def test_several_photographs_combine_with_falling_weight() -> None:
    assert combine([0.3]) == pytest.approx(0.3)
    assert combine([0.2, 0.5]) == pytest.approx(1 - 0.5 * 0.8**0.5)
    assert combine([0.1, 0.5, 0.2]) == pytest.approx(1 - 0.5 * 0.8**0.5 * 0.9**0.25)
    assert combine([1.0, 0.2]) == 1.0 and combine([]) == 0.0
    assert combine([1e-15]) > combine([1e-16]) > 0, "the order of very small probabilities survives"


def test_individuals_are_ranked_with_their_photographs() -> None:
    ranked = rank_individuals(
        answers(("q", "1", "a", 0.4), ("q", "2", "b", 0.3), ("q", "3", "b", 0.3), ("q", "4", None, 0.2))
    )
    assert list(ranked.columns) == list(COLUMNS)
    assert ranked["individual_id"].tolist() == ["b", "a"], "two photographs of 0.3 outweigh one of 0.4"
    assert ranked["rank"].tolist() == [1, 2]
    odds_b, odds_a = 1 / (0.7 * 0.7**0.5) - 1, 0.4 / 0.6
    assert ranked["probability"].tolist() == pytest.approx(
        [odds_b / (1 + odds_a + odds_b), odds_a / (1 + odds_a + odds_b)]
    )
    assert ranked["photographs"].tolist() == [["2", "3"], ["1"]]
    assert ranked["best_image_id"].tolist() == ["2", "1"] and ranked["n_photographs"].tolist() == [2, 1]


def test_probabilities_of_one_query_never_add_up_to_more_than_1() -> None:
    ranked = rank_individuals(answers(("q", "1", "a", 0.9), ("q", "2", "b", 0.6)))
    # Odds 9 and 1.5 against "none" with 1.
    assert ranked["probability"].tolist() == pytest.approx([9 / 11.5, 1.5 / 11.5])


def test_doubtful_individuals_cannot_talk_a_sure_one_down() -> None:
    table = answers(("q", "1", "a", 0.99), *(("q", str(i), f"x{i}", 0.05) for i in range(2, 12)))
    best = rank_individuals(table).iloc[0]
    assert best["individual_id"] == "a"
    assert best["probability"] == pytest.approx(99 / (1 + 99 + 10 / 19))
    assert new_individual_probability(table)["q"] == pytest.approx(1 / (1 + 99 + 10 / 19))
    certain = rank_individuals(answers(("q", "1", "a", 1.0), ("q", "2", "b", 1.0)))
    assert certain["probability"].tolist() == pytest.approx([0.5, 0.5])


def test_queries_are_independent_and_rows_may_come_in_any_order() -> None:
    table = answers(("p", "1", "a", 0.4), ("q", "1", "a", 0.2), ("q", "2", "b", 0.2), ("q", "3", "a", 0.1))
    both = rank_individuals(table)
    alone = rank_individuals(table.loc[table["query_id"] == "q"])
    pd.testing.assert_frame_equal(both.loc[both["query_id"] == "q"].reset_index(drop=True), alone)
    mixed = rank_individuals(table.iloc[[3, 2, 1]])
    pd.testing.assert_frame_equal(mixed, alone)
    assert rank_individuals(table, top=1)["individual_id"].tolist() == ["a", "a"]


def test_no_answers_one_individual_and_bad_tables() -> None:
    empty = rank_individuals(answers())
    assert empty.empty and list(empty.columns) == list(COLUMNS)
    assert rank_individuals(answers(("q", "1", "a", 0.1), ("q", "2", "a", 0.05)))["rank"].tolist() == [1]
    with pytest.raises(ValueError, match="individual_id"):
        rank_individuals(answers().drop(columns="individual_id"))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        rank_individuals(answers(("q", "1", "a", 1.5)))


def test_an_encounter_is_one_question() -> None:
    table = answers(
        ("q1", "1", "a", 0.4),
        ("q2", "1", "a", 0.3),  # the same catalogue photograph: counts once, at its best
        ("q2", "2", "b", 0.5),
        ("q1", "q2", "a", 0.99),  # a photograph of the question itself is no answer to it
        ("q3", "q1", "a", 0.2),  # but may answer another question
    )
    ranked = rank_encounters(table, {"q1": "e", "q2": "e"})
    assert ranked["query_id"].tolist() == ["e", "e", "q3"]
    assert ranked["individual_id"].tolist() == ["b", "a", "a"]
    assert ranked["probability"].tolist() == pytest.approx([1 / (1 + 1 + 2 / 3), (2 / 3) / (1 + 1 + 2 / 3), 0.2])
    assert ranked["photographs"].tolist() == [["2"], ["1"], ["q1"]]
    more = rank_encounters(answers(("q1", "1", "a", 0.4), ("q2", "3", "a", 0.3)), {"q1": "e", "q2": "e"})
    assert more["probability"].item() == pytest.approx(1 - 0.6 * 0.7**0.5)


MODEL = IndividualModel(
    {"best": 1.0, "second": 0.0, "encounters": 0.0, "questions": 1.0, "mean": 0.0, "found": 0.0},
    {"constant": 1.0, "log_photographs": 0.0},
)


def test_a_model_weighs_individuals_against_each_other_and_none_of_them() -> None:
    table = answers(("q", "1", "a", 0.4), ("q", "2", "b", 0.3), ("q", "3", "b", 0.3), ("q", "4", None, 0.9))
    ranked = rank_individuals(table, model=MODEL)
    assert ranked["individual_id"].tolist() == ["a", "b"]
    odds = np.array([0.4 / 0.6, 0.3 / 0.7]) ** 2
    assert ranked["probability"].tolist() == pytest.approx(odds / (odds.sum() + math.e))
    assert ranked["photographs"].tolist() == [["1"], ["2", "3"]]
    left = new_individual_probability(table, ["q", "lonely"], model=MODEL)
    assert left.to_dict() == pytest.approx({"q": math.e / (odds.sum() + math.e), "lonely": 1.0})


def test_a_query_of_no_encounter_is_one_photograph_to_a_model() -> None:
    table = answers(("q1", "1", "a", 0.5), ("q2", "1", "a", 0.5), ("lonely", "2", "b", 0.6))
    counting = replace(MODEL, new={"constant": 1.0, "log_photographs": 0.5})
    together = rank_encounters(table, {"q1": "e", "q2": "e"}, model=counting)
    alone = rank_individuals(table[table["query_id"] == "lonely"], model=counting)
    assert together.set_index("query_id").loc["lonely", "probability"] == alone["probability"].item()


def test_a_model_sees_every_photograph_of_an_encounter() -> None:
    table = answers(("q1", "1", "a", 0.5), ("q2", "1", "a", 0.5), ("q2", "q1", "a", 0.99), ("q2", "2", "b", 0.6))
    ranked = rank_encounters(table, {"q1": "e", "q2": "e", "q3": "e"}, model=MODEL)
    # a was found by two of the photographs: 0.5 at best, 0.75 by any of them; b by one.
    a, b = 1.0 * 3.0, 1.5 * 1.5
    assert ranked["individual_id"].tolist() == ["a", "b"]
    assert ranked["probability"].tolist() == pytest.approx([a / (a + b + math.e), b / (a + b + math.e)])
    assert ranked["photographs"].tolist() == [["1"], ["2"]]


def test_new_individual_is_what_the_individuals_leave() -> None:
    table = answers(("q", "1", "a", 0.4), ("q", "2", "b", 0.3), ("p", "1", None, 0.9))
    left = new_individual_probability(table, queries=["q", "p", "lonely"])
    none = 1 / (1 + 2 / 3 + 3 / 7)
    assert left.to_dict() == pytest.approx({"q": none, "p": 1.0, "lonely": 1.0})
    assert list(new_individual_probability(table).index) == ["q", "p"]
    given = new_individual_probability(table, individuals=rank_individuals(table))
    assert given["q"] == pytest.approx(none)


def at_angle(*cosines: float) -> np.ndarray:
    """Unit vectors with these cosines to (1, 0)."""
    return np.array([[c, math.sqrt(1 - c * c)] for c in cosines], np.float32)


QUERY = np.array([[1.0, 0.0]], np.float32)


def test_the_majority_of_the_nearest_wins_over_the_single_nearest() -> None:
    head = knn_head(["q"], QUERY, at_angle(0.99, 0.9, 0.8), ["a", "b", "b"])
    assert head["individual_id"].tolist() == ["b", "a"] and head["votes"].tolist() == [2, 1]
    assert head["distance"].tolist() == pytest.approx([0.1, 0.01], abs=1e-6)
    nearest = knn_head(["q"], QUERY, at_angle(0.99, 0.9, 0.8), ["a", "b", "b"], KnnSettings(neighbours=1))
    assert nearest["individual_id"].tolist() == ["a"]


def test_ties_go_to_the_larger_inverse_distance_then_to_the_name() -> None:
    # 1/0.1 + 1/0.4 = 12.5 against 1/0.2 + 1/0.2 = 10.
    head = knn_head(["q"], QUERY, at_angle(0.8, 0.8, 0.9, 0.6), ["a", "a", "b", "b"])
    assert head["individual_id"].tolist() == ["b", "a"]
    equal = knn_head(["q"], QUERY, at_angle(0.8, 0.8), ["z", "y"])
    assert equal["individual_id"].tolist() == ["y", "z"]


@pytest.mark.parametrize(("cosine", "new"), [(0.37, True), (0.39, False)])
def test_far_from_everything_means_new(cosine: float, new: bool) -> None:
    head = knn_head(["q"], QUERY, at_angle(cosine, 0.1), ["a", "b"])
    assert (head["individual_id"].iloc[0] == NEW_INDIVIDUAL) is new
    loose = knn_head(["q"], QUERY, at_angle(cosine, 0.1), ["a", "b"], KnnSettings(max_distance=0.9))
    assert (loose["individual_id"].iloc[0] == NEW_INDIVIDUAL) is new, "the confidence bound holds by itself"


def test_many_queries_are_answered_like_each_alone() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(360, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries, catalogue, names = vectors[:260], vectors[260:], [f"w{i % 17}" for i in range(100)]
    ids = [f"q{i}" for i in range(260)]
    head = knn_head(ids, queries, catalogue, names)
    alone = knn_head(ids[258:259], queries[258:259], catalogue, names)
    among = head[head["query_id"] == "q258"].reset_index(drop=True)
    assert among["individual_id"].tolist() == alone["individual_id"].tolist()
    assert (head.groupby("query_id").size() == 5).all()


def test_an_empty_catalogue_and_shapes_that_do_not_fit() -> None:
    head = knn_head(["q"], QUERY, np.zeros((0, 2), np.float32), [])
    assert head["individual_id"].tolist() == [NEW_INDIVIDUAL]
    with pytest.raises(ValueError, match="1 individuals for 2 vectors"):
        knn_head(["q"], QUERY, at_angle(0.5, 0.4), ["a"])
    with pytest.raises(SettingsError):
        KnnSettings(neighbours=0)


def test_identifying_needs_no_learning_library() -> None:
    loaded = "[m for m in ('lightgbm', 'sklearn', 'torch') if m in sys.modules]"
    code = f"import sys, engine.search.individuals; print({loaded})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_new_individual_stands_where_its_probability_puts_it() -> None:
    table = answers(("q", "1", "a", 0.6), ("q", "2", "b", 0.2))
    ranked = rank_individuals(table)
    new = new_individual_probability(table, ["q", "lonely"], ranked)
    placed = place_new_individual(ranked, new)
    mine = placed[placed["query_id"] == "q"]
    assert mine["individual_id"].tolist() == ["a", NEW_INDIVIDUAL, "b"]
    # Odds 1.5 and 0.25 against "none" with 1.
    assert mine["probability"].tolist() == pytest.approx([1.5 / 2.75, 1 / 2.75, 0.25 / 2.75])
    assert mine["rank"].tolist() == [1, 2, 3]
    assert placed[placed["query_id"] == "lonely"]["individual_id"].tolist() == [NEW_INDIVIDUAL]
    assert placed["photographs"].tolist() == [["1"], [], ["2"], []]


@pytest.mark.parametrize(
    ("odds", "order"), [(2.0, [NEW_INDIVIDUAL, "a", "b"]), (0.1, ["a", "b", NEW_INDIVIDUAL]), (1.5, ["a", "n", "b"])]
)
def test_odds_given_beforehand_move_the_new_individual_only(odds: float, order: list[str]) -> None:
    table = answers(("q", "1", "a", 0.6), ("q", "2", "b", 0.2))
    placed = place_new_individual(
        rank_individuals(table), new_individual_probability(table), IdentifySettings(new_odds=odds)
    )
    wanted = [NEW_INDIVIDUAL if name == "n" else name for name in order]
    assert placed["individual_id"].tolist() == wanted
    assert placed["probability"].sum() == pytest.approx(1.0)
    cut = place_new_individual(
        rank_individuals(table), new_individual_probability(table), IdentifySettings(top=2, new_odds=odds)
    )
    assert cut["individual_id"].tolist() == wanted[:2]
    with pytest.raises(SettingsError, match="new_odds"):
        IdentifySettings(new_odds=0)


def test_photographs_that_may_not_vote_do_not() -> None:
    head = knn_head(
        ["q"], QUERY, at_angle(0.99, 0.8), ["a", "b"], allowed=lambda position: np.array([position != 0, True])
    )
    assert head["individual_id"].tolist() == ["b"]
    nobody = knn_head(["q"], QUERY, at_angle(0.99), ["a"], allowed=lambda position: np.zeros(1, bool))
    assert nobody["individual_id"].tolist() == [NEW_INDIVIDUAL]
    assert np.isinf(nobody["distance"].item())


def test_a_trained_head_shares_what_the_engine_leaves_to_individuals() -> None:
    table = answers(("q", "1", "a", 0.6), ("q", "2", "b", 0.2), ("other", "3", "a", 0.5))
    ranked = rank_individuals(table)
    new = new_individual_probability(table, ["q", "other", "lonely"], ranked)
    said = {"q": {"b": 0.8, "c": 0.2}, "lonely": {"a": 1.0}}
    both = average_in(ranked, new, said, 0.5)
    mine = both[both["query_id"] == "q"].set_index("individual_id")
    a, b, left = 1.5 / 2.75, 0.25 / 2.75, 1.75 / 2.75
    expected = {"b": b / 2 + 0.8 * left / 2, "a": a / 2, "c": 0.2 * left / 2}
    assert mine["probability"].to_dict() == pytest.approx(expected)
    assert mine.index.tolist() == ["b", "a", "c"], "the likelier first"
    assert mine["probability"].sum() == pytest.approx(1 - new["q"]), "the new animal keeps its share"
    assert mine.loc["b", "photographs"] == ["2"] and mine.loc["c", "photographs"] == []
    untouched = both[both["query_id"] == "other"]
    assert untouched["probability"].tolist() == ranked[ranked["query_id"] == "other"]["probability"].tolist()
    assert both[both["query_id"] == "lonely"]["probability"].tolist() == [0.0], "nothing was left to share"
    none = average_in(ranked, new, said, 0.0)
    assert none[none["query_id"] == "q"]["probability"].tolist()[:2] == pytest.approx([a, b])
    with pytest.raises(SettingsError, match="between 0 and 1"):
        average_in(ranked, new, said, 1.5)
