"""Questions, how they stand with decisions applied, the queue's orders and filters, and changes of names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalogue.catalog import Catalog
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision, ReviewError
from engine.review.naming import free_name, last_of, preview
from engine.review.questions import questions_of
from engine.review.queue import ORDERS, Queue, Wanted
from engine.review.replay import ReviewState, replay
from engine.review.session import Review
from engine.review.standing import CONTRADICTORY, DECIDED, NO_MATCH, OPEN, WAITING
from engine.search.individuals import combine, exclusive

from .conftest import draw


def says(kind: str, *images: str, who: str = "Ada", **more: Any) -> Decision:
    return Decision(kind, who, images, **more)


# --- how a question stands --------------------------------------------------------------------------------------------


def test_without_decisions_probabilities_are_those_of_the_search(review: Review) -> None:
    standing = review.standing("q1")
    shares = exclusive([combine([0.9, 0.5]), 0.3, 0.05])
    assert [(one.name, pytest.approx(one.probability)) for one in standing.candidates] == [
        ("A", shares[0]),
        (None, 0.1),
        ("B", shares[1]),
        ("C", shares[2]),
    ]
    assert standing.new == pytest.approx(1 - sum(shares))
    assert standing.status == OPEN


def test_a_photograph_of_the_querys_own_side_comes_first(review: Review) -> None:
    assert review.standing("q1").candidates[0].images == ("a2", "a1")


def test_a_rejected_individual_leaves_and_what_it_leaves_goes_to_the_others(review: Review) -> None:
    review.decide([says("different", "q1", "a1")])
    standing = review.standing("q1")
    shares = exclusive([0.3, 0.05])
    assert [one.name for one in standing.candidates] == ["B", None, "C"]
    assert standing.candidates[0].probability == pytest.approx(shares[0])
    assert standing.rejected == ("A",)
    assert standing.new == pytest.approx(1 - sum(shares))


def test_a_question_whose_candidates_were_all_rejected_stays_as_no_match_found(review: Review) -> None:
    review.decide([says("different", "q3", "c2"), says("different", "q3", "q1")])
    assert review.standing("q3").status == NO_MATCH
    assert "q3" in [one.question.key for one in review.queue.wanted(Wanted(status=NO_MATCH))]


def test_a_linked_photograph_adds_its_own_answers(review: Review) -> None:
    before = {one.name: one.probability for one in review.standing("q1").candidates}
    review.decide([says("same", "q1", "q2")])
    standing = review.standing("q1")
    after = {one.name: one.probability for one in standing.candidates}
    assert standing.linked == ("q2",) and standing.status == OPEN
    assert after["B"] > before["B"]
    assert None not in after


def test_what_is_put_aside_comes_last_and_says_why(review: Review) -> None:
    review.decide([says("not_comparable", "q1", "a1"), says("cannot_tell", "q1", "b1")])
    candidates = review.standing("q1").candidates
    assert [(one.name, one.said) for one in candidates[-2:]] == [("A", "not_comparable"), ("B", "cannot_tell")]
    assert review.standing("q1").best.name is None  # type: ignore[union-attr]


def test_decided_and_contradictory_questions(review: Review) -> None:
    review.decide([says("same", "q1", "a1")])
    assert (review.standing("q1").status, review.standing("q1").name) == (DECIDED, "A")
    review.decide([says("different", "q1", "a2")])
    assert review.standing("q1").status == CONTRADICTORY
    review.decide([Decision("undo", "Ada", target=1)])
    assert review.standing("q1").status == OPEN
    assert review.standing("q1").rejected == ("A",)


def test_a_further_vote_is_waited_for(tmp_path: Path, review: Review) -> None:
    with ReviewFile(tmp_path / "review.sqlite") as file:
        strict = Review(review.catalog, file, votes=2)
        strict.decide([says("same", "q1", "a1")])
        assert strict.standing("q1").status == OPEN
        assert {one.name: one.said for one in strict.standing("q1").candidates}["A"] == "open"
        strict.decide([says("same", "q1", "a2", who="Ben")])
        assert strict.standing("q1").name == "A"


# --- the queue --------------------------------------------------------------------------------------------------------


def test_orders(review: Review) -> None:
    def keys(order: str) -> list[str]:
        return [one.question.key for one in review.queue.wanted(Wanted(order=order))]

    assert keys("most certain") == ["q1", "q2", "q3"]
    assert keys("newest") == ["q3", "q2", "q1"]
    assert keys("oldest") == ["q1", "q2", "q3"]
    doubts = [review.standing(key).settles for key in keys("settles most")]
    assert doubts == sorted(doubts, reverse=True)
    assert keys("settles most") == ["q2", "q1", "q3"]  # nearest to an even chance first, hopeless ones last
    assert set(ORDERS) == {"settles most", "most certain", "newest", "oldest"}


def test_filters_have_counts_that_the_other_filters_leave(review: Review) -> None:
    review.decide([says("same", "q1", "a1")])
    counts = review.queue.counts(Wanted(status=DECIDED, text="Q"))
    assert counts["status"][OPEN] == 2 and counts["status"][DECIDED] == 1
    assert counts["year"] == {"2020": 1}
    assert [one.question.key for one in review.queue.wanted(Wanted(text="c"))] == ["q3"]
    assert review.queue.progress() == {
        OPEN: 2,
        NO_MATCH: 0,
        CONTRADICTORY: 0,
        DECIDED: 1,
        WAITING: 0,
        "all": 3,
    }


def test_what_a_reviewer_skipped_comes_last_for_this_one_alone(review: Review) -> None:
    first = review.queue.wanted(Wanted("oldest", who="Ada"))[0].question.key
    review.decide([says("skip", first)])
    assert review.queue.wanted(Wanted("oldest", who="Ada"))[-1].question.key == first
    assert review.queue.wanted(Wanted("oldest", who="Ben"))[0].question.key == first


def test_walking_goes_on_to_the_next_open_question_and_from_the_start_again(review: Review) -> None:
    wanted = Wanted("oldest")
    assert [review.queue.beside("q1", wanted), review.queue.beside("q2", wanted, -1)] == ["q2", "q1"]
    assert review.queue.beside("q3", wanted) is review.queue.beside("q1", wanted, -1) is None
    order = ["q1", "q2", "q3"]
    assert review.queue.waiting_after("q3", order) == "q1"
    review.decide([says("same", "q1", "a1")])
    assert review.queue.waiting_after("q3", order) == "q2"
    review.decide([says("same", "q2", "b1")])
    assert review.queue.waiting_after("q3", order) is None
    assert review.queue.beside("q1", Wanted("oldest", status=OPEN)) == "q3"


def test_standings_that_were_kept_are_those_that_are_computed_anew(tmp_path: Path, review: Review) -> None:
    steps = [
        says("different", "q1", "b1"),
        says("same", "q1", "q2"),
        says("same", "q2", "b2"),
        says("same", "q3", "c1"),
        Decision("merge", "Ada", name="B", individual="C"),
        Decision("undo", "Ada", target=2),
    ]
    for step in steps:
        review.decide([step])
        kept = review.queue.all()
        with ReviewFile(tmp_path / "review.sqlite") as file:
            assert Review(review.catalog, file).queue.all() == kept


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 8), st.integers(0, 8)), max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_kept_standings_never_lag_behind(review: Review, choices: list[tuple[int, int, int]]) -> None:
    images, kinds = list(review.rows), ["same", "different", "cannot_tell", "same", "move", "merge", "rename", "undo"]
    state = ReviewState(review.state.catalogue_names)
    kept = Queue(state)
    fill(kept, review)
    for number, (kind, first, second) in enumerate(choices, start=1):
        row = {
            "move": Decision("move", "Ada", (images[first],), "ABC"[second % 3]),
            "merge": Decision("merge", "Ada", name="A", individual="BC"[first % 2]),
            "rename": Decision("rename", "Ada", name="D", individual="ABC"[first % 3]),
            "undo": Decision("undo", "Ada", target=first + 1),
        }.get(kinds[kind])
        if row is None:
            row = Decision(kinds[kind], "Ada", (images[first], images[second if second != first else first - 1]))
        kept.forget(state.extend([row.replace(number=number)]))
        anew = Queue(replay(state.decisions, state.catalogue_names))
        fill(anew, review)
        anew.forget(None)
        assert kept.all() == anew.all(), row


def fill(queue: Queue, review: Review) -> None:
    queue.add(review.queue.questions.values())
    for image, answer in review.queue.answers.items():
        queue.answer(image, answer)


def test_photographs_of_one_encounter_are_one_question_unless_asked_otherwise() -> None:
    table = Catalog(
        pd.DataFrame(
            {"image_id": ["x", "y", "z"], "path": ["x", "y", "z"], "encounter_id": ["e", "e", None]},
        ),
        Path("/"),
    ).table
    assert [one.images for one in questions_of(table)] == [("x", "y"), ("z",)]
    assert len(questions_of(table, by_encounter=False)) == 3


# --- decisions --------------------------------------------------------------------------------------------------------


def test_the_probability_that_was_shown_is_kept_with_a_decision(review: Review) -> None:
    shown = review.standing("q1").candidates[0].probability
    (row,) = review.decide([says("same", "q1", "a2", shown={"layers": ["marks"]})])
    assert row.probability == pytest.approx(shown)
    assert row.shown == {"question": "q1", "rank": 1, "name": "A", "layers": ["marks"]}


def test_what_another_process_decided_is_seen(tmp_path: Path, review: Review) -> None:
    with ReviewFile(tmp_path / "review.sqlite") as other:
        other.append([says("same", "q1", "a1", who="Ben")])
    review.refresh()
    assert review.standing("q1").name == "A"


def test_asking_twice_with_one_key_decides_once(review: Review) -> None:
    merge = Decision("merge", "Ada", name="A", individual="B", key="k")
    assert review.decide([merge]) == review.decide([merge])


@pytest.mark.parametrize(
    ("decision", "word"),
    [
        (says("same", "q1", "nobody"), "no photograph 'nobody'"),
        (says("new_individual", "q1", name="A"), "taken"),
        (says("split", "a1", name="B", individual="A"), "taken"),
        (says("split", "b1", name="D", individual="A"), "not of 'A'"),
        (says("split", "a1", "a2", name="D", individual="A"), "rename it instead"),
        (says("move", "q1", name="D"), "no individual 'D'"),
        (Decision("merge", "Ada", name="D", individual="A"), "no individual 'D'"),
        (Decision("rename", "Ada", name="B", individual="A"), "taken"),
        (Decision("rename", "Ada", name="D", individual="E"), "no individual 'E'"),
        (Decision("undo", "Ada", target=7), "no decision 7"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(review: Review, decision: Decision, word: str) -> None:
    with pytest.raises(ReviewError, match=word):
        review.decide([says("same", "q2", "b1"), decision])
    assert review.file.last() == 0


def test_what_was_taken_back_is_not_taken_back_again(review: Review) -> None:
    review.decide([says("same", "q1", "a1")])
    assert last_of("Ada", review.state).number == 1  # type: ignore[union-attr]
    review.decide([Decision("undo", "Ada", target=1)])
    assert last_of("Ada", review.state) is None
    with pytest.raises(ReviewError, match="taken back already"):
        review.decide([Decision("undo", "Ben", target=1)])


def test_a_preview_says_what_would_change_and_changes_nothing(review: Review) -> None:
    review.decide([says("same", "q1", "a1"), says("same", "q2", "a1"), says("same", "q2", "b1")])
    merged = preview(Decision("merge", "Ada", name="A", individual="B"), review.state)
    assert set(merged.renamed) == {("b1", "B", "A"), ("b2", "B", "A"), ("q1", None, "A"), ("q2", None, "A")}
    assert [one.kind for one in merged.resolved] == ["two names"] and merged.contradictions == ()
    split = preview(says("split", "a1", name="D", individual="A"), review.state)
    assert split.retired == (1, 2)
    assert review.file.last() == 3


@pytest.mark.parametrize(
    ("names", "free"), [(["CIB007", "CIB012", "Sedna"], "CIB013"), (["Sedna", "Nanuq"], "new-1"), ([], "new-1")]
)
def test_a_free_name_follows_those_that_there_are(review: Review, names: list[str], free: str) -> None:
    state = review.state.__class__({name: name for name in names})
    assert free_name(state) == free


def test_an_id_that_is_there_is_refused_for_a_new_photograph(tmp_path: Path, review: Review) -> None:
    draw(tmp_path / "a1.jpg", 1)
    with pytest.raises(ReviewError, match="already"):
        review.add_photographs(Catalog.from_photos([tmp_path / "a1.jpg"]).table)
