"""Out-of-fold scores of any recipe (features, options of the models) on one labelled table of pairs.

What :func:`reranker.training.train_ranker` does for the recipe that ships, for many of them at once: features are made
once, folds of individuals are the same for all, so that two recipes differ in nothing else and compare query by query.
A row trains only if neither of its individuals is held out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CatalogError
from reranker.calibration import Values
from reranker.metrics import average_precision
from reranker.neighbour_rescoring import fit_and_rescore
from reranker.pair_features import build
from reranker.protocols import assign_folds, protocol_tables, same_encounter, split_masks
from reranker.ranker import LabelledRows, Ranker, RankerError, RankerSettings, check_disjoint, rank_order
from reranker.scorers import TreeScorer
from reranker.training import TrainingSettings

#: The protocols: which candidates are left out of every list.
PROTOCOLS = {
    "all": "all matches",
    "other_encounter": "other encounters",
    "other_day": "other days",
    "other_year": "other years",
}


@dataclass(frozen=True, eq=False)
class Table:
    """One protocol's labelled rows.

    Attributes:
        raw: the rows of the raw pair table.
        features: the ranker's features of whole lists.
        same: (N,) whether both photographs show one individual.
        known: (N,) whether both individuals are known.
        individual0, individual1: (N,) their names, "" where unknown.
    """

    raw: pd.DataFrame
    features: pd.DataFrame
    same: npt.NDArray[np.bool_]
    known: npt.NDArray[np.bool_]
    individual0: npt.NDArray[np.str_]
    individual1: npt.NDArray[np.str_]

    @classmethod
    def of(cls, raw: pd.DataFrame) -> Table:
        """Make the features of a protocol's table."""
        raw = raw.sort_values(["query_id", "candidate_id"], kind="stable").reset_index(drop=True)
        known = (raw["individual0"].notna() & raw["individual1"].notna()).to_numpy()
        names = [raw[c].astype(object).where(raw[c].notna(), "").to_numpy(np.str_) for c in _SIDES]
        return cls(raw, build(raw), known & (names[0] == names[1]), known, names[0], names[1])


_SIDES = ("individual0", "individual1")


@dataclass(frozen=True, eq=False)
class Questions:
    """The protocols' tables and the folds that all recipes share.

    Attributes:
        tables: protocol -> rows.
        fold_of: individual -> fold.
        folds: number of folds.
    """

    tables: dict[str, Table]
    fold_of: dict[str, int]
    folds: int


