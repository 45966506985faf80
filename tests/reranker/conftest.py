"""A made-up table of pairs: weak evidence of three kinds, encounters whose photographs are easy, and missing values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

MakePairs = Callable[..., pd.DataFrame]


def make_pairs(
    individuals: int = 14, photographs: int = 5, candidates: int = 24, strength: float = 1.0, seed: int = 0
) -> pd.DataFrame:
    """Return a raw table of pairs with labels.

    Photographs 0 and 1 of an individual are one encounter: nearly the same picture. Of every query's list
    ``candidates`` photographs are kept, its own individual's first.
    """
    random = np.random.default_rng(seed)
    photos = pd.DataFrame(
        [
            {
                "id": f"w{i:02d}_{k}",
                "individual": f"whale{i:02d}",
                "encounter": f"e{i}_{max(k, 1)}",
                "date": pd.Timestamp("2017-06-01")
                + pd.Timedelta(days=int(random.integers(0, 900)) if k > 1 else 7 * i),
                "viewpoint": "top" if random.random() < 0.8 else ("left" if random.random() < 0.5 else None),
                "width": 150 + 10 * k,
                "height": int(random.integers(350, 550)),
                "sharpness": random.uniform(0.5, 2),
            }
            for i in range(individuals)
            for k in range(photographs)
        ]
    )
    rows = []
    for query in photos.itertuples():
        others = photos[photos["id"] != query.id]
        own = others[others["individual"] == query.individual]
        rest = others[others["individual"] != query.individual]
        listed = pd.concat([own, rest.sample(min(len(rest), max(0, candidates - len(own))), random_state=seed)])
        rows += [_pair(query, candidate, strength, random) for candidate in listed.itertuples()]
    table = pd.DataFrame(rows)
    # As in the engine, nobody looks at a view from above beside one from the side.
    apart = (table["viewpoint0"] == "left") ^ (table["viewpoint1"] == "left")
    apart &= table["viewpoint0"].notna() & table["viewpoint1"].notna()
    seen = list(table.loc[:, "lightglue_keypoints0":"skin_overlap"].columns)  # type: ignore[misc]
    table[seen] = table[seen].where(~apart, np.nan)
    table["lightglue_model_kind"] = table["lightglue_model_kind"].where(~apart, None)
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


def _pair(query: object, candidate: object, strength: float, random: np.random.Generator) -> dict[str, object]:
    q, c = query, candidate
    same = q.individual == c.individual  # type: ignore[attr-defined]
    near = q.encounter == c.encounter  # type: ignore[attr-defined]
    lift = strength * (0.9 * same + 2.0 * near)
    matches = int(random.poisson(12 * np.exp(0.4 * lift)))
    inliers = int(random.binomial(matches, min(0.9, 0.25 + 0.15 * lift)))
    ok = inliers >= 4
    nan = float("nan")
    return {
        "query_id": q.id,  # type: ignore[attr-defined]
        "candidate_id": c.id,  # type: ignore[attr-defined]
        "cosine": float(np.tanh(0.3 + 0.15 * lift + random.normal(0, 0.15))),
        "lightglue_keypoints0": 200,
        "lightglue_keypoints1": 180,
        "lightglue_matches": matches,
        "lightglue_matches_50": int(random.binomial(matches, 0.5)),
        "lightglue_matches_80": int(random.binomial(matches, 0.2)),
        "lightglue_confidence_sum": 0.5 * matches * random.uniform(0.8, 1.2),
        "lightglue_similarity": 0.4 + 0.05 * lift + random.normal(0, 0.05),
        "lightglue_model_found": ok,
        "lightglue_model_kind": "similarity" if ok else "none",
        "lightglue_inliers": inliers,
        "lightglue_inlier_ratio": inliers / max(matches, 1),
        "lightglue_inlier_confidence_sum": 0.6 * inliers,
        "lightglue_residual": random.uniform(0.005, 0.02) if ok else nan,
        "lightglue_spread_along": random.uniform(0.05, 0.2) + 0.02 * lift if ok else 0.0,
        "lightglue_spread_across": 0.05 if ok else 0.0,
        "lightglue_scale": float(np.exp(random.normal(0, 0.3))) if ok else nan,
        "lightglue_rotation": random.normal(0, 10) if ok else nan,
        "lightglue_shear": random.uniform(0, 0.3) if ok else nan,
        "lightglue_position_gap": abs(random.normal(0, 0.08)) * (0.5 if same else 1.0) if ok else nan,
        "lightglue_mark_share": random.uniform(0, 1) if ok else 0.0,
        "lightglue_plausibility": random.uniform(0, 1) if ok else 0.0,
        "lightglue_model_score": 0.8 * inliers,
        "skin_keypoints0": 700.0,
        "skin_keypoints1": 650.0,
        "skin_matches": float(random.poisson(200)),
        "skin_similarity": random.uniform(0.4, 0.6),
        "skin_inliers": float(random.poisson(20 + 6 * lift)),
        "skin_inlier_ratio": random.uniform(0.05, 0.2),
        "skin_residual": random.uniform(0.005, 0.02),
        "skin_spread_along": random.uniform(0.05, 0.2),
        "skin_position_gap": abs(random.normal(0, 0.05)),
        "skin_plausibility": random.uniform(0, 1),
        "skin_aligned_similarity": 0.1 * lift + random.normal(0, 0.2) if random.random() < 0.7 else nan,
        "skin_overlap": random.uniform(0.5, 1),
        "date0": q.date,  # type: ignore[attr-defined]
        "date1": c.date if random.random() < 0.95 else pd.NaT,  # type: ignore[attr-defined]
        "viewpoint0": q.viewpoint,  # type: ignore[attr-defined]
        "viewpoint1": c.viewpoint,  # type: ignore[attr-defined]
        "width0": q.width,  # type: ignore[attr-defined]
        "height0": q.height,  # type: ignore[attr-defined]
        "width1": c.width,  # type: ignore[attr-defined]
        "height1": c.height,  # type: ignore[attr-defined]
        "body_share0": 0.6,
        "body_share1": 0.55,
        "sharpness0": q.sharpness,  # type: ignore[attr-defined]
        "sharpness1": c.sharpness,  # type: ignore[attr-defined]
        "individual0": q.individual,  # type: ignore[attr-defined]
        "individual1": c.individual,  # type: ignore[attr-defined]
        "encounter0": q.encounter,  # type: ignore[attr-defined]
        "encounter1": c.encounter,  # type: ignore[attr-defined]
    }


@pytest.fixture(scope="session")
def pairs() -> pd.DataFrame:
    """The table with its defaults (never change it in place)."""
    return make_pairs()


@pytest.fixture(scope="session")
def make() -> MakePairs:
    """The function behind :func:`pairs`, for other sizes."""
    return make_pairs
