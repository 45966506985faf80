"""Local evidence: more agreement never speaks against a pair, weights survive a file, folds never see themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reranker.local_evidence import (
    FIRST_STAGE_TERMS,
    TERMS,
    LocalEvidence,
    LocalEvidenceError,
    cross_fitted,
    terms_of,
)


def pairs(count: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.4
    frame = pd.DataFrame(
        {
            "lightglue_inliers": rng.poisson(6 + 20 * same),
            "lightglue_plausibility": rng.uniform(0.5, 1, count),
            "lightglue_matches": rng.poisson(60, count),
            "lightglue_matches_50": rng.poisson(5 + 10 * same),
            "lightglue_confidence_sum": rng.uniform(5, 20, count),
            "skin_inliers": rng.poisson(25 + 20 * same),
            "skin_plausibility": rng.uniform(0.5, 1, count),
            "skin_aligned_similarity": rng.normal(0.4 + 0.1 * same, 0.05),
            "mutual_nn_inliers": rng.poisson(15 + 20 * same),
            "mutual_nn_plausibility": rng.uniform(0.5, 1, count),
        }
    )
    return frame, same


def test_fitted_weights_tell_pairs_apart() -> None:
    frame, same = pairs()
    model = LocalEvidence.fit(frame, same)
    fresh, truth = pairs(seed=1)
    scores = model.score(fresh)
    assert (scores[truth].mean() - scores[~truth].mean()) > 2
    assert ((scores > 0) == truth).mean() > 0.9


def test_nothing_found_and_not_matched_are_numbers_too() -> None:
    terms = terms_of(
        pd.DataFrame(
            {"lightglue_inliers": [np.nan, 0.0], "lightglue_plausibility": [np.nan, 1.0], "lightglue_matches": ["x", 3]}
        )
    )
    assert terms.shape == (2, len(TERMS))
    assert np.isfinite(terms).all()
    assert terms[0, 0] == 0
    assert terms[1, list(TERMS).index("lightglue_matches_log1p")] == pytest.approx(np.log(4))


def test_a_file_keeps_the_weights(tmp_path: Path) -> None:
    frame, same = pairs()
    model = LocalEvidence.fit(frame, same, {"pairs": len(frame)})
    model.save(tmp_path / "weights.json")
    again = LocalEvidence.load(tmp_path / "weights.json")
    np.testing.assert_allclose(again.score(frame), model.score(frame), atol=1e-12)
    assert again.about == {"pairs": len(frame)}


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"kind": "local evidence", "bias": 0, "weights": {"tail": 1}}', encoding="utf-8")
    with pytest.raises(LocalEvidenceError, match=r"other\.json.*tail"):
        LocalEvidence.load(path)
    with pytest.raises(LocalEvidenceError, match="absent"):
        LocalEvidence.load(tmp_path / "absent.json")
    with pytest.raises(LocalEvidenceError, match="pairs of two"):
        LocalEvidence.fit(pairs()[0], np.ones(400, bool))


def test_a_fold_is_scored_by_weights_that_never_saw_it() -> None:
    frame, same = pairs()
    folds = np.arange(len(frame)) % 4
    spoiled = same.copy()
    spoiled[folds == 2] = ~spoiled[folds == 2]
    honest, other = cross_fitted(frame, same, folds), cross_fitted(frame, spoiled, folds)
    np.testing.assert_array_equal(honest[folds == 2], other[folds == 2])
    assert not np.allclose(honest[folds != 2], other[folds != 2])


def test_terms_by_hand() -> None:
    numbers = pd.DataFrame(
        {
            "mutual_nn_distinctive_inliers": [7.0],
            "mutual_nn_distinctive_plausibility": [0.5],
            "mutual_nn_distinctive_matches": [9.0],
            "skin_similarity": [0.6],
        }
    )
    names = (
        "mutual_nn_distinctive_agreement",
        "mutual_nn_distinctive_matches_log1p",
        "skin_similarity",
        "mutual_nn_agreement",
        "lightglue_agreement",
    )
    expected = [np.log1p(3.5), np.log1p(9.0), 0.6, 0.0, 0.0]
    np.testing.assert_allclose(terms_of(numbers, names), [expected])


def test_weights_of_the_first_stage_read_nothing_of_lightglue_s(tmp_path: Path) -> None:
    frame, same = pairs()
    model = LocalEvidence.fit(frame, same, names=tuple(FIRST_STAGE_TERMS))
    assert len(model.weights) == len(FIRST_STAGE_TERMS) < len(TERMS)
    without = frame.drop(
        columns=["lightglue_inliers", "lightglue_matches", "lightglue_matches_50", "lightglue_confidence_sum"]
    )
    np.testing.assert_array_equal(model.score(frame), model.score(without))
    model.save(tmp_path / "first.json")
    again = LocalEvidence.load(tmp_path / "first.json")
    assert tuple(again.terms) == tuple(FIRST_STAGE_TERMS)
    np.testing.assert_allclose(again.score(frame), model.score(frame), atol=1e-12)


def rich_and_poor() -> pd.DataFrame:
    """A pair that agrees poorly, and one that agrees well, by every matcher."""
    poor = {
        "lightglue_inliers": 5,
        "lightglue_matches": 60,
        "lightglue_matches_50": 2,
        "lightglue_confidence_sum": 5.0,
        "lightglue_inlier_ratio": 0.08,
    }
    poor |= {"skin_inliers": 25, "skin_inlier_ratio": 0.08, "skin_similarity": 0.5, "skin_aligned_similarity": 0.45}
    poor |= {
        "mutual_nn_inliers": 15,
        "mutual_nn_matches": 200,
        "mutual_nn_inlier_ratio": 0.08,
        "mutual_nn_confidence_sum": 12,
    }
    poor |= {
        "mutual_nn_distinctive_matches": 30,
        "mutual_nn_distinctive_inliers": 5,
        "mutual_nn_distinctive_inlier_ratio": 0.15,
    }
    rich = {
        "lightglue_inliers": 60,
        "lightglue_matches": 120,
        "lightglue_matches_50": 50,
        "lightglue_confidence_sum": 60.0,
        "lightglue_inlier_ratio": 0.5,
    }
    rich |= {"skin_inliers": 150, "skin_inlier_ratio": 0.5, "skin_similarity": 0.6, "skin_aligned_similarity": 0.55}
    rich |= {
        "mutual_nn_inliers": 90,
        "mutual_nn_matches": 240,
        "mutual_nn_inlier_ratio": 0.4,
        "mutual_nn_confidence_sum": 40,
    }
    rich |= {
        "mutual_nn_distinctive_matches": 90,
        "mutual_nn_distinctive_inliers": 60,
        "mutual_nn_distinctive_inlier_ratio": 0.7,
    }
    gaps = {f"{look}position_gap": 0.03 for look in ("lightglue_", "skin_", "mutual_nn_", "mutual_nn_distinctive_")}
    plausible = {f"{look}plausibility": 0.9 for look in ("lightglue_", "skin_", "mutual_nn_", "mutual_nn_distinctive_")}
    return pd.DataFrame([poor, rich]).assign(**gaps, **plausible)


@pytest.mark.parametrize("first_stage", [False, True])
def test_the_shipped_weights_count_agreement_for_a_pair(first_stage: bool) -> None:
    model = LocalEvidence.shipped_first_stage() if first_stage else LocalEvidence.shipped()
    scores = model.score(rich_and_poor())
    assert scores[1] > scores[0] + 3
