"""Train a ranker on labelled pairs: out-of-fold scores by individual, calibration, choice of the kind, final fit.

How rows are divided is said in :mod:`reranker.out_of_fold`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from reranker.calibration import Values
from reranker.cross_fitting import (
    calibration_errors,
    cross_fitted_calibrations,
    cross_fitted_probabilities,
    fit_list_calibration,
)
from reranker.feature_registry import FEATURES, GROUPS
from reranker.individual_model import fit_on_lists
from reranker.list_calibration import ListCalibration
from reranker.out_of_fold import (
    ALONE,
    COUNTS,
    LABEL_COLUMNS,
    LabelledTable,
    baseline_scores,
    count_trees,
    divide,
    fit,
    fit_fold,
    join_as_blend,
    rescore,
)
from reranker.protocols import evaluate, protocol_tables
from reranker.ranker import Kind, Member, Ranker, RankerSettings
from reranker.training_settings import KINDS, MIN_GAIN, SELECT_ON, TrainingError, TrainingSettings
from reranker.tree_scorer import TreeScorer


@dataclass(frozen=True, eq=False)
class TrainedRanker:
    """The outcome of training.

    Attributes:
        ranker: fitted on all rows, calibrated out of fold.
        report: plain JSON values: protocols x methods with mAP and top-1, the choice, importances, calibration errors.
        scores: protocol -> frame of the labelled rows with query_id, candidate_id, individual0, same, fold and one
            column of out-of-fold scores per method.
    """

    ranker: Ranker
    report: dict[str, Any]
    scores: dict[str, pd.DataFrame]


def train_ranker(
    raw: pd.DataFrame,
    settings: TrainingSettings | None = None,
    ranker: RankerSettings | None = None,
    keypoint_kind: str = "",
    descriptor: str = "",
    hidden: Collection[str] = (),
    protocols: Mapping[str, pd.DataFrame] | None = None,
    further: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> TrainedRanker:
    """Fit and calibrate a ranker on a labelled raw table of pairs, and measure it out of fold beside its baselines.

    Args:
        raw: raw table of pairs with ``individual0`` and ``individual1`` (rows with an unknown one teach nothing but
            stay in the lists); optional ``encounter0``, ``encounter1``, ``n_true`` (see :func:`protocol_tables`).
        ranker: options of the models (its kind is overruled by ``settings.kind``).
        keypoint_kind, descriptor: what the table was made with; stored in the ranker.
        hidden: features that no model may see (they are unknown to it), to measure what they are worth.
        protocols: name -> rows of ``raw`` that are judged, "all" among them; those of :func:`protocol_tables` if None.
        further: name -> rows of other tables that are judged too and teach nothing.

    Raises:
        TrainingError: labels are missing or too few individuals have a match.
    """
    settings, ranker_settings = settings or TrainingSettings(), ranker or RankerSettings()
    judged = {**(protocols or protocol_tables(raw)), **further}
    tables = {name: LabelledTable.of(table, hidden) for name, table in judged.items() if len(table)}
    # Both askings teach: what a match of the same day is worth while the own encounter is there, and when it is not.
    harder = tables.get("other_encounter")
    training = tables["all"] if harder is None else tables["all"].followed_by(harder)
    ranker_settings = ranker_settings.replace(groups=measured_groups(training.features, ranker_settings.groups))
    folds, count = divide(training, tables["all"], settings)
    held_out = [{name for name, k in folds.items() if k == fold} for fold in range(count)]
    trees = [count_trees(training, names, settings, ranker_settings) for names in held_out]
    # One number for all folds: each fold's own would give their scores different scales, and a few whales choose it.
    ranker_settings = ranker_settings.replace(n_trees=max(1, int(np.median(trees))))
    scores = {name: baseline_scores(table) for name, table in tables.items()}
    for names in held_out:
        fit_fold(training, tables, scores, names, ranker_settings)
    lines = join_as_blend(scores, tables)
    rescorings = rescore(scores, tables, settings, further)
    frames = {name: _scored(table, scores[name], folds) for name, table in tables.items()}
    of_protocols = {name: frame for name, frame in frames.items() if name not in further}
    figures = {name: _figures(frame, settings.top) for name, frame in of_protocols.items()}
    kind, reason = _choose(figures, settings)
    final_settings = ranker_settings.replace(kind=kind, patience=0)
    fitted = _final(training, final_settings, lines).with_rescoring(rescorings.get(kind))
    fitted = fitted.with_calibration(fit_list_calibration(frames, kind))
    curves = cross_fitted_calibrations(frames, kind)
    fitted = fitted.with_individuals(fit_on_lists(_answered(tables, frames, curves, kind)))
    calibration = {name: calibration_errors(frame, curves, kind, settings.top) for name, frame in of_protocols.items()}
    report = {
        "kind": kind,
        "reason": reason,
        "protocols": figures,
        "trees_per_fold": trees,
        "trees": final_settings.n_trees,
        "folds": count,
        "individuals": len(folds),
        "training_rows": int(tables["all"].labelled.sum()),
        "training_queries": int(tables["all"].raw.loc[tables["all"].labelled, "query_id"].nunique()),
        # What a user sees are the first places: their error is the one to quote.
        "calibration_error": {name: errors["shown"] for name, errors in calibration.items()},
        "calibration_errors": calibration,
        "matches_counted_in": {
            name: "catalogue" if "n_true" in frame.columns else "lists" for name, frame in of_protocols.items()
        },
        "importance": {name: column.to_dict() for name, column in fitted.importance().items()},
        "training": settings.to_dict(),
        "ranker": final_settings.to_dict(),
    }
    return TrainedRanker(
        fitted.with_origin(keypoint_kind, descriptor, {"report": _clean(report)}), _clean(report), frames
    )


def measured_groups(features: pd.DataFrame, groups: Sequence[str] = GROUPS) -> tuple[str, ...]:
    """Return the groups of features that a table knows anything of: LightGlue re-scores only who asks for it.

    Raises:
        TrainingError: it knows nothing of any.
    """
    known = features.notna().any()
    measured = {entry.group for entry in FEATURES if known[entry.name]}
    if not measured & set(groups):
        raise TrainingError(f"the table holds no value of any feature of {', '.join(groups)}")
    return tuple(group for group in groups if group in measured)


def _scored(table: LabelledTable, scores: dict[str, Values], folds: dict[str, int]) -> pd.DataFrame:
    """Return the labelled rows with their fold and all out-of-fold scores."""
    columns = [name for name in ("query_id", "candidate_id", "individual0", "n_true") if name in table.raw.columns]
    frame = table.raw[columns].assign(same=table.same, fold=[folds.get(name, -1) for name in table.individual0])
    # The cosine is a baseline's score and the breaker of ties at once: one column.
    return frame.assign(**scores).loc[table.labelled].reset_index(drop=True)


def _answered(
    tables: Mapping[str, LabelledTable],
    frames: Mapping[str, pd.DataFrame],
    curves: Mapping[int, ListCalibration],
    kind: Kind,
) -> list[pd.DataFrame]:
    """Return the lists that teach what an individual's photographs say together, with out-of-fold probabilities."""
    lists = []
    for name in ("all", "other_encounter"):
        if name not in tables:
            continue
        frame = frames[name]
        scored = frame[kind].notna().to_numpy()
        # The labelled rows, in the frame's order.
        rows = tables[name].raw.loc[tables[name].labelled].reset_index(drop=True)[scored]
        probability = cross_fitted_probabilities(frame[scored].reset_index(drop=True), curves, kind)
        columns = [c for c in ("query_id", "candidate_id", *LABEL_COLUMNS, "encounter0", "encounter1") if c in rows]
        lists.append(rows[columns].assign(probability=probability).dropna(subset=["probability"]))
    return lists


