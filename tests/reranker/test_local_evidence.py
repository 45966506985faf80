"""Local evidence: more agreement never speaks against a pair, weights survive a file, folds never see themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reranker.local_evidence import (
    QUICK_TERMS,
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
            "n_inliers": rng.poisson(6 + 20 * same),
            "plausibility": rng.uniform(0.5, 1, count),
            "n_matches": rng.poisson(60, count),
            "n_matches_50": rng.poisson(5 + 10 * same),
            "confidence_sum": rng.uniform(5, 20, count),
            "marks_inliers": rng.poisson(25 + 20 * same),
            "marks_plausibility": rng.uniform(0.5, 1, count),
            "marks_aligned": rng.normal(0.4 + 0.1 * same, 0.05),
            "nearest_inliers": rng.poisson(15 + 20 * same),
            "nearest_plausibility": rng.uniform(0.5, 1, count),
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


def test_nothing_found_and_nobody_looked_are_numbers_too() -> None:
    terms = terms_of(pd.DataFrame({"n_inliers": [np.nan, 0.0], "plausibility": [np.nan, 1.0], "n_matches": ["x", 3]}))
    assert terms.shape == (2, len(TERMS))
    assert np.isfinite(terms).all()
    assert terms[0, 0] == 0
    assert terms[1, list(TERMS).index("matches")] == pytest.approx(np.log(4))


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
            "nearest_sure_inliers": [7.0],
            "nearest_sure_plausibility": [0.5],
            "nearest_sure": [9.0],
            "marks_similarity": [0.6],
        }
    )
    names = ("nearest_sure_agreement", "nearest_sure", "marks_similarity", "nearest_agreement", "agreement")
    expected = [np.log1p(3.5), np.log1p(9.0), 0.6, 0.0, 0.0]
    np.testing.assert_allclose(terms_of(numbers, names), [expected])


def test_weights_of_the_quick_looks_read_nothing_of_lightglue_s(tmp_path: Path) -> None:
    frame, same = pairs()
    model = LocalEvidence.fit(frame, same, names=tuple(QUICK_TERMS))
    assert len(model.weights) == len(QUICK_TERMS) < len(TERMS)
    without = frame.drop(columns=["n_inliers", "n_matches", "n_matches_50", "confidence_sum"])
    np.testing.assert_array_equal(model.score(frame), model.score(without))
    model.save(tmp_path / "quick.json")
    again = LocalEvidence.load(tmp_path / "quick.json")
    assert tuple(again.terms) == tuple(QUICK_TERMS)
    np.testing.assert_allclose(again.score(frame), model.score(frame), atol=1e-12)


def rich_and_poor() -> pd.DataFrame:
    """A pair that agrees poorly, and one that agrees well, by every look."""
    poor = {"n_inliers": 5, "n_matches": 60, "n_matches_50": 2, "confidence_sum": 5.0, "inlier_ratio": 0.08}
    poor |= {"marks_inliers": 25, "marks_inlier_ratio": 0.08, "marks_similarity": 0.5, "marks_aligned": 0.45}
    poor |= {"nearest_inliers": 15, "nearest_matches": 200, "nearest_inlier_ratio": 0.08, "nearest_sharpness": 12}
    poor |= {"nearest_sure": 30, "nearest_sure_inliers": 5, "nearest_sure_inlier_ratio": 0.15}
    rich = {"n_inliers": 60, "n_matches": 120, "n_matches_50": 50, "confidence_sum": 60.0, "inlier_ratio": 0.5}
    rich |= {"marks_inliers": 150, "marks_inlier_ratio": 0.5, "marks_similarity": 0.6, "marks_aligned": 0.55}
    rich |= {"nearest_inliers": 90, "nearest_matches": 240, "nearest_inlier_ratio": 0.4, "nearest_sharpness": 40}
    rich |= {"nearest_sure": 90, "nearest_sure_inliers": 60, "nearest_sure_inlier_ratio": 0.7}
    gaps = {f"{look}position_gap": 0.03 for look in ("", "marks_", "nearest_", "nearest_sure_")}
    plausible = {f"{look}plausibility": 0.9 for look in ("", "marks_", "nearest_", "nearest_sure_")}
    return pd.DataFrame([poor, rich]).assign(**gaps, **plausible)


@pytest.mark.parametrize("quick", [False, True])
def test_the_shipped_weights_count_agreement_for_a_pair(quick: bool) -> None:
    model = LocalEvidence.shipped_quick() if quick else LocalEvidence.shipped()
    scores = model.score(rich_and_poor())
    assert scores[1] > scores[0] + 3
