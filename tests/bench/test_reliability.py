"""Reliability: the recipe that is judged is the one that ships, and a blend lies between its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from bench import reliability
from reranker.ranker import RankerSettings


@dataclass
class FakeTable:
    known: np.ndarray
    same: np.ndarray
    raw: pd.DataFrame


@dataclass
class FakeQuestions:
    tables: dict[str, FakeTable] = field(default_factory=dict)


@pytest.fixture
def questions() -> FakeQuestions:
    rng = np.random.default_rng(0)
    same = rng.random(300) < 0.4
    return FakeQuestions({"all": FakeTable(np.ones(300, bool), same, pd.DataFrame(index=range(300)))})


def test_a_blend_is_the_mean_of_log_odds(questions: FakeQuestions, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    same = questions.tables["all"].same
    # One kind scores in other units than the other: only as log-odds can they be averaged.
    made = {
        "logistic": 2.0 * same + rng.normal(0, 1, 300),
        "lambdamart": 50.0 + 10.0 * (2.0 * same + rng.normal(0, 1, 300)),
    }
    asked: list[str] = []

    def scores(_: object, settings: RankerSettings, rescoring: bool = True) -> dict[str, np.ndarray]:
        assert rescoring == (settings.kind == "logistic" and not asked), "a blend is made first and supported then"
        asked.append(settings.kind)
        return {"all": made[settings.kind]}

    monkeypatch.setattr(reliability, "out_of_fold", scores)
    alone = reliability.scores_of(questions, RankerSettings(kind="logistic"))["all"]
    np.testing.assert_array_equal(alone, made["logistic"])
    blend = reliability.scores_of(questions, RankerSettings(kind="blend"))["all"]
    assert asked == ["logistic", "logistic", "lambdamart"]
    # As log-odds about as many lie above 0 as are matches, and both kinds have their say.
    assert abs((blend > 0).mean() - same.mean()) < 0.1
    for values in made.values():
        assert 0.5 < np.corrcoef(blend, values)[0, 1] < 0.98


def test_a_perfect_forecast_has_no_error_and_a_boast_has_one() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.random(4000)
    same = rng.random(4000) < probabilities
    whales = np.array([f"w{i % 40}" for i in range(4000)])
    honest = reliability.reliability(probabilities, same, whales)["error"]["mean"]
    boast = reliability.reliability(np.minimum(1, probabilities + 0.2), same, whales)["error"]["mean"]
    assert honest < 0.03
    assert boast > 0.12
