"""Writing, checking and scoring submissions; the official formula against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from engine.catalogue.catalog import Catalog, CatalogError
from engine.competitions.happywhale import check_happywhale, map_at_k, read_happywhale_submission, write_happywhale
from engine.competitions.scenarios import Scenario, all_against_all, answers_from_catalog, write_scenarios
from engine.competitions.submission import (
    SubmissionError,
    average_precision_per_query,
    mean_average_precision,
    read_answers,
    read_submission,
    score_submission,
    write_answers,
    write_submission,
)
from engine.competitions.submission_check import check_submission

COLUMNS = ["query_id", "database_image_id", "score"]


def rows(*values: tuple[str, str, float]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=COLUMNS)


def official(submission: pd.DataFrame, answers: pd.DataFrame) -> float:
    """The definition: scikit-learn's value per query times matches returned / min(matches, 20); then the mean."""
    values = []
    for query_id, truth in answers.groupby("query_id"):
        mine = submission[submission["query_id"] == query_id]
        right = mine["database_image_id"].isin(truth["database_image_id"]).to_numpy()
        plain = average_precision_score(right, mine["score"]) if right.any() else 0.0
        values.append(plain * right.sum() / min(len(truth), 20))
    return float(np.mean(values))


@pytest.mark.parametrize("seed", range(5))
def test_mean_average_precision_is_the_official_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [f"i{number}" for number in range(60)]
    truth, given_rows = [], []
    for number in range(30):
        matches = rng.choice(images, size=rng.integers(1, 40), replace=False)
        truth += [(f"q{number}", image) for image in matches]
        returned = rng.choice(images, size=rng.integers(1, 21), replace=False)
        given_rows += [(f"q{number}", image, float(rng.integers(0, 8)) / 8) for image in returned]
    answers = pd.DataFrame(truth, columns=COLUMNS[:2])
    submission = rows(*given_rows).sample(frac=1, random_state=seed)
    assert mean_average_precision(submission, answers) == pytest.approx(official(submission, answers), abs=1e-12)


def test_missing_queries_count_as_nothing_and_unasked_ones_do_not_count() -> None:
    answers = pd.DataFrame({"query_id": ["a", "a", "b"], "database_image_id": ["x", "y", "z"]})
    submission = rows(("a", "x", 0.9), ("a", "y", 0.8), ("lonely", "x", 0.7))
    per_query = average_precision_per_query(submission, answers)
    assert per_query.to_dict() == {"a": 1.0, "b": 0.0}
    assert mean_average_precision(submission, answers) == 0.5
    with pytest.raises(SubmissionError, match="twice"):
        mean_average_precision(rows(("a", "x", 0.9), ("a", "x", 0.8)), answers)
    with pytest.raises(SubmissionError, match="not a number"):
        mean_average_precision(rows(("a", "x", float("nan"))), answers)


def test_scores_per_scenario() -> None:
    answers = pd.DataFrame(
        {"query_id": ["a", "b", "c"], "database_image_id": ["x"] * 3, "scenario_id": ["s1", "s1", "s2"]}
    )
    score = score_submission(rows(("a", "x", 1.0), ("c", "x", 1.0)), answers)
    assert score.per_scenario == {"s1": 0.5, "s2": 1.0}
    assert score.to_dict() == {
        "mean_average_precision": pytest.approx(2 / 3),
        "queries": 3,
        "per_scenario": score.per_scenario,
    }


# --- writing ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_what_is_written_is_valid(tmp_path_factory: pytest.TempPathFactory, scores: list[float]) -> None:
    path = tmp_path_factory.mktemp("written") / "submission.csv"
    answers = rows(*[("q", f"i{number}", score) for number, score in enumerate(scores)])
    written = write_submission(answers, path)
    back = read_submission(path)
    assert check_submission(path) == []
    assert list(back.columns) == COLUMNS
    assert len(back) == min(20, len(scores))
    assert (np.diff(back["score"]) < 0).all()
    assert back["score"].between(0, 1).all()
    np.testing.assert_array_equal(back["score"], written["score"])
    best = answers.sort_values("score", ascending=False, kind="stable").head(20)
    assert back["database_image_id"].tolist() == best["database_image_id"].tolist()
    assert np.abs(back["score"].to_numpy() - best["score"].to_numpy()).max() < 1e-7