def prepare(raw: pd.DataFrame, folds: int = 5, seed: int = 0) -> Questions:
    """Cut a labelled raw pair table into protocols and individuals into folds.

    Raises:
        CatalogError: fewer than four individuals have a match in a list.
    """
    tables = protocol_tables(raw)
    date0, date1 = (pd.to_datetime(raw[name]) for name in ("date0", "date1"))
    other_day = raw[date0.notna() & date1.notna() & (date0 != date1)]
    # How many matches all the catalogue holds on other days is not known here: those in the lists count.
    tables["other_day"] = other_day.drop(columns=[c for c in raw.columns if str(c).startswith("n_true")])
    made = {name: Table.of(tables[name]) for name in PROTOCOLS if name in tables and len(tables[name])}
    base = made["all"]
    teachers = np.unique(base.individual0[base.same])
    if len(teachers) < 4:
        raise CatalogError(f"{len(teachers)} individuals have a match in a list; folds need at least 4")
    count = min(folds, len(teachers) // 2)
    names = np.concatenate([base.individual0[base.known], base.individual1[base.known]])
    load = np.concatenate([base.same[base.known].astype(float), np.zeros(int(base.known.sum()))])
    return Questions(made, assign_folds(names, load, count, seed), count)


def out_of_fold(
    questions: Questions,
    settings: RankerSettings,
    hidden: Collection[str] = (),
    training: TrainingSettings | None = None,
    rescoring: bool = True,
) -> dict[str, Values]:
    """Return protocol -> (rows,) scores by rankers fitted without the individual that is asked (NaN if it is unknown).

    Args:
        questions: from :func:`prepare`.
        settings: the models' options; kind "lambdamart" or "logistic".
        hidden: features that the recipe may not see.
        training: weights of rows and share of the individuals that early stopping watches.
        rescoring: raise scores by the other candidates of their lists.

    Raises:
        CatalogError: a fold leaves nothing to train on.
    """
    training = training or TrainingSettings()
    base = questions.tables["all"]
    weights = np.ones(len(base.raw))
    weights[same_encounter(base.raw)] = training.same_encounter_weight
    blind = dict.fromkeys(hidden, np.float32(np.nan))
    features = base.features.assign(**blind)
    queries = base.raw["query_id"].to_numpy(np.str_)
    rows = LabelledRows(features, base.same, queries, base.individual0, weights)
    scores = {name: np.full(len(table.raw), np.nan) for name, table in questions.tables.items()}
    for fold in range(questions.folds):
        held_out = {name for name, number in questions.fold_of.items() if number == fold}
        mask, _ = split_masks(base.individual0, base.individual1, held_out)
        train = rows.take(mask & base.known)
        try:
            ranker = _fit(train, rows, mask & base.known, base, settings, training)
        except RankerError as error:
            raise CatalogError(
                f"fold {fold + 1} of {questions.folds} leaves too little to train on ({error}): "
                "measure more individuals or queries"
            ) from None
        for name, table in questions.tables.items():
            _, asked = split_masks(table.individual0, table.individual1, held_out)
            if asked.any():
                check_disjoint(train.individuals, table.individual0[asked])
                scores[name][asked] = ranker.predict(table.features.loc[asked].assign(**blind))
    return fit_and_rescore(questions.tables, scores)[1] if rescoring else scores


def _fit(
    train: LabelledRows,
    rows: LabelledRows,
    mask: npt.NDArray[np.bool_],
    base: Table,
    settings: RankerSettings,
    training: TrainingSettings,
) -> Ranker:
    """Fit on all training rows, with as many trees as held-out individuals among them found useful."""
    if settings.kind == "lambdamart" and settings.patience > 0:
        names = np.unique(base.individual0[mask & base.same])
        count = max(1, round(training.valid_share * len(names)))
        chosen = set(np.random.default_rng(training.seed).permutation(names)[:count].tolist())
        inside, outside = split_masks(base.individual0, base.individual1, chosen)
        first = _plain_fit(rows.take(mask & inside), settings, rows.take(mask & outside))
        scorer = first.members[0].scorer
        assert isinstance(scorer, TreeScorer)
        settings = settings.replace(n_trees=max(1, scorer.n_trees), patience=0)
    return _plain_fit(train, settings, None)


def _plain_fit(rows: LabelledRows, settings: RankerSettings, valid: LabelledRows | None) -> Ranker:
    return Ranker.fit(rows.features, rows.labels, rows.queries, rows.individuals, settings, valid, rows.weights, False)


def per_query(table: Table, scores: Values, top: int = 20, by_cosine: bool = True) -> pd.DataFrame:
    """Return what every query that can be answered earns: query_id, individual, ap, top1.

    Matches are counted in the whole catalogue where the table knows their number, in the list otherwise.

    Args:
        table: one protocol's rows.
        scores: (rows,) larger is better.
        top: places that count.
        by_cosine: break ties by the cosine; False for a recipe that must not know it (then by identifier alone).
    """
    raw = table.raw
    ties = raw["cosine"] if by_cosine else np.zeros(len(raw))
    order = rank_order(raw["query_id"], scores, ties, raw["candidate_id"])
    order = order[table.known[order] & ~np.isnan(scores[order])]
    ranked = pd.DataFrame({"query_id": raw["query_id"].to_numpy()[order], "same": table.same[order]})
    ranked["individual"] = table.individual0[order]
    ranked["n_true"] = raw["n_true"].to_numpy(float)[order] if "n_true" in raw else np.nan
    records = []
    for query, rows in ranked.groupby("query_id", sort=True):
        hits = rows["same"].to_numpy(bool)
        total = float(rows["n_true"].iloc[0]) if "n_true" in raw else float(hits.sum())
        if total > 0:
            record = {"query_id": str(query), "individual": rows["individual"].iloc[0]}
            records.append({**record, "ap": average_precision(hits, total, top), "top1": bool(hits[0])})
    return pd.DataFrame(records, columns=["query_id", "individual", "ap", "top1"])
