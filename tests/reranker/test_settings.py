"""Options: unknown keys are errors, fingerprints follow values, lists become tuples again."""

from __future__ import annotations

import json

import pytest

from reranker.ranker import RankerSettings
from reranker.training_settings import TrainingSettings
from scarmatch.settings import SettingsError


def test_an_unknown_option_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'num_leaves'"):
        RankerSettings.from_dict({"num_leafs": 3})


def test_the_fingerprint_changes_with_any_value() -> None:
    prints = {RankerSettings().fingerprint(), RankerSettings(seed=1).fingerprint(), TrainingSettings().fingerprint()}
    assert len(prints) == 3
    assert RankerSettings().fingerprint() == RankerSettings().fingerprint()


def test_options_survive_json() -> None:
    settings = RankerSettings(kind="logistic", groups=("global", "skin"), ridge=3.5)
    assert RankerSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize("change", [{"kind": "forest"}, {"groups": ("colour",)}, {"groups": ()}])
def test_impossible_ranker_options_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        RankerSettings().replace(**change)


@pytest.mark.parametrize("change", [{"kind": "forest"}, {"folds": 1}, {"valid_share": 1.0}])
def test_impossible_training_options_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        TrainingSettings().replace(**change)
