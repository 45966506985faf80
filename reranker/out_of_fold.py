"""Scores of every labelled pair by models that know neither of its individuals.

The split, exactly. Individuals are divided into folds. For fold k, a row trains only if **neither** the query's nor the
candidate's individual belongs to fold k; the rows whose **query** individual belongs to fold k are scored, with their
whole lists. So nothing of a held-out individual, as query or as candidate, is seen in training. Early stopping splits
the training rows once more by the same rule.

Features are computed on whole lists before anything is left out: what a list looks like in training is what it looks
like in use.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, fit_platt
from reranker.fusion import fit_fusion, fuse
from reranker.likeness import COLUMNS
from reranker.neighbour_rescoring import NeighbourRescoring, fit_and_rescore, fit_likeness
from reranker.pair_features import build
from reranker.protocols import Mask, assign_folds, split_masks
from reranker.ranker import Kind, LabelledRows, Ranker, RankerSettings, check_disjoint
from reranker.training_settings import CALIBRATE_ON, KINDS, TrainingError, TrainingSettings
from reranker.tree_scorer import TreeScorer

#: Baselines: one measurement of the pair alone.
COUNTS = ("lightglue_inliers", "lightglue_confidence_sum")
LABEL_COLUMNS = ("individual0", "individual1")
#: Ends the name of a kind's scores by each pair's own evidence, before neighbour re-scoring.
ALONE = "_alone"


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """One protocol's table with its features: ``labelled`` rows carry a label, ``same`` is that label."""

    raw: pd.DataFrame
    features: pd.DataFrame
    labelled: Mask
    same: Mask
    individual0: npt.NDArray[Any]
    individual1: npt.NDArray[Any]

    @classmethod
    def of(cls, raw: pd.DataFrame, hidden: Collection[str] = ()) -> LabelledTable:
        missing = [name for name in LABEL_COLUMNS if name not in raw.columns]
        if missing:
            raise TrainingError(f"training needs the column(s) {', '.join(missing)}")
        # One order of rows, so that the same pairs train the same ranker.
        raw = raw.sort_values(["query_id", "candidate_id"], kind="stable").reset_index(drop=True)
        labelled = (raw["individual0"].notna() & raw["individual1"].notna()).to_numpy()
        names = [raw[name].astype(object).where(raw[name].notna(), "").astype(str).to_numpy() for name in LABEL_COLUMNS]
        features = build(raw).assign(**dict.fromkeys(hidden, np.float32(np.nan)))
        return cls(raw, features, labelled, labelled & (names[0] == names[1]), names[0], names[1])

    def rows(self, mask: Mask) -> LabelledRows:
        """Return labelled rows for fitting."""
        queries = self.raw["query_id"].astype(str).to_numpy()
        return LabelledRows(self.features, self.same, queries, self.individual0).take(mask & self.labelled)

    def followed_by(self, other: LabelledTable) -> LabelledTable:
        """Return a table of the lists of both, those of the other under ids of their own; ``raw`` keeps only these."""
        lists = [table.raw[["query_id"]].astype(str) for table in (self, other)]
        lists[1] = lists[1] + "|again"
        parts = [(getattr(self, name), getattr(other, name)) for name in ("labelled", "same", *LABEL_COLUMNS)]
        features = pd.concat([self.features, other.features], ignore_index=True)
        return LabelledTable(
            pd.concat(lists, ignore_index=True), features, *(np.concatenate(columns) for columns in parts)
        )


