"""Reasons say what the numbers say, and nothing where nothing is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from engine.records import Verification
from engine.report.reasons import reasons, score_parts


def found(**changes: object) -> Verification:
    base = dataclasses.replace(
        Verification.none(9),
        ok=True,
        kind="affine",
        n_inliers=7,
        inliers=np.arange(9) < 7,
        rotation=-3.0,
        scale=1.1,
        plausibility=0.9,
        mark_share=0.5,
    )
    return dataclasses.replace(base, **changes)


def test_a_good_pair() -> None:
    answer = {"cosine": 0.8123, "date_gap_days": 0, "viewpoint": "top", "query_viewpoint": "top"}
    said = reasons(found(), 9, answer)
    assert said[0] == "7 of 9 matched keypoints lie where one affine map puts them"
    assert "50% of the agreeing keypoints lie on marks in both photographs" in said
    assert any("0.81" in line for line in said)
    assert any("same day" in line for line in said)
    assert not any("against" in line or "different sides" in line for line in said)


def test_what_speaks_against() -> None:
    turned = reasons(found(plausibility=0.1, rotation=-33.0), 9, {"viewpoint": "left", "query_viewpoint": "top"})
    assert any("dates: 2 weeks apart" in line for line in reasons(found(), 9, {"date_gap_days": 14}))
    assert any("33 degrees" in line for line in turned)
    assert any("top and left" in line for line in turned)
    assert reasons(Verification.none(4), 4, {})[0].startswith("against it: the 4 matched")
    assert reasons(Verification.none(0), 0, {}) == (
        "against it: no keypoint of one photograph matches one of the other",
    )


def test_parts_add_up_by_kind_of_evidence_and_name_what_weighs() -> None:
    rows = [
        ("global", "cosine: 0.4", 0.5),
        ("global", "rank: 2", -0.2),
        ("lightglue", "inliers: 3", -1.0),
        ("lightglue", "shear: 0.1", 0.001),
        ("skin", "skin: not known", 0.0),
    ]
    parts = score_parts(pd.DataFrame(rows, columns=["group", "said", "contribution"]), "score", -1.0, "by hand")
    assert [part.name for part in parts.parts] == [
        "keypoints matched by LightGlue",
        "whole picture",
        "skin that is alike",
    ]
    assert [part.amount for part in parts.parts] == pytest.approx([-0.999, 0.3, 0.0])
    assert parts.parts[0].said == ("inliers: 3 (-1.00)",)
    assert parts.parts[1].said == ("cosine: 0.4 (+0.50)", "rank: 2 (-0.20)")
    assert parts.parts[2].said == ()
    assert parts.total == pytest.approx(-1.699)
    said = reasons(found(), 9, {}, parts)
    assert said[-2] == "weighs for it most: whole picture (+0.30 score) – cosine: 0.4 (+0.50)"
    assert said[-1] == "weighs against it most: keypoints matched by LightGlue (-1.00 score) – inliers: 3 (-1.00)"
