"""The bound between known and new animals, from labelled pairs."""

from __future__ import annotations

import pandas as pd
import pytest

from engine.models.decision import Decision
from engine.training.decision import tuned_decision


def pairs(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Pairs (query, its individual, the candidate's, cosine)."""
    table = pd.DataFrame(rows, columns=["query_id", "individual0", "individual1", "cosine"])
    return table.assign(candidate_id=[f"c{i}" for i in range(len(table))], n_true=1)


def test_the_bound_lies_between_the_nearest_of_known_and_of_new_animals() -> None:
    raw = pairs(
        ("q1", "a", "a", 0.9),
        ("q1", "a", "b", 0.5),
        ("q2", "b", "b", 0.8),
        ("q2", "b", "a", 0.6),
        # Without a match there is nothing to judge, however near it lies.
        ("q3", "c", "a", 0.85),
    )
    found = tuned_decision(raw, Decision(neighbours=7))
    # However many vote, both are named right: nothing is won by another number.
    assert found.max_distance == pytest.approx(0.3)
    assert found.min_confidence == pytest.approx(0.7)
    assert found.neighbours == 7


def test_so_many_of_the_nearest_vote_as_name_most_animals_right() -> None:
    # The nearest one is right; of all three, two of another animal outvote it.
    raw = pairs(
        ("q1", "a", "a", 0.9),
        ("q1", "a", "b", 0.8),
        ("q1", "a", "b", 0.8),
        ("q2", "b", "b", 0.9),
        ("q2", "b", "a", 0.7),
        ("q2", "b", "a", 0.7),
    )
    assert tuned_decision(raw, Decision()).neighbours == 1
    assert tuned_decision(raw, Decision(neighbours=1)).neighbours == 1


def test_where_nothing_can_be_judged_the_start_stays() -> None:
    start = Decision(max_distance=0.4)
    assert tuned_decision(pairs(("q1", "a", "b", 0.5)), start) == start
    assert tuned_decision(pairs(("q1", "a", "a", 0.5)), start) == start