def test_of_more_than_twenty_rows_the_best_twenty_are_written(tmp_path: Path) -> None:
    answers = rows(*[("q", f"i{n:02d}", n / 100) for n in range(23)], ("r", "i00", 0.5))
    written = write_submission(answers, tmp_path / "s.csv")
    assert written.loc[written["query_id"] == "q", "database_image_id"].tolist() == [
        f"i{n:02d}" for n in range(22, 2, -1)
    ]
    assert len(read_submission(tmp_path / "s.csv")) == 21


def test_ties_at_the_ends_stay_within_range(tmp_path: Path) -> None:
    for value in (0.0, 1.0):
        written = write_submission(rows(*[("q", f"i{n}", value) for n in range(20)]), tmp_path / "s.csv")
        assert written["database_image_id"].tolist() == [f"i{n}" for n in range(20)]
        assert (np.diff(written["score"]) < 0).all()
        assert written["score"].between(0, 1).all()


def test_queries_keep_their_order_and_input_stays_as_it_is(tmp_path: Path) -> None:
    answers = rows(("b", "x", 0.1), ("a", "x", 0.2), ("b", "y", 0.9))
    before = answers.copy(deep=True)
    write_submission(answers, tmp_path / "s.csv")
    pd.testing.assert_frame_equal(answers, before)
    text = (tmp_path / "s.csv").read_text()
    assert text == ("query_id,database_image_id,score\nb,y,0.900000000\nb,x,0.100000000\na,x,0.200000000\n")
    assert [file.name for file in tmp_path.iterdir()] == ["s.csv"]


def test_the_matchers_table_is_taken(tmp_path: Path) -> None:
    table = pd.DataFrame({"query_id": ["q"], "rank": [1], "image_id": ["a"], "probability": [0.5], "score": [17.0]})
    assert write_submission(table, tmp_path / "s.csv").to_numpy().tolist() == [["q", "a", 0.5]]


