"""What decisions mean together: links that carry on, names, splits, votes, undo, and contradictions that stay open."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.review.decisions import Decision
from engine.review.replay import ReviewState, replay, replay_on

NAMES = {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "q1": None, "q2": None, "r": None}
ENCOUNTERS = {"q1": "e1", "q2": "e1"}


def state_of(*decisions: Decision, votes: int = 1) -> ReviewState:
    rows = [one.replace(number=number) for number, one in enumerate(decisions, start=1)]
    return replay(rows, NAMES, ENCOUNTERS, votes)


def says(kind: str, *images: str, who: str = "Ada", **more: Any) -> Decision:
    return Decision(kind, who, images, **more)


def undo(target: int) -> Decision:
    return Decision("undo", "Ada", target=target)


def test_without_decisions_the_catalogue_speaks_and_an_encounter_is_one_group() -> None:
    state = state_of()
    assert state.individuals() == {"A": ["a1", "a2"], "B": ["b1", "b2"]}
    assert sorted(state.group("q1")) == ["q1", "q2"]
    assert state.verdict("a1", "a2") == "same" and state.verdict("a1", "b1") == ""
    assert state.contradictions() == []


def test_a_confirmed_photograph_brings_its_encounter_and_a_rejected_individual_goes_whole() -> None:
    state = state_of(says("same", "q1", "a1"), says("different", "r", "b2"))
    assert [state.name(image) for image in ("q1", "q2", "r")] == ["A", "A", None]
    assert state.verdict("r", "b1") == "different"
    assert state.rejected("r") == ({"B"}, set())


def test_links_carry_on_over_unnamed_photographs() -> None:
    state = state_of(says("same", "q1", "r"), says("same", "r", "b1"), says("different", "q2", "a2"))
    assert state.name("q2") == "B"
    assert state.verdict("b2", "a1") == "different"


def test_what_cannot_be_told_links_nothing() -> None:
    state = state_of(says("cannot_tell", "r", "a1"), says("not_comparable", "r", "b1"), says("skip", "r"))
    assert state.verdict("r", "a1") == state.verdict("r", "b1") == ""
    assert [vote.kind for vote in state.pair_votes("b1", "r")] == ["not_comparable"]
    assert state.skipped == {"Ada": {"r": 3}}


def test_linked_and_kept_apart_is_a_contradiction_with_the_way_between() -> None:
    state = state_of(says("same", "r", "a1"), says("same", "r", "q1"), says("different", "q2", "a2"))
    (one,) = state.contradictions()
    assert one.kind == "linked and different" and one.names == ("A",)
    assert {one.images[0], one.images[-1]} == {"a2", "q2"}
    assert set(one.images) == {"a1", "a2", "r", "q1", "q2"}
    assert one.decisions == (1, 2, 3)
    assert state.verdict("q2", "a2") == "both"


def test_two_names_in_one_group_are_a_contradiction_and_nothing_is_merged() -> None:
    state = state_of(says("same", "r", "a1"), says("same", "r", "b1"))
    (one,) = state.contradictions()
    assert (one.kind, one.names, one.decisions) == ("two names", ("A", "B"), (1, 2))
    assert set(one.images) == {"a1", "r", "b1"}
    assert state.name("r") is None
    assert state.individuals() == {"A": ["a1", "a2"], "B": ["b1", "b2"]}


def test_in_a_contradiction_a_rejected_individual_is_its_name_alone() -> None:
    state = state_of(says("same", "a1", "b1"), says("different", "r", "a2"))
    assert state.rejected("r") == ({"A"}, set())


def test_a_merge_resolves_two_names_and_names_all_that_hang_on_them() -> None:
    merge = Decision("merge", "Ada", name="A", individual="B")
    state = state_of(says("same", "r", "a1"), says("same", "r", "b1"), merge)
    assert state.contradictions() == []
    assert state.individuals() == {"A": ["a1", "a2", "b1", "b2", "r"]}


def test_a_split_takes_photographs_out_and_retires_the_links_that_it_cuts() -> None:
    split = says("split", "a2", "r", name="C", individual="A")
    state = state_of(says("same", "r", "a1"), split)
    assert state.individuals() == {"A": ["a1"], "B": ["b1", "b2"], "C": ["a2", "r"]}
    assert state.contradictions() == [] and state.retired == {1}


def test_a_split_of_an_encounter_leaves_the_other_photographs_where_they_were() -> None:
    state = state_of(says("same", "q1", "a1"), says("split", "q2", name="C", individual="A"))
    assert (state.name("q1"), state.name("q2")) == ("A", "C")
    assert state.contradictions() == []


def test_links_inside_what_is_moved_stay() -> None:
    state = state_of(says("same", "r", "b1"), says("move", "r", "b1", name="A"), says("different", "r", "b1"))
    assert state.retired == frozenset()
    assert [one.kind for one in state.contradictions()] == ["linked and different"]


def test_new_individuals_and_renaming() -> None:
    state = state_of(
        says("new_individual", "q1", "q2", name="N"),
        Decision("rename", "Ada", name="Nova", individual="N"),
        says("same", "r", "q2"),
    )
    assert state.individuals()["Nova"] == ["q1", "q2", "r"] and "N" not in state.individuals()


def test_a_new_individual_names_what_was_linked_with_it() -> None:
    state = state_of(says("same", "q1", "r"), says("new_individual", "r", name="N"))
    assert state.individuals()["N"] == ["q1", "q2", "r"] and state.retired == frozenset()


def test_undo_is_a_row_and_can_be_undone() -> None:
    same = says("same", "r", "a1")
    assert state_of(same, undo(1)).name("r") is None
    assert state_of(same, undo(1), undo(2)).name("r") == "A"
    assert state_of(same, undo(1), undo(2), undo(3)).name("r") is None
    assert state_of(same, undo(99)).name("r") == "A"


def test_undoing_a_merge_brings_both_back() -> None:
    merge = Decision("merge", "Ada", name="A", individual="B")
    assert set(state_of(merge).individuals()) == {"A"}
    assert set(state_of(merge, undo(1)).individuals()) == {"A", "B"}


def test_a_reviewers_last_word_counts_and_two_who_disagree_are_a_contradiction() -> None:
    first, second = says("same", "r", "a1"), says("different", "r", "a1")
    assert state_of(first, second).verdict("r", "a1") == "different"
    state = state_of(first, second.replace(who="Ben"))
    assert state.verdict("r", "a1") == ""
    (one,) = state.contradictions()
    assert (one.kind, one.images, one.decisions) == ("reviewers disagree", ("a1", "r"), (1, 2))


def test_several_votes_are_counted_over_photographs_of_one_individual() -> None:
    first = says("same", "r", "a1")
    assert state_of(first, votes=2).name("r") is None
    assert state_of(first, first, votes=2).name("r") is None
    assert state_of(first, says("same", "r", "a2", who="Ben"), votes=2).name("r") == "A"
    assert state_of(first, says("same", "r", "b1", who="Ben"), votes=2).name("r") is None


def test_a_catalogues_table_is_replayed_on() -> None:
    table = pd.DataFrame(
        {"image_id": ["a", "b", "c"], "individual_id": ["A", None, None], "encounter_id": [None, "e", "e"]}
    )
    state = replay_on(table, [says("same", "b", "a").replace(number=1)])
    assert state.names() == {"a": "A", "b": "A", "c": "A"}


def test_who_was_rejected_without_a_name_is_rejected_under_the_name_that_comes_later() -> None:
    state = state_of(says("different", "r", "q1"))
    assert state.rejected("r") == (set(), {"q1"})
    touched = state.extend([says("same", "q2", "a1").replace(number=2)])
    assert state.rejected("r") == ({"A"}, set())
    assert "r" in touched.spoken_of and touched.linked >= {"q1", "q2"}


def test_photographs_that_come_later_take_part() -> None:
    state = state_of(says("same", "r", "new"))
    state.add_photographs({"new": "D"})
    assert state.name("r") == "D"


IMAGES = st.sampled_from(sorted(NAMES))
WHO = st.sampled_from(["Ada", "Ben"])
PAIRS = st.tuples(IMAGES, IMAGES).filter(lambda pair: pair[0] != pair[1])
DECISIONS = st.one_of(
    st.builds(Decision, st.sampled_from(["same", "different", "cannot_tell"]), WHO, PAIRS),
    st.builds(Decision, st.just("move"), WHO, st.tuples(IMAGES), st.sampled_from(["A", "B", "C"])),
    st.builds(lambda who, image: Decision("split", who, (image,), "D", "A"), WHO, IMAGES),
    st.builds(lambda who: Decision("merge", who, name="A", individual="B"), WHO),
    st.builds(lambda who, image: Decision("new_individual", who, (image,), "E"), WHO, IMAGES),
    st.builds(lambda who: Decision("rename", who, name="F", individual="A"), WHO),
    st.builds(Decision, st.just("skip"), WHO, st.tuples(IMAGES)),
    st.builds(lambda who, target: Decision("undo", who, target=target), WHO, st.integers(1, 8)),
)


@given(st.lists(DECISIONS, max_size=10), st.sampled_from([1, 2]))
def test_row_by_row_gives_the_same_as_all_at_once(decisions: list[Decision], votes: int) -> None:
    rows = [one.replace(number=number) for number, one in enumerate(decisions, start=1)]
    slow, whole = ReviewState(NAMES, ENCOUNTERS, votes), replay(rows, NAMES, ENCOUNTERS, votes)
    for row in rows:
        slow.extend([row])
        slow.contradictions()
    slow.extend(rows)
    assert told(slow) == told(whole)


@given(st.lists(DECISIONS, max_size=10), DECISIONS, st.sampled_from([1, 2]))
def test_what_was_only_tried_leaves_nothing_behind(decisions: list[Decision], tried: Decision, votes: int) -> None:
    rows = [one.replace(number=number) for number, one in enumerate(decisions, start=1)]
    state = replay(rows, NAMES, ENCOUNTERS, votes)
    with state.trying(tried) as after:
        then = told(after)
    assert then == told(replay([*rows, tried.replace(number=len(rows) + 1)], NAMES, ENCOUNTERS, votes))
    assert told(state) == told(replay(rows, NAMES, ENCOUNTERS, votes))


@given(st.lists(DECISIONS, max_size=10), DECISIONS, st.sampled_from([1, 2]))
def test_whoever_is_named_or_grouped_otherwise_is_told_of(decisions: list[Decision], new: Decision, votes: int) -> None:
    rows = [one.replace(number=number) for number, one in enumerate(decisions, start=1)]
    state = replay(rows, NAMES, ENCOUNTERS, votes)
    before = {image: known_of_one(state, image) for image in NAMES}
    touched = state.extend([new.replace(number=len(rows) + 1)])
    changed = {image for image in NAMES if known_of_one(state, image) != before[image]}
    assert changed <= touched.spoken_of
    assert {image for image in NAMES if state.name(image) != before[image][0]} <= touched.linked


def known_of_one(state: ReviewState, image: str) -> tuple[Any, ...]:
    votes = sorted((other, vote.number) for other, vote in state.votes_of(image))
    return state.name(image), sorted(state.group(image)), state.rejected(image), votes


def told(state: ReviewState) -> list[Any]:
    pairs = [(a, b) for a in NAMES for b in NAMES if a < b]
    return [
        state.names(),
        [state.verdict(*pair) for pair in pairs],
        [(known_of_one(state, image), state.named_by.get(image)) for image in NAMES],
        state.contradictions(),
        (state.retired, set(state.counting), str(state.skipped), state.last),
    ]


@pytest.mark.parametrize("votes", [1, 2])
def test_an_undone_row_is_as_if_it_had_never_been(votes: int) -> None:
    rows = [says("same", "r", "a1"), says("split", "a2", name="C", individual="A"), says("different", "r", "a2")]
    undone = state_of(*rows, says("move", "r", "q1", name="B"), undo(4), votes=votes)
    assert undone.names() == state_of(*rows, votes=votes).names()
    assert undone.contradictions() == state_of(*rows, votes=votes).contradictions()