def _figures(frame: pd.DataFrame, top: int) -> dict[str, dict[str, float]]:
    methods = [name for name in frame.columns if name in ("cosine", *COUNTS)]
    methods += ["wildfusion_baseline", "calibrated_mean", *(f"{kind}{ALONE}" for kind in KINDS), *KINDS]
    return {name: evaluate(frame, frame[name], top) for name in methods}


def _choose(figures: dict[str, dict[str, dict[str, float]]], settings: TrainingSettings) -> tuple[Kind, str]:
    if settings.kind != "auto":
        return settings.kind, "asked for"
    protocols = [name for name in SELECT_ON if name in figures]
    values = {kind: np.mean([np.nan_to_num(figures[name][kind]["map"]) for name in protocols]) for kind in KINDS}
    chosen = KINDS[0]
    for kind in KINDS[1:]:
        if values[kind] >= values[chosen] + MIN_GAIN:
            chosen = kind
    listing = ", ".join(f"{kind} {value:.4f}" for kind, value in values.items())
    return chosen, f"best out-of-fold mAP@{settings.top}, mean of {' and '.join(protocols)}: {listing}"


def _final(training: LabelledTable, settings: RankerSettings, lines: dict[str, tuple[float, float]]) -> Ranker:
    """Fit on all labelled rows; a blend's members keep the lines that were fitted out of fold."""
    fitted = fit(training.rows(np.ones(len(training.raw), bool)), settings)
    if settings.kind != "blend":
        return fitted
    members = []
    for member in fitted.members:
        slope, offset = lines["lambdamart" if isinstance(member.scorer, TreeScorer) else "logistic"]
        members.append(Member(member.scorer, slope, offset))
    return dataclasses.replace(fitted, members=tuple(members))


def _clean(value: Any) -> Any:
    """Return plain JSON values: NaN becomes None, NumPy numbers become Python's."""
    if isinstance(value, dict):
        return {str(key): _clean(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