def test_no_rows_is_a_header_alone(tmp_path: Path) -> None:
    write_submission(rows(), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "query_id,database_image_id,score\n"


@pytest.mark.parametrize(
    ("table", "word"),
    [
        (rows(("q", "a", 1.2)), "row 0"),
        (rows(("q", "b", 0.5), ("q", "a", float("nan"))), "row 1"),
        (rows(("q", "a", 0.5), ("q", "a", 0.4)), "'a' occurs twice"),
        (rows(("q", "a", 0.5)).assign(database_image_id=None), "id is missing"),
        (rows(("q", "a", 0.5)).drop(columns="score"), "score is missing"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, table: pd.DataFrame, word: str) -> None:
    with pytest.raises(SubmissionError, match=word):
        write_submission(table, tmp_path / "s.csv")
    assert not list(tmp_path.iterdir())


# --- checking --------------------------------------------------------------------------------------------------------

QUERIES = pd.DataFrame({"query_id": ["q1", "q2"], "query_image_id": ["a", "z"]})
SCENARIO = Scenario("s", QUERIES, ["a", "b", "c"])


def found(table: pd.DataFrame, **options: object) -> list[tuple[str, int | None, str | None]]:
    return [(p.severity, p.line, p.column) for p in check_submission(table, **options)]  # type: ignore[arg-type]


def test_a_good_submission_has_no_problems() -> None:
    good = rows(("q1", "b", 0.9), ("q1", "c", 0.5), ("q2", "a", 0.5))
    assert check_submission(good, scenarios=[SCENARIO]) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (("q1", "b", 1.5), ("error", 4, "score")),
        (("q1", "b", -0.1), ("error", 4, "score")),
        (("q1", "b", float("nan")), ("error", 4, "score")),
        (("q1", "b", 0.5), ("warning", 4, "score")),
        (("q1", "c", 0.4), ("error", 4, "database_image_id")),
        (("q1", "a", 0.4), ("error", 4, "database_image_id")),
        (("q2", "z", 0.4), ("error", 4, "database_image_id")),
        (("q2", "nobody", 0.4), ("error", 4, "database_image_id")),
        (("q3", "b", 0.4), ("error", 4, "query_id")),
    ],
)
def test_each_fault_is_found(values: tuple[str, str, float], problem: tuple[str, int, str]) -> None:
    table = rows(("q1", "c", 0.5), ("q2", "a", 0.5), values)
    assert problem in found(table, scenarios=[SCENARIO])


def test_too_many_rows_and_missing_queries() -> None:
    database = [f"d{n}" for n in range(25)]
    scenario = Scenario("s", QUERIES, database)
    table = rows(*[("q1", image, 0.9 - n / 100) for n, image in enumerate(database[:21])])
    assert found(table, scenarios=[scenario]) == [("error", 22, "query_id"), ("error", None, "query_id")]
    assert found(table.head(20), scenarios=[Scenario("s", QUERIES.head(1), database)]) == []


def test_a_query_alone_in_its_database_needs_no_rows() -> None:
    alone = Scenario("s", QUERIES.head(1), ["a"])
    assert check_submission(rows(), scenarios=[alone]) == []


def test_columns_must_be_the_three() -> None:
    good = rows(("q1", "b", 0.9), ("q2", "b", 0.9))
    assert found(good[["query_id", "score", "database_image_id"]]) == [("error", 1, None)]
    assert found(good.drop(columns="score")) == [("error", 1, None)]
    assert found(good.assign(rank=1)) == [("error", 1, None)]


def test_many_faults_of_a_kind_are_counted() -> None:
    table = rows(*[("q1", f"x{n}", 2.0 + n) for n in range(30)])
    problems = [p for p in check_submission(table, limit=30) if p.column == "score"]
    assert len(problems) == 21
    assert "10 more rows" in problems[-1].message


def test_answers_alone_serve_for_checking_too() -> None:
    answers = pd.DataFrame({"query_id": ["q1", "q2"], "database_image_id": ["b", "a"]})
    problems = found(rows(("q1", "b", 0.9), ("q9", "b", 0.9)), answers=answers)
    assert problems == [("error", None, "query_id"), ("warning", 3, "query_id")]


def test_a_file_that_is_no_submission(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("query_id,score\nq,1\n")
    assert "database_image_id is missing" in str(check_submission(tmp_path / "s.csv")[0])
    assert "cannot be read" in str(check_submission(tmp_path / "none.csv")[0])
    (tmp_path / "t.csv").write_text("query_id,database_image_id,score\nNA,b,high\n")
    assert found(tmp_path / "t.csv") == [("error", 2, "score")]  # type: ignore[arg-type]


# --- answers ---------------------------------------------------------------------------------------------------------


def labelled(folder: Path) -> Path:
    lines = ["image_id,path,whale_id", *[f"{i},{i}.jpg,{w}" for i, w in zip("abcd", ["x", "x", "x", "y"], strict=True)]]
    folder.mkdir(exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_answers_from_a_file_or_a_labelled_folder(tmp_path: Path) -> None:
    folder = labelled(tmp_path / "data")
    answers, scenarios = read_answers(folder)
    assert len(answers) == 6
    assert scenarios is not None
    assert scenarios[0].database == list("abcd")
    write_scenarios([Scenario("s1", pd.DataFrame({"query_id": ["s1-a"], "query_image_id": ["a"]}), ["b", "d"])], folder)
    answers, _ = read_answers(folder)
    assert answers.to_numpy().tolist() == [["s1-a", "b", "s1"]]
    write_answers(answers, tmp_path / "answers.csv")
    again, none = read_answers(tmp_path / "answers.csv")
    assert none is None
    assert again.to_numpy().tolist() == answers.to_numpy().tolist()
    catalog = Catalog.read(folder)
    answers, _ = read_answers(folder, scenarios=[all_against_all(catalog)])
    assert len(answers) == 6
    (folder / "metadata.csv").write_text("image_id,path\na,a.jpg\n")
    with pytest.raises(CatalogError, match="individual"):
        read_answers(folder)


@pytest.mark.real_data
def test_a_perfect_answer_on_the_real_catalogue_scores_one(real_catalog_dir: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(real_catalog_dir)
    scenario = all_against_all(catalog)
    answers = answers_from_catalog(catalog, [scenario])
    perfect = answers.groupby("query_id").head(20).assign(score=0.5)
    write_submission(perfect, tmp_path / "s.csv")
    back = read_submission(tmp_path / "s.csv")
    assert score_submission(back, answers).mean_average_precision == 1.0
    problems = check_submission(back, scenarios=[scenario])
    singles = set(catalog.ids) - set(answers["query_id"])
    assert {p.column for p in problems} == {"query_id"}
    assert all("no rows" in p.message for p in problems)
    assert f"{len(singles) - 20:,} more" in problems[-1].message


# --- Happywhale ------------------------------------------------------------------------------------------------------


def test_map_at_five() -> None:
    truth = {"a.jpg": "w1", "b.jpg": "w2", "c.jpg": "new_individual", "d.jpg": "w3"}
    predictions = {"a.jpg": ["w1"], "b.jpg": ["w1", "w2"], "c.jpg": ["w1", "w2", "new_individual"]}
    assert map_at_k(predictions, truth) == pytest.approx((1 + 1 / 2 + 1 / 3 + 0) / 4)
    assert map_at_k({"d.jpg": ["a", "b", "c", "d", "e", "w3"]}, {"d.jpg": "w3"}) == 0.0
    with pytest.raises(ValueError, match="no image"):
        map_at_k(predictions, {})


def test_happywhale_round_trip(tmp_path: Path) -> None:
    predictions = {"b.jpg": ["w1", "new_individual", "w2", "w3", "w4"], "a.jpg": ["w9"]}
    write_happywhale(predictions, tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().splitlines()[:2] == [
        "image,predictions",
        "b.jpg,w1 new_individual w2 w3 w4",
    ]
    assert read_happywhale_submission(tmp_path / "s.csv") == predictions
    known = {"w1", "w2", "w3", "w4", "w9"}
    assert check_happywhale(tmp_path / "s.csv", images=predictions, individuals=known) == []


@pytest.mark.parametrize("wrong", [[], ["a", "b", "c", "d", "e", "f"], ["a", "a"], ["a b"], [""]])
def test_happywhale_faults(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SubmissionError, match=r"x\.jpg"):
        write_happywhale({"x.jpg": wrong}, tmp_path / "s.csv")
    assert [p.severity for p in check_happywhale({"x.jpg": wrong})] == ["error"]


def test_happywhale_against_the_test_set(tmp_path: Path) -> None:
    problems = check_happywhale({"a.jpg": ["w1"], "x.jpg": ["w2"]}, images=["a.jpg", "b.jpg"], individuals=["w1"])
    assert [(p.severity, p.value) for p in problems] == [("error", "x.jpg"), ("warning", "w2"), ("error", "b.jpg")]
    (tmp_path / "s.csv").write_text("image,predictions\na.jpg,w1\na.jpg,w2\n")
    assert "occurs twice" in str(check_happywhale(tmp_path / "s.csv")[0])
    (tmp_path / "s.csv").write_text("image\na.jpg\n")
    assert "predictions are needed" in str(check_happywhale(tmp_path / "s.csv")[0])
