"""WildFusion's rule: worked out by hand, sane without one kind of evidence, and fitted to labels."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from reranker.calibration import sigmoid
from reranker.fusion import FusionSettings, fit_fusion, local_evidence, wildfusion_baseline
from reranker.pair_features import build
from reranker.protocols import evaluate


def two() -> pd.DataFrame:
    return pd.DataFrame(
        {"query_id": "q", "candidate_id": ["a", "b"], "cosine": [0.9, 0.1], "lightglue_inliers": [30, 5]}
    )


def test_the_mean_of_two_curves_worked_out_by_hand() -> None:
    # z-scores of two values are +1 and -1.
    expected = [
        (1 / (1 + math.exp(4.5 - 1)) + 1 / (1 + math.exp(6.5 - 1.5 * math.log(31)))) / 2,
        (1 / (1 + math.exp(4.5 + 1)) + 1 / (1 + math.exp(6.5 - 1.5 * math.log(6)))) / 2,
    ]
    fused = wildfusion_baseline(two())
    np.testing.assert_allclose(fused["probability"], expected, rtol=1e-5)
    np.testing.assert_allclose(sigmoid(fused["score"]), expected, rtol=1e-5)


def test_the_documented_examples_hold() -> None:
    s = FusionSettings()
    np.testing.assert_allclose(
        sigmoid(s.global_slope * np.array([0, 3, 5]) + s.global_offset), [0.01, 0.18, 0.62], atol=5e-3
    )
    counts = np.log1p([5, 30, 100])
    np.testing.assert_allclose(sigmoid(s.local_slope * counts + s.local_offset), [0.02, 0.20, 0.60], atol=1e-2)


def test_missing_evidence_leaves_the_other_to_decide() -> None:
    only_cosine = wildfusion_baseline(two().drop(columns="lightglue_inliers"))["probability"]
    np.testing.assert_allclose(only_cosine, sigmoid(np.array([1, -1]) - 4.5), rtol=1e-5)
    only_counts = wildfusion_baseline(two().assign(cosine=np.nan))["probability"]
    np.testing.assert_allclose(only_counts, sigmoid(1.5 * np.log1p([30, 5]) - 6.5), rtol=1e-5)
    neither = wildfusion_baseline(two().assign(cosine=np.nan, lightglue_inliers=np.nan))["probability"]
    np.testing.assert_allclose(neither, sigmoid([-4.5, -4.5]))


def test_the_best_known_count_is_taken() -> None:
    raw = two().assign(lightglue_inliers=[7, np.nan], lightglue_matches_50=[9, 11], lightglue_matches=[20, 20])
    np.testing.assert_allclose(local_evidence(build(raw)), np.log1p([7, 11]), rtol=1e-6)
    assert np.isnan(local_evidence(build(two().drop(columns="lightglue_inliers")))).all()


def test_other_queries_change_nothing(pairs: pd.DataFrame) -> None:
    own = pairs["query_id"] == pairs["query_id"].iloc[0]
    pd.testing.assert_frame_equal(wildfusion_baseline(pairs.loc[own]), wildfusion_baseline(pairs).loc[own])


def test_fused_evidence_beats_cosine_and_fitting_gives_honest_probabilities(pairs: pd.DataFrame) -> None:
    same = pairs["individual0"] == pairs["individual1"]
    table = pairs.assign(same=same)
    fitted = fit_fusion(build(pairs), same)
    assert evaluate(table, wildfusion_baseline(pairs)["score"])["map"] > evaluate(table, pairs["cosine"])["map"] + 0.05
    assert wildfusion_baseline(pairs, fitted)["probability"].mean() == pytest.approx(same.mean(), abs=0.01)
