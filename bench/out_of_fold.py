"""Rankers that never saw the whale that is asked.

The shipped ranker was fitted on photographs of the very half of the whales that everything is measured on. So the
measurements fit its recipe anew, once for each fold of individuals: fold k's queries are ranked by a ranker that was
trained and calibrated with nothing of fold k's individuals, neither as query nor as candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.protocols import Rule, filter_of
from engine.catalogue.catalog import CatalogError
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher
from engine.training.ranker_training import train_on_pairs
from reranker.protocols import assign_folds
from reranker.ranker import Ranker, RankerError
from reranker.training_settings import TrainingError, TrainingSettings

if TYPE_CHECKING:
    from reranker.individual_model import IndividualModel

OUT_OF_FOLD = "out-of-fold"
SHIPPED = "shipped"


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """One ranker for each fold of individuals.

    Attributes:
        matcher: gathers the evidence (its own ranker is not asked).
        rankers: one for each fold, in the form that :class:`Matcher` takes; a single one ranks everybody.
        fold_of: individual -> fold. Whoever is in none was seen by no ranker, and is ranked by the first.
    """

    matcher: Matcher
    rankers: tuple[Ranker | str | Path | None, ...]
    fold_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def individual_model(self) -> IndividualModel | None:
        """What the first fold's ranker learned of an individual's photographs together: for all folds."""
        first = self.rankers[0]
        ranker = first if isinstance(first, Ranker) else Matcher(self.matcher.settings, ranker=first).ranker
        return ranker.individuals if ranker is not None else None

    def folds_of(self, individuals: Sequence[str | None]) -> npt.NDArray[np.int64]:
        """Return the (N,) fold that ranks each individual."""
        return np.array([self.fold_of.get(str(name), 0) for name in individuals], np.int64)

    def rank(self, raw: pd.DataFrame, top: int = 20) -> pd.DataFrame:
        """Turn a raw pair table into answers, as :meth:`Matcher.rank` does, each query by its own fold's ranker."""
        folds, m = self.folds_of(raw["individual0"].tolist()), self.matcher
        parts = [
            Matcher(m.settings, ranker=ranker, workers=1, device=m.device).rank(raw[folds == fold], top)
            for fold, ranker in enumerate(self.rankers)
            if (folds == fold).any()
        ]
        if not parts:
            return self.matcher.rank(raw, top)
        asked = {query: position for position, query in enumerate(raw["query_id"].unique())}
        answers = pd.concat(parts, ignore_index=True)
        return answers.sort_values("query_id", key=lambda ids: ids.map(asked), kind="stable").reset_index(drop=True)

    def answers(self, queries: CatalogIndex, database: CatalogIndex, rule: Rule = "all", top: int = 20) -> pd.DataFrame:
        """Return ranked photographs of labelled queries, as :meth:`Matcher.match` does."""
        return self.rank(self.matcher.pairs(queries, database, filter_of(rule), neighbours=True), top)


def fit_out_of_fold(raw: pd.DataFrame, matcher: Matcher, folds: int = 5, seed: int = 0) -> OutOfFold:
    """Fit the ranker's recipe once for each fold of individuals, without them.

    Lists stay whole, because a candidate's features depend on its list: a held-out candidate keeps its row but loses
    its name, and rows without a name teach nothing.

    Args:
        raw: labelled raw pair table (:func:`engine.training.ranker_training.labelled_pairs`).
        matcher: says which keypoints and descriptor the table came from.
        folds: number of folds of individuals.
        seed: of the folds and of the training.

    Raises:
        CatalogError: the catalogue has too few individuals with matches.
    """
    names = np.concatenate([raw["individual0"].astype(str), raw["individual1"].astype(str)])
    same = (raw["individual0"] == raw["individual1"]).to_numpy()
    fold_of = assign_folds(names, np.concatenate([same.astype(float), np.zeros(len(raw))]), folds, seed)
    rankers: list[Ranker | str | Path | None] = []
    for fold in range(folds):
        held_out = [name for name, number in fold_of.items() if number == fold]
        rows = raw[~raw["individual0"].isin(held_out)]
        rows = rows.assign(individual1=rows["individual1"].where(~rows["individual1"].isin(held_out), None))
        try:
            rankers.append(train_on_pairs(rows, matcher, TrainingSettings(seed=seed)).ranker)
        except (TrainingError, RankerError) as error:
            raise CatalogError(
                f"fold {fold + 1} of {folds} leaves too little to train a ranker on ({error}): "
                "measure more individuals, or use --ranker fusion"
            ) from None
    return OutOfFold(matcher, tuple(rankers), fold_of)
