"""Why a candidate was proposed, in words that a reviewer can check on the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from engine.records import Verification
from engine.report.wording import gap_in_words, known
from engine.search.pair_evidence import ScorePart, ScoreParts

#: Placements less plausible than this are called unlikely.
_UNLIKELY = 0.3


#: The ranker's groups of features, in a reviewer's words.
_GROUPS = {
    "global": "whole picture",
    "requery": "whole picture, through its neighbours",
    "mutual_nn": "keypoints that are alike",
    "correlation": "skin that agrees line by line",
    "lightglue": "keypoints matched by LightGlue",
    "skin": "skin that is alike",
    "metadata": "date, view and size",
    "neighbours": "other candidates that look like it",
}

#: What a geometric model does to the query to lay it on the candidate.
_MODELS = {
    "similarity": "one shift, turn and change of size",
    "affine": "one affine map",
    "homography": "one change of perspective",
}

#: A group's features that are named, and the share of its sum of sizes below which (and the
#: least amount, the smallest that two decimals show) none is worth a name.
_NAMED, _WORTH_NAMING, _LEAST = 3, 0.1, 0.005


def score_parts(features: pd.DataFrame, unit: str, baseline: float, method: str) -> ScoreParts:
    """Add up the contributions of a pair's features by kind of evidence.

    Args:
        features: one row per feature: group, said (its value in words), contribution.
        unit, baseline, method: as in :class:`ScoreParts`.
    """
    rows_of_group: dict[str, list[tuple[float, str]]] = {}
    columns = (features[name].tolist() for name in ("group", "contribution", "said"))
    for group, amount, text in zip(*columns, strict=True):
        rows_of_group.setdefault(group, []).append((amount, text))
    parts = []
    for group, rows in rows_of_group.items():
        rows.sort(key=lambda row: -abs(row[0]))
        least = max(_WORTH_NAMING * sum(abs(amount) for amount, _ in rows), _LEAST)
        said = tuple(f"{text} ({amount:+.2f})" for amount, text in rows[:_NAMED] if abs(amount) >= least)
        parts.append(ScorePart(_GROUPS.get(group, group), sum(amount for amount, _ in rows), said))
    parts.sort(key=lambda part: -abs(part.amount))
    return ScoreParts(tuple(parts), unit, baseline, method)


def weights_in_words(parts: ScoreParts) -> tuple[str, ...]:
    """Return at most two sentences: what weighed most for the pair and what most against it."""
    said = []
    for sign, opening in ((1, "weighs for it most"), (-1, "weighs against it most")):
        side = [part for part in parts.parts if sign * part.amount > _LEAST]
        if side:
            detail = f" – {side[0].said[0]}" if side[0].said else ""
            said.append(f"{opening}: {side[0].name} ({side[0].amount:+.2f} {parts.unit}){detail}")
    return tuple(said)


def reasons(
    check: Verification, n_matches: int, answer: Mapping[str, Any], parts: ScoreParts | None = None
) -> tuple[str, ...]:
    """Return sentences for and against a pair, geometry first, what the ranker weighed last.

    Args:
        check: the pair's verification.
        n_matches: tentative matches of the pair.
        answer: the pair's row of the answer table (cosine, date_gap_days, viewpoint, query_viewpoint, where known).
        parts: what the ranker's features added to the score, if that is known.
    """
    said = [_geometry(check, n_matches)]
    if check.ok:
        if check.mark_share > 0:
            said.append(f"{check.mark_share:.0%} of the agreeing keypoints lie on marks in both photographs")
        if check.plausibility < _UNLIKELY:
            said.append(
                f"against it: the placement needs a turn of {abs(check.rotation):.0f} degrees and a change of size by "
                f"{check.scale:.2f}, unlikely between two head-up crops"
            )
    if known(answer.get("cosine")):
        said.append(f"similarity of the whole pictures: {float(answer['cosine']):.2f}")
    if known(answer.get("date_gap_days")):
        # The answer table holds the size of the gap only, so "later" would claim too much.
        said.append(f"dates: {gap_in_words(float(answer['date_gap_days'])).replace(' later', ' apart')}")
    views = [answer.get(name) for name in ("query_viewpoint", "viewpoint")]
    if all(known(view) for view in views) and views[0] != views[1]:
        said.append(f"seen from different sides: {views[0]} and {views[1]}")
    return (*said, *(weights_in_words(parts) if parts is not None else ()))


def _geometry(check: Verification, n_matches: int) -> str:
    if not n_matches:
        return "against it: no keypoint of one photograph matches one of the other"
    if not check.ok:
        return f"against it: the {n_matches} matched keypoints agree in no placement of one animal on the other"
    model = _MODELS.get(check.kind, check.kind)
    return f"{check.n_inliers} of {n_matches} matched keypoints lie where {model} puts them"
