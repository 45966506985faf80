"""Train a ranker on labelled pairs: out-of-fold scores by individual, calibration, choice of the kind, final fit.

The split, exactly. Individuals are divided into folds. For fold k, a row trains only if **neither** the query's nor the
candidate's individual belongs to fold k; the rows whose **query** individual belongs to fold k are scored, with their
whole lists. So nothing of a held-out individual, as query or as candidate, is seen in training. Early stopping splits
the training rows once more by the same rule.

Features are computed on whole lists before anything is left out: what a list looks like in training is what it looks
like in use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Calibration, Values, fit_calibration, fit_platt
from reranker.fusion import fit_fusion, fuse
from reranker.metrics import expected_calibration_error
from reranker.neighbour_rescoring import NEIGHBOUR_COLUMNS, NeighbourRescoring, fit_and_rescore
from reranker.pair_features import build
from reranker.protocols import Mask, assign_folds, evaluate, protocol_tables, same_encounter, split_masks
from reranker.ranker import Kind, LabelledRows, Member, Ranker, RankerSettings, check_disjoint, rank_order
from reranker.scorers import TreeScorer
from scarmatch.errors import ScarmatchError
from scarmatch.settings import Settings, SettingsError

Protocol = Literal["all", "other_encounter", "other_year"]

#: From the simplest: a kind must beat those before it by :attr:`TrainingSettings.min_gain` to be chosen.
KINDS: tuple[Kind, ...] = ("logistic", "lambdamart", "blend")
#: Baselines: one measurement of the pair alone.
COUNTS = ("lightglue_inliers", "lightglue_confidence_sum")
LABEL_COLUMNS = ("individual0", "individual1")
#: Ends the name of a kind's scores by each pair's own evidence, before neighbour re-scoring.
ALONE = "_alone"


class TrainingError(ScarmatchError, ValueError):
    """The table cannot train a ranker; the message says what is missing."""


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Options of :func:`train_ranker`.

    Attributes:
        kind: the ranker's kind, or "auto": the best by out-of-fold mAP on ``select_on``.
        folds: number of folds of individuals.
        seed: of the folds.
        valid_share: share of a fold's training individuals held out for early stopping.
        drop_same_encounter: train on lists without the photographs of the query's own encounter (the harder question).
        same_encounter_weight: weight of those rows where they are kept. They teach what a sure match looks like, but at
            full weight also that a match is of the same day (measured on the real photographs, see bench/NOTES.md).
        select_on, calibrate_on: protocol that chooses the kind and protocol whose probabilities are calibrated; where
            the table lacks the columns for it, "all" takes its place.
        min_gain: mAP that a less simple kind must win to be chosen.
        rescoring: let a list's other candidates raise a score (:mod:`reranker.neighbour_rescoring`), where the table
            names them.
        top: number of candidates shown (mAP@top).
    """

    kind: Literal["auto", "logistic", "lambdamart", "blend"] = "auto"
    folds: int = 5
    seed: int = 0
    valid_share: float = 0.2
    drop_same_encounter: bool = False
    same_encounter_weight: float = 0.3
    select_on: Protocol = "other_encounter"
    calibrate_on: Protocol = "all"
    min_gain: float = 0.001
    rescoring: bool = True
    top: int = 20

    def __post_init__(self) -> None:
        if self.kind != "auto" and self.kind not in KINDS:
            raise SettingsError(f"kind must be 'auto' or one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.folds < 2 or not 0 < self.valid_share < 1 or self.same_encounter_weight <= 0:
            raise SettingsError("folds must be at least 2, valid_share within (0, 1), same_encounter_weight positive")


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
) -> TrainedRanker:
    """Fit and calibrate a ranker on a labelled raw table of pairs, and measure it out of fold beside its baselines.

    Args:
        raw: raw table of pairs with ``individual0`` and ``individual1`` (rows with an unknown one teach nothing but
            stay in the lists); optional ``encounter0``, ``encounter1``, ``n_true`` (see :func:`protocol_tables`).
        ranker: options of the models (its kind is overruled by ``settings.kind``).
        keypoint_kind, descriptor: what the table was made with; stored in the ranker.
        hidden: features that no model may see (they are unknown to it), to measure what they are worth.
        protocols: name -> rows of ``raw`` that are judged, "all" among them; those of :func:`protocol_tables` if None.

    Raises:
        TrainingError: labels are missing or too few individuals have a match.
    """
    settings, ranker_settings = settings or TrainingSettings(), ranker or RankerSettings()
    judged = protocols or protocol_tables(raw)
    tables = {name: _Table.of(table, hidden) for name, table in judged.items() if len(table)}
    training = tables.get("other_encounter", tables["all"]) if settings.drop_same_encounter else tables["all"]
    weights = _encounter_weights(training.raw, settings)
    folds, count = _folds(training, tables["all"], settings)
    trees: list[int] = []
    scores = {name: _baseline_scores(table) for name, table in tables.items()}
    for fold in range(count):
        held_out = {name for name, k in folds.items() if k == fold}
        n_trees = _fit_fold(training, tables, scores, held_out, settings, ranker_settings, weights)
        trees.append(n_trees)
    lines = _join(scores, tables, settings)
    rescorings = _rescore(scores, tables, settings)
    frames = {name: _scored(table, scores[name], folds) for name, table in tables.items()}
    figures = {name: _figures(frame, settings.top) for name, frame in frames.items()}
    kind, reason = _choose(figures, settings)
    final_settings = ranker_settings.replace(kind=kind, n_trees=max(1, int(np.median(trees))), patience=0)
    fitted = _final(training, final_settings, weights, lines).with_rescoring(rescorings.get(kind))
    calibration_frame = frames.get(settings.calibrate_on, frames["all"])
    fitted = fitted.with_calibration(_calibrate(calibration_frame, kind))
    calibration = {
        name: _calibration_errors(frame, calibration_frame, kind, settings.top) for name, frame in frames.items()
    }
    report = {
        "kind": kind,
        "reason": reason,
        "protocols": figures,
        "trees_per_fold": trees,
        "trees": final_settings.n_trees,
        "folds": count,
        "individuals": len(folds),
        "training_rows": int(training.known.sum()),
        "training_queries": int(training.raw.loc[training.known, "query_id"].nunique()),
        # What a user sees are the first places: their error is the one to quote.
        "calibration_error": {name: errors["shown"] for name, errors in calibration.items()},
        "calibration_errors": calibration,
        "matches_counted_in": {
            name: "catalogue" if "n_true" in frame.columns else "lists" for name, frame in frames.items()
        },
        "importance": {name: column.to_dict() for name, column in fitted.importance().items()},
        "training": settings.to_dict(),
        "ranker": final_settings.to_dict(),
    }
    return TrainedRanker(
        fitted.with_origin(keypoint_kind, descriptor, {"report": _clean(report)}), _clean(report), frames
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """One protocol's table with its features: ``known`` rows carry a label, ``same`` is that label."""

    raw: pd.DataFrame
    features: pd.DataFrame
    known: Mask
    same: Mask
    individual0: npt.NDArray[Any]
    individual1: npt.NDArray[Any]

    @classmethod
    def of(cls, raw: pd.DataFrame, hidden: Collection[str] = ()) -> _Table:
        missing = [name for name in LABEL_COLUMNS if name not in raw.columns]
        if missing:
            raise TrainingError(f"training needs the column(s) {', '.join(missing)}")
        # One order of rows, so that the same pairs train the same ranker.
        raw = raw.sort_values(["query_id", "candidate_id"], kind="stable").reset_index(drop=True)
        known = (raw["individual0"].notna() & raw["individual1"].notna()).to_numpy()
        names = [raw[name].astype(object).where(raw[name].notna(), "").astype(str).to_numpy() for name in LABEL_COLUMNS]
        features = build(raw).assign(**dict.fromkeys(hidden, np.float32(np.nan)))
        return cls(raw, features, known, known & (names[0] == names[1]), names[0], names[1])

    def rows(self, mask: Mask, weights: Values) -> LabelledRows:
        """Return labelled rows for fitting."""
        queries = self.raw["query_id"].astype(str).to_numpy()
        return LabelledRows(self.features, self.same, queries, self.individual0, weights).take(mask & self.known)


def _encounter_weights(raw: pd.DataFrame, settings: TrainingSettings) -> Values:
    weights = np.ones(len(raw))
    weights[same_encounter(raw)] = settings.same_encounter_weight
    return weights


def _folds(training: _Table, everything: _Table, settings: TrainingSettings) -> tuple[dict[str, int], int]:
    """Return individual -> fold over every individual that occurs, and the number of folds."""
    teachers = np.unique(training.individual0[training.same])
    if len(teachers) < 4 or (training.known & ~training.same).sum() == 0:
        raise TrainingError(
            f"training needs at least 4 individuals with a match in a list, and pairs of different individuals;"
            f" the table has {len(teachers)} and {int((training.known & ~training.same).sum())}"
        )
    count = min(settings.folds, len(teachers) // 2)
    known = everything.known
    names = np.concatenate([everything.individual0[known], everything.individual1[known]])
    load = np.concatenate([everything.same[known].astype(float), np.zeros(int(known.sum()))])
    # Balanced by matches, so that no fold is left without any.
    return assign_folds(names, load, count, settings.seed), count


def _baseline_scores(table: _Table) -> dict[str, Values]:
    raw, empty = table.raw, np.full(len(table.raw), np.nan)
    scores = {"cosine": pd.to_numeric(raw["cosine"]).to_numpy(dtype=np.float64)}
    for name in COUNTS:
        if name in raw.columns:
            scores[name] = pd.to_numeric(raw[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    scores["wildfusion_baseline"] = fuse(table.features)["score"].to_numpy()
    return {**scores, **{name: empty.copy() for name in ("calibrated_mean", *KINDS)}}


def _fit_fold(
    training: _Table,
    tables: dict[str, _Table],
    scores: dict[str, dict[str, Values]],
    held_out: set[str],
    settings: TrainingSettings,
    ranker_settings: RankerSettings,
    weights: Values,
) -> int:
    """Fit all kinds without the held-out individuals and fill in their scores; return the number of trees."""
    train_mask, _ = split_masks(training.individual0, training.individual1, held_out)
    rows = training.rows(train_mask, weights)
    n_trees = _count_trees(training, train_mask, settings, ranker_settings, weights)
    models = {
        "logistic": _fit(rows, ranker_settings.replace(kind="logistic")),
        "lambdamart": _fit(rows, ranker_settings.replace(kind="lambdamart", n_trees=n_trees, patience=0)),
    }
    fusion = fit_fusion(rows.features, rows.labels)
    for name, table in tables.items():
        _, test_mask = split_masks(table.individual0, table.individual1, held_out)
        if not test_mask.any():
            continue
        check_disjoint(rows.individuals, table.individual0[test_mask])
        for kind, model in models.items():
            scores[name][kind][test_mask] = model.predict(table.features.loc[test_mask])
        fused = fuse(table.features.loc[test_mask], fusion)["score"].to_numpy()
        scores[name]["calibrated_mean"][test_mask] = fused
    return n_trees


def _fit(rows: LabelledRows, settings: RankerSettings, valid: LabelledRows | None = None) -> Ranker:
    return Ranker.fit(rows.features, rows.labels, rows.queries, rows.individuals, settings, valid, rows.weights, False)


def _count_trees(
    training: _Table, train_mask: Mask, settings: TrainingSettings, ranker_settings: RankerSettings, weights: Values
) -> int:
    """Return the number of trees after which held-out individuals stop gaining (all of them if none can tell)."""
    names = np.unique(training.individual0[train_mask & training.same])
    count = max(1, round(settings.valid_share * len(names)))
    if ranker_settings.patience == 0 or len(names) - count < 1:
        return ranker_settings.n_trees
    chosen = set(np.random.default_rng(settings.seed).permutation(names)[:count].tolist())
    inner_train, inner_valid = split_masks(training.individual0, training.individual1, chosen)
    train = training.rows(train_mask & inner_train, weights)
    valid = training.rows(train_mask & inner_valid, weights)
    if not _can_rank(train):
        # So few individuals that what is left for training holds no list worth the name: nobody can tell.
        return ranker_settings.n_trees
    tree_model = _fit(train, ranker_settings.replace(kind="lambdamart"), valid).members[0].scorer
    assert isinstance(tree_model, TreeScorer)
    return max(1, tree_model.n_trees)


def _can_rank(rows: LabelledRows) -> bool:
    """Say whether any list holds both a match and another candidate."""
    kinds = pd.Series(rows.labels).groupby(np.asarray(rows.queries)).nunique()
    return bool((kinds > 1).any())


def _join(
    scores: dict[str, dict[str, Values]], tables: dict[str, _Table], settings: TrainingSettings
) -> dict[str, tuple[float, float]]:
    """Bring both models' out-of-fold scores to log-odds and write their mean as the blend; return the two lines.

    Two numbers a model, fitted on all folds together: too few to remember an individual.
    """
    base = settings.calibrate_on if settings.calibrate_on in tables else "all"
    table = tables[base]
    lines: dict[str, tuple[float, float]] = {}
    for kind in ("lambdamart", "logistic"):
        values = scores[base][kind]
        scored = table.known & ~np.isnan(values)
        lines[kind] = fit_platt(values[scored], table.same[scored])
    for name in tables:
        parts = [slope * scores[name][kind] + offset for kind, (slope, offset) in lines.items()]
        scores[name]["blend"] = np.mean(parts, axis=0)
    return lines


def _rescore(
    scores: dict[str, dict[str, Values]], tables: dict[str, _Table], settings: TrainingSettings
) -> dict[Kind, NeighbourRescoring]:
    """Re-score every kind's out-of-fold scores by the neighbours in their lists, and keep the former beside them."""
    for values in scores.values():
        values.update({f"{kind}{ALONE}": values[kind] for kind in KINDS})
    if not settings.rescoring or not set(NEIGHBOUR_COLUMNS) <= set(tables["all"].raw.columns):
        return {}
    base = settings.calibrate_on if settings.calibrate_on in tables else "all"
    rescorings: dict[Kind, NeighbourRescoring] = {}
    for kind in KINDS:
        rescorings[kind], rescored = fit_and_rescore(tables, {name: scores[name][kind] for name in tables}, base)
        for name in tables:
            scores[name][kind] = rescored[name]
    return rescorings


def _scored(table: _Table, scores: dict[str, Values], folds: dict[str, int]) -> pd.DataFrame:
    """Return the labelled rows with their fold and all out-of-fold scores."""
    columns = [name for name in ("query_id", "candidate_id", "individual0", "n_true") if name in table.raw.columns]
    frame = table.raw[columns].assign(same=table.same, fold=[folds.get(name, -1) for name in table.individual0])
    # The cosine is a baseline's score and the breaker of ties at once: one column.
    return frame.assign(**scores).loc[table.known].reset_index(drop=True)


def _figures(frame: pd.DataFrame, top: int) -> dict[str, dict[str, float]]:
    methods = [name for name in frame.columns if name in ("cosine", *COUNTS)]
    methods += ["wildfusion_baseline", "calibrated_mean", *(f"{kind}{ALONE}" for kind in KINDS), *KINDS]
    return {name: evaluate(frame, frame[name], top) for name in methods}


def _choose(figures: dict[str, dict[str, dict[str, float]]], settings: TrainingSettings) -> tuple[Kind, str]:
    if settings.kind != "auto":
        return settings.kind, "asked for"
    protocol = settings.select_on if settings.select_on in figures else "all"
    values = {kind: np.nan_to_num(figures[protocol][kind]["map"], nan=0.0) for kind in KINDS}
    chosen = KINDS[0]
    for kind in KINDS[1:]:
        if values[kind] >= values[chosen] + settings.min_gain:
            chosen = kind
    listing = ", ".join(f"{kind} {value:.4f}" for kind, value in values.items())
    return chosen, f"best out-of-fold mAP@{settings.top} on protocol {protocol!r}: {listing}"


def _final(
    training: _Table, settings: RankerSettings, weights: Values, lines: dict[str, tuple[float, float]]
) -> Ranker:
    """Fit on all labelled rows; a blend's members keep the lines that were fitted out of fold."""
    fitted = _fit(training.rows(np.ones(len(training.raw), bool), weights), settings)
    if settings.kind != "blend":
        return fitted
    members = []
    for member in fitted.members:
        slope, offset = lines["lambdamart" if isinstance(member.scorer, TreeScorer) else "logistic"]
        members.append(Member(member.scorer, slope, offset))
    return dataclasses.replace(fitted, members=tuple(members))


def _calibrate(frame: pd.DataFrame, kind: Kind) -> Calibration:
    scored = frame.dropna(subset=[kind])
    return fit_calibration(scored[kind], scored["same"])


def cross_fitted_probabilities(frame: pd.DataFrame, base: pd.DataFrame, method: str) -> Values:
    """Return (rows,) probabilities of a frame's out-of-fold scores: no individual has a say in its own calibration.

    Args:
        frame: out-of-fold scores (:attr:`TrainedRanker.scores`) without a NaN in the method's column.
        base: the protocol's frame that calibrations are fitted on, each on the other folds; rows without a score
            teach nothing.
        method: column of the scores.

    Returns:
        NaN where the other folds hold no match.
    """
    probabilities = np.full(len(frame), np.nan)
    for fold in np.unique(frame["fold"]):
        mask = (frame["fold"] == fold).to_numpy()
        others = base.loc[base["fold"] != fold].dropna(subset=[method])
        if others["same"].any():
            probabilities[mask] = fit_calibration(others[method], others["same"])(frame.loc[mask, method])
    return probabilities


def places_in_lists(frame: pd.DataFrame, method: str) -> npt.NDArray[np.int64]:
    """Return (rows,) the place of each row in its query's list by a method's scores, from 0."""
    order = rank_order(frame["query_id"], frame[method], frame["cosine"], frame["candidate_id"])
    places = np.empty(len(frame), dtype=np.int64)
    places[order] = frame.iloc[order].groupby("query_id", sort=False).cumcount()
    return places


def _calibration_errors(frame: pd.DataFrame, base: pd.DataFrame, kind: Kind, top: int) -> dict[str, float]:
    """Expected calibration errors of cross-fitted probabilities.

    Over all pairs ("pairs"), over the first ``top`` of every list ("shown") and over the first alone ("first"): most
    pairs are hopeless and easily right, so the figure over all pairs flatters.
    """
    scored = frame.dropna(subset=[kind]).reset_index(drop=True)
    probabilities, place = cross_fitted_probabilities(scored, base, kind), places_in_lists(scored, kind)
    same, errors = scored["same"].to_numpy(), {}
    for name, last in (("pairs", len(scored)), ("shown", top), ("first", 1)):
        rows = (place < last) & ~np.isnan(probabilities)
        errors[name] = expected_calibration_error(probabilities[rows], same[rows])
    return errors


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
