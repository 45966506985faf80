"""Rankers that never saw the whale that is asked, and the one judge of lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.context import Context
from bench.lists import judge_lists, part_of, with_other_days
from bench.out_of_fold import OutOfFold, fit_out_of_fold
from engine.catalogue.catalog import CatalogError
from engine.search.matcher import Matcher


@pytest.fixture
def matcher(small_settings) -> Matcher:  # type: ignore[no-untyped-def]
    return Matcher(small_settings, ranker="fusion", workers=1)


def test_rankers_never_saw_the_whale_that_they_judge(monkeypatch: pytest.MonkeyPatch, matcher: Matcher) -> None:
    """Each fold's training table names nobody of the fold, keeps its lists whole, and judges that fold alone."""
    whales = [f"w{n}" for n in range(6)]
    rows = [(f"q-{a}", f"c-{b}-{k}", a, b) for a in whales for b in whales for k in range(2)]
    raw = pd.DataFrame(rows, columns=["query_id", "candidate_id", "individual0", "individual1"])
    seen: list[pd.DataFrame] = []

    class Trained:
        ranker = "fusion"

    def train(table: pd.DataFrame, *rest: Any) -> Trained:
        seen.append(table)
        return Trained()

    monkeypatch.setattr("bench.out_of_fold.train_on_pairs", train)
    fitted = fit_out_of_fold(raw, matcher, folds=3, seed=1)
    assert sorted(np.bincount(list(fitted.fold_of.values()))) == [2, 2, 2]
    for fold, table in enumerate(seen):
        held_out = {name for name, number in fitted.fold_of.items() if number == fold}
        assert not held_out & (set(table["individual0"]) | set(table["individual1"].dropna()))
        assert (table.groupby("query_id").size() == 12).all()
    assert fitted.folds_of(["w0", "nobody", None]).tolist() == [fitted.fold_of["w0"], 0, 0]


def test_each_query_is_ranked_by_its_own_fold(monkeypatch: pytest.MonkeyPatch, matcher: Matcher) -> None:
    class Named:
        def __init__(self, settings: Any, ranker: Any, **rest: Any) -> None:
            self.ranker = ranker

        def rank(self, raw: pd.DataFrame, top: int) -> pd.DataFrame:
            return raw.assign(by=self.ranker)

    monkeypatch.setattr("bench.out_of_fold.Matcher", Named)
    raw = pd.DataFrame({"query_id": ["q2", "q1", "q3"], "individual0": ["b", "a", "stranger"]})
    answers = OutOfFold(matcher, ("zero", "one"), {"a": 0, "b": 1}).rank(raw)
    assert answers["query_id"].tolist() == ["q2", "q1", "q3"]
    assert answers["by"].tolist() == ["one", "zero", "zero"]


def test_too_few_whales_are_said(context_of: Callable[..., Context]) -> None:
    context = context_of("peers", "--folds=5", "--training-queries=3")
    with pytest.raises(CatalogError, match="--ranker fusion"):
        _ = context.rankers


# --- lists ------------------------------------------------------------------------------------------------------------


def lists(spec: dict[str, tuple[str, int, list[tuple[str, float]]]]) -> pd.DataFrame:
    """Make scored lists from query -> (individual, fold, [(candidate's individual, score)])."""
    rows = [
        (query, f"c{place}", who, other, who == other, fold, score)
        for query, (who, fold, found) in spec.items()
        for place, (other, score) in enumerate(found)
    ]
    columns = ["query_id", "candidate_id", "individual0", "individual1", "same", "fold", "cosine"]
    return pd.DataFrame(rows, columns=columns)


def test_a_list_by_hand() -> None:
    rows = lists({"t|q": ("a", 1, [("b", 0.9), ("b", 0.8), ("a", 0.7), ("c", 0.1), ("a", 0.2)])})
    one = judge_lists(rows.assign(n_true=3.0), "cosine").loc["t|q"]
    assert (one["guess"], one["fold"], bool(one["top1"])) == ("b", 1, False)
    assert one["rr5"] == 1 / 2, "the individual counts once, however many photographs stand before it"
    assert one["ap20"] == pytest.approx((1 / 3 + 2 / 4) / 3), "one match is not in the list"
    assert judge_lists(rows, "cosine").loc["t|q", "ap20"] == pytest.approx((1 / 3 + 2 / 4) / 2), "those of the list"
    assert judge_lists(rows.assign(n_true=0.0), "cosine").empty, "nothing to find"
    assert judge_lists(rows.assign(cosine=np.nan), "cosine").empty, "nobody scored it"


def test_equal_scores_go_by_the_candidate() -> None:
    rows = lists({"t|q": ("a", 0, [("b", 0.5), ("a", 0.5)])})
    assert judge_lists(rows, "cosine").loc["t|q", "ap20"] == 0.5
    assert judge_lists(rows.iloc[::-1], "cosine").loc["t|q", "ap20"] == 0.5


def test_tasks_are_told_apart_by_the_beginning_and_middle_of_their_names() -> None:
    rows = lists({f"{task}|q": ("a", 0, [("a", 1.0)]) for task in ("top: all years", "top: 2 -> 1", "lateral -> top")})
    assert set(part_of(rows, "top: ", " -> ")["query_id"]) == {"top: 2 -> 1|q"}
    assert set(part_of(rows, "top: all years")["query_id"]) == {"top: all years|q"}


def test_other_days_leave_the_own_day_and_unknown_days_out() -> None:
    rows = lists({"t|q": ("a", 0, [("a", 0.9), ("a", 0.8), ("b", 0.7)])})
    rows = rows.assign(
        date0="2018-06-01", date1=["2018-06-01", "2018-06-02", None], n_true=2.0, n_true_other_encounter=1.0
    )
    other = with_other_days(rows)["other_day"]
    assert other["candidate_id"].tolist() == ["c1"]
    assert not [name for name in other.columns if name.startswith("n_true")]
