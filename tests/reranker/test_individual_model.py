"""The model of individuals: what it reads from ranked photographs, what it learns, and its file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reranker.calibration import log_odds
from reranker.individual_model import (
    FEATURES,
    FLOOR,
    IndividualModel,
    IndividualModelError,
    features_of,
    fit,
    fit_on_lists,
)


def _answers(rows: list[tuple[str, str, str | None, float, str | None]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability", "encounter_id"])


def test_features_of_one_photograph() -> None:
    answers = _answers(
        [
            ("q", "a1", "A", 0.8, "e1"),
            ("q", "a2", "A", 0.5, "e1"),
            ("q", "a3", "A", 0.5, "e2"),
            ("q", "b1", "B", 0.1, None),
            ("q", "x", None, 0.9, "e3"),
        ]
    )
    found = features_of(answers, answers["query_id"]).set_index("individual_id")
    assert found.index.tolist() == ["A", "B"]
    assert found.loc["A", "best"] == pytest.approx(log_odds(0.8))
    assert found.loc["A", "second"] == pytest.approx(log_odds(0.5))
    assert found.loc["B", "second"] == pytest.approx(log_odds(FLOOR))
    assert found.loc["A", "encounters"] == pytest.approx(log_odds(1 - 0.2 * 0.5))
    assert found.loc["A", "questions"] == found.loc["A", "best"] == pytest.approx(found.loc["A", "mean"])
    assert found.loc["A", "found"] == pytest.approx(np.log1p(3))
    assert found["photographs"].tolist() == [1, 1]


def test_features_of_several_photographs() -> None:
    answers = _answers([("q1", "a1", "A", 0.8, "e1"), ("q2", "a1", "A", 0.5, "e1"), ("q2", "b1", "B", 0.3, "e2")])
    question = pd.Series(["Q", "Q", "Q"])
    found = features_of(answers, question, {"Q": 4}).set_index("individual_id")
    assert found["photographs"].tolist() == [4, 4]
    assert found.loc["A", "best"] == pytest.approx(log_odds(0.8))
    assert found.loc["A", "second"] == pytest.approx(log_odds(FLOOR)), "one photograph, found twice"
    assert found.loc["A", "questions"] == pytest.approx(log_odds(1 - 0.2 * 0.5))
    expected = (log_odds(0.8) + log_odds(0.5) + 2 * log_odds(FLOOR)) / 4
    assert found.loc["A", "mean"] == pytest.approx(expected)
    assert found.loc["A", "found"] == pytest.approx(np.log1p(2 / 4))


def test_photographs_of_unknown_encounters_are_encounters_of_their_own() -> None:
    answers = _answers([("q", "a1", "A", 0.5, None), ("q", "a2", "A", 0.5, None)])
    found = features_of(answers, answers["query_id"])
    assert found.loc[0, "encounters"] == pytest.approx(log_odds(0.75))


def _made_up(seed: int, questions: int = 400) -> tuple[pd.DataFrame, dict[str, str]]:
    """Questions of which a third have no match; true photographs have larger probabilities, as a ranker's would."""
    rng = np.random.default_rng(seed)
    rows, truth = [], {}
    for number in range(questions):
        query, known = f"q{number}", rng.random() > 1 / 3
        truth[query] = "W0" if known else "nobody"
        for individual in range(6):
            right = known and individual == 0
            for photo in range(int(rng.integers(1, 4))):
                p = float(1 / (1 + np.exp(-rng.normal(1.0 if right else -3.0, 1.5))))
                rows.append((query, f"{individual}-{photo}", f"W{individual}", p, f"e{individual}-{photo}"))
    return _answers(rows), truth


def test_a_fitted_model_ranks_and_is_calibrated_on_other_questions() -> None:
    answers, truth = _made_up(0)
    model = fit(features_of(answers, answers["query_id"]), truth)
    answers, truth = _made_up(1)
    features = features_of(answers, answers["query_id"])
    features["p"] = model.probabilities(features)
    left = 1 - features.groupby("question", sort=False)["p"].sum()
    new = np.array([truth[name] == "nobody" for name in left.index])
    assert abs(left.mean() - new.mean()) < 0.05
    assert left[new].mean() > 0.6 > 0.3 > left[~new].mean()
    best = features.loc[features.groupby("question")["p"].idxmax()].set_index("question")["individual_id"]
    known = [name for name in left.index if truth[name] != "nobody"]
    assert (best[known] == "W0").mean() > 0.85


def test_probabilities_of_a_question_leave_something_and_do_not_depend_on_others() -> None:
    answers, truth = _made_up(2, 30)
    features = features_of(answers, answers["query_id"])
    model = fit(features, truth)
    together = model.probabilities(features)
    for _, rows in features.groupby("question"):
        alone = model.probabilities(rows.reset_index(drop=True))
        assert 0 < alone.sum() < 1
        np.testing.assert_allclose(alone, together[rows.index], rtol=1e-12)


def test_one_kind_of_outcome_teaches_nothing() -> None:
    answers, truth = _made_up(3, 20)
    features = features_of(answers, answers["query_id"])
    with pytest.raises(IndividualModelError, match="0 of 20 questions have a match"):
        fit(features, dict.fromkeys(truth, "nobody"))


def test_a_written_model_is_read_again_and_another_is_refused() -> None:
    model = IndividualModel(dict.fromkeys(FEATURES, 0.5), {"constant": -1.0, "log_photographs": 0.1}, {"all": 3})
    assert IndividualModel.from_dict(model.to_dict()) == model
    data = model.to_dict()
    del data["weights"]["best"]
    with pytest.raises(ValueError, match="not those of this version"):
        IndividualModel.from_dict(data)


def test_lists_teach_with_and_without_the_individual_and_by_encounter() -> None:
    answers, truth = _made_up(4, 60)
    number = answers["query_id"].str.removeprefix("q").astype(int)
    lists = answers.rename(columns={"image_id": "candidate_id", "individual_id": "individual1"}).assign(
        query_id="top|" + answers["query_id"],
        individual0=answers["query_id"].map(truth),
        encounter0=[f"e{n // 2}" if n < 20 else None for n in number],
        encounter1=answers["encounter_id"],
    )
    # Both photographs of an encounter show one individual.
    lists["individual0"] = lists["individual0"].where(number >= 20, "W0")
    model = fit_on_lists([lists])
    assert model is not None
    assert model.questions["all"] == 2 * (60 + 10)
    assert model.questions["new"] >= 60 + 10


def test_lists_that_hold_too_little_teach_nothing() -> None:
    answers, _ = _made_up(5, 4)
    lists = answers.rename(columns={"image_id": "candidate_id", "individual_id": "individual1"})
    assert fit_on_lists([lists.assign(individual0="nobody")]) is None
