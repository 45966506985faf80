"""Explanations add up to what the ranker or the fusion says, and speak in words a reader understands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reranker.explanation import explain_pairs, in_words
from reranker.feature_registry import FEATURES, feature
from reranker.fusion import fuse
from reranker.pair_features import build
from reranker.ranker import Ranker, RankerSettings
from scarmatch.vocabulary import MODEL_KINDS


def fitted(pairs: pd.DataFrame, kind: str) -> Ranker:
    same = (pairs["individual0"] == pairs["individual1"]).to_numpy()
    settings = RankerSettings().replace(kind=kind, n_trees=20, patience=0, min_data_in_leaf=10)
    return Ranker.fit(build(pairs), same, pairs["query_id"], settings=settings)


@pytest.mark.parametrize("kind", ["logistic", "lambdamart", "blend"])
def test_parts_and_baseline_are_the_score(pairs: pd.DataFrame, kind: str) -> None:
    ranker = fitted(pairs, kind)
    wanted = np.arange(len(pairs)) % 7 == 0
    found = explain_pairs(pairs, ranker, wanted)
    sums = found.table.groupby(["query_id", "candidate_id"], sort=False)["contribution"].sum() + found.baseline
    expected = ranker.predict(build(pairs))[wanted]
    np.testing.assert_allclose(sums.to_numpy(), expected, atol=1e-6)
    chosen = pairs.loc[wanted].iloc[3]
    rows = found.of(chosen["query_id"], chosen["candidate_id"])
    assert rows["feature"].tolist() == [entry.name for entry in FEATURES]
    assert ("SHAP" in found.method) == (kind != "logistic")
    assert found.unit == ("score" if kind == "lambdamart" else "log-odds")


def test_the_wildfusion_baseline_is_the_sum_of_its_halves(pairs: pd.DataFrame) -> None:
    raw = pairs.copy()
    raw.loc[raw.index[:5], "lightglue_inliers"] = np.nan
    raw.loc[raw.index[5:9], ["lightglue_inliers", "lightglue_matches_50", "lightglue_matches"]] = np.nan
    raw.loc[raw.index[9:11], "cosine"] = np.nan
    found = explain_pairs(raw)
    sums = found.table.groupby(["query_id", "candidate_id"], sort=False)["contribution"].sum()
    np.testing.assert_allclose(sums.to_numpy(), fuse(build(raw))["probability"].to_numpy(), atol=1e-9)
    assert found.unit == "probability"
    assert found.baseline == 0
    assert "no trained ranker" in found.method


def test_no_pair_asked_for_is_an_empty_table(pairs: pd.DataFrame) -> None:
    found = explain_pairs(pairs, fitted(pairs, "logistic"), np.zeros(len(pairs), bool))
    assert found.table.empty
    assert found.of("a", "b").empty


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lightglue_inliers_log1p", np.log1p(12), "inliers of the geometric model: 12"),
        ("cosine", 0.4567, "cosine similarity of the two global descriptors: 0.46"),
        ("cosine_log_rank", np.log(3), "candidate's rank by cosine in its list: 3"),
        ("lightglue_model_kind", MODEL_KINDS.index("affine"), "kind of the geometric model: affine"),
        ("same_day", 1.0, "whether both were taken on the same day: yes"),
        ("lightglue_absolute_rotation", 12.25, "model's rotation between the two head-up photographs: 12.2 degrees"),
        ("log_length0", np.log(512), "query's longer side: 512 px"),
        ("log_length_ratio", np.log(1.5), "two lengths' ratio: 1.50"),
        ("date_gap_days_log1p", np.log1p(400), "days between the photographs: 400"),
        ("cosine_zscore", -1.5, "cosine in standard deviations above its list's mean: -1.50 sd"),
        ("lightglue_residual", np.nan, "median transfer error of the inliers: not known"),
    ],
)
def test_values_in_words(name: str, value: float, said: str) -> None:
    assert in_words(feature(name), float(value)) == said


def test_every_feature_can_be_said() -> None:
    for entry in FEATURES:
        text = in_words(entry, 0.0)
        assert "logarithm" not in text and "ln(" not in text, text
        assert text.count(":") >= 1