def divide(
    training: LabelledTable, everything: LabelledTable, settings: TrainingSettings
) -> tuple[dict[str, int], int]:
    """Return individual -> fold over every individual that occurs, and the number of folds."""
    teachers = np.unique(training.individual0[training.same])
    if len(teachers) < 4 or (training.labelled & ~training.same).sum() == 0:
        raise TrainingError(
            f"training needs at least 4 individuals with a match in a list, and pairs of different individuals;"
            f" the table has {len(teachers)} and {int((training.labelled & ~training.same).sum())}"
        )
    count = min(settings.folds, len(teachers) // 2)
    labelled = everything.labelled
    names = np.concatenate([everything.individual0[labelled], everything.individual1[labelled]])
    load = np.concatenate([everything.same[labelled].astype(float), np.zeros(int(labelled.sum()))])
    # Balanced by matches, so that no fold is left without any.
    return assign_folds(names, load, count, settings.seed), count


def baseline_scores(table: LabelledTable) -> dict[str, Values]:
    raw, empty = table.raw, np.full(len(table.raw), np.nan)
    scores = {"cosine": pd.to_numeric(raw["cosine"]).to_numpy(dtype=np.float64)}
    for name in COUNTS:
        if name in raw.columns:
            scores[name] = pd.to_numeric(raw[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    scores["wildfusion_baseline"] = fuse(table.features)["score"].to_numpy()
    return {**scores, **{name: empty.copy() for name in ("calibrated_mean", *KINDS)}}


def fit_fold(
    training: LabelledTable,
    tables: dict[str, LabelledTable],
    scores: dict[str, dict[str, Values]],
    held_out: set[str],
    settings: RankerSettings,
) -> None:
    """Fit all kinds without the held-out individuals and fill in their scores."""
    train_mask, _ = split_masks(training.individual0, training.individual1, held_out)
    rows = training.rows(train_mask)
    models = {
        "logistic": fit(rows, settings.replace(kind="logistic")),
        "lambdamart": fit(rows, settings.replace(kind="lambdamart", patience=0)),
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


def fit(rows: LabelledRows, settings: RankerSettings, valid: LabelledRows | None = None) -> Ranker:
    return Ranker.fit(rows.features, rows.labels, rows.queries, rows.individuals, settings, valid, False)


def count_trees(
    training: LabelledTable, held_out: set[str], settings: TrainingSettings, ranker_settings: RankerSettings
) -> int:
    """Return the number of trees after which further held-out individuals stop gaining (all if none can tell)."""
    train_mask, _ = split_masks(training.individual0, training.individual1, held_out)
    names = np.unique(training.individual0[train_mask & training.same])
    count = max(1, round(settings.valid_share * len(names)))
    if ranker_settings.patience == 0 or len(names) - count < 1:
        return ranker_settings.n_trees
    chosen = set(np.random.default_rng(settings.seed).permutation(names)[:count].tolist())
    inner_train, inner_valid = split_masks(training.individual0, training.individual1, chosen)
    train = training.rows(train_mask & inner_train)
    valid = training.rows(train_mask & inner_valid)
    if not _can_rank(train):
        # So few individuals that what is left for training holds no list worth the name: nobody can tell.
        return ranker_settings.n_trees
    tree_model = fit(train, ranker_settings.replace(kind="lambdamart"), valid).members[0].scorer
    assert isinstance(tree_model, TreeScorer)
    return max(1, tree_model.n_trees)


def _can_rank(rows: LabelledRows) -> bool:
    """Say whether any list holds both a match and another candidate."""
    kinds = pd.Series(rows.labels).groupby(np.asarray(rows.queries)).nunique()
    return bool((kinds > 1).any())


def join_as_blend(
    scores: dict[str, dict[str, Values]], tables: dict[str, LabelledTable]
) -> dict[str, tuple[float, float]]:
    """Bring both models' out-of-fold scores to log-odds and write their mean as the blend; return the two lines.

    Two numbers a model, fitted on all folds together: too few to remember an individual.
    """
    table = tables[CALIBRATE_ON]
    lines: dict[str, tuple[float, float]] = {}
    for kind in ("lambdamart", "logistic"):
        values = scores[CALIBRATE_ON][kind]
        scored = table.labelled & ~np.isnan(values)
        lines[kind] = fit_platt(values[scored], table.same[scored])
    for name in tables:
        parts = [slope * scores[name][kind] + offset for kind, (slope, offset) in lines.items()]
        scores[name]["blend"] = np.mean(parts, axis=0)
    return lines


def rescore(
    scores: dict[str, dict[str, Values]],
    tables: dict[str, LabelledTable],
    settings: TrainingSettings,
    further: Collection[str] = (),
) -> dict[Kind, NeighbourRescoring]:
    """Re-score every kind's out-of-fold scores by the neighbours in their lists, and keep the former beside them.

    The tables that ``further`` names teach nothing.
    """
    for values in scores.values():
        values.update({f"{kind}{ALONE}": values[kind] for kind in KINDS})
    if not settings.rescoring or not set(COLUMNS) <= set(tables["all"].raw.columns):
        return {}
    rescorings: dict[Kind, NeighbourRescoring] = {}
    likeness = fit_likeness({name: table for name, table in tables.items() if name not in further})
    for kind in KINDS:
        own = {name: scores[name][kind] for name in tables}
        rescorings[kind], rescored = fit_and_rescore(tables, own, likeness, CALIBRATE_ON)
        for name in tables:
            scores[name][kind] = rescored[name]
    return rescorings
