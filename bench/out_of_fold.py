"""Answers from rankers that never saw the whale that is asked, and the command line's options that go with them.

The shipped ranker was fitted on photographs of the very half of the whales that everything is measured on. So the
measurements fit its recipe anew, once for each fold of individuals: fold k's queries are ranked by a ranker that was
trained and calibrated with nothing of fold k's individuals, neither as query nor as candidate. Its training pairs are
those of :mod:`bench.accuracy`, so that pairs which the store knows are not matched again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.accuracy import gather, tasks_of
from bench.held_out import HELD_OUT, HELP, INDIVIDUALS, SOURCE, settings_for
from bench.progress import Say
from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher, shipped_ranker
from engine.training.ranker_training import train_on_pairs
from features.store import default_store
from reranker.protocols import assign_folds
from reranker.ranker import RankerError
from reranker.training import TrainingError, TrainingSettings

if TYPE_CHECKING:
    from reranker.ranker import Ranker

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

    def folds_of(self, individuals: Sequence[str | None]) -> np.ndarray:
        """Return the (N,) int fold that ranks each individual."""
        return np.array([self.fold_of.get(str(name), 0) for name in individuals], int)

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

    def answers(
        self, queries: CatalogIndex, database: CatalogIndex, candidates: CandidateFilter | None = None, top: int = 20
    ) -> pd.DataFrame:
        """Return ranked photographs of labelled queries, as :meth:`Matcher.match` does."""
        return self.rank(self.matcher.pairs(queries, database, candidates), top)


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


def rankers_for(
    choice: str, catalog: Catalog, matcher: Matcher, queries: int, folds: int, seed: int, say: Say
) -> OutOfFold:
    """Return the rankers that ``--ranker`` asks for.

    Args:
        choice: "out-of-fold", "shipped", "fusion" or a ranker's file.
        catalog: the photographs measured on; out-of-fold rankers are trained on questions among them.
        queries: training questions, as bench.accuracy's ``--queries``.
    """
    if choice != OUT_OF_FOLD:
        # Named, because the weights in use may be the twins of those that it was trained for.
        shipped = shipped_ranker(matcher.settings.describe.keypoints.kind)
        return OutOfFold(matcher, (shipped if choice == SHIPPED else choice,))
    index = matcher.index(catalog)
    raw, seconds = gather(tasks_of(index.catalog, queries, seed), index, matcher, say)
    say(f"{len(raw):,} pairs to train on in {seconds:.0f} s; fitting {folds} rankers")
    return fit_out_of_fold(raw.drop(columns=["task"]), matcher, folds, seed)


def add_options(parser: argparse.ArgumentParser, ranker: bool = True) -> None:
    """Add the options that every measurement of rankings takes; ``ranker``: those that choose the ranker too."""
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="labelled catalogue")
    parser.add_argument("--store", type=Path, help="store's folder (default: your cache folder)")
    parser.add_argument(
        "--individuals",
        choices=INDIVIDUALS,
        default=HELD_OUT,
        help=HELP,
    )
    if ranker:
        parser.add_argument(
            "--ranker",
            default=OUT_OF_FOLD,
            help='"out-of-fold" (default: the recipe fitted without the whales asked), "shipped", "fusion", or a file',
        )
        parser.add_argument(
            "--training-queries", type=int, default=160, help="questions that out-of-fold rankers are trained on (160)"
        )
    parser.add_argument("--folds", type=int, default=5, help="folds of individuals (5)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--seed", type=int, default=0, help="of every choice made at random (0)")
    parser.add_argument("--result", metavar="NAME", help="write bench/results/NAME.json")


def store_from(options: argparse.Namespace) -> Path:
    """Return the store's folder: the one named, or the catalogue's own."""
    return Path(options.store) if options.store is not None else default_store(Catalog.read(options.catalog).root)


def matcher_from(options: argparse.Namespace) -> Matcher:
    """Return the matcher that the options ask for."""
    settings = settings_for(options.individuals, options.overrides)
    return Matcher(settings, store_from(options), ranker="fusion", workers=options.workers)


def protocol_from(options: argparse.Namespace) -> dict[str, Any]:
    """Return how it was measured, for the result."""
    names = ["individuals", "seed"]
    if "ranker" in options:
        names.append("ranker")
    if getattr(options, "ranker", OUT_OF_FOLD) == OUT_OF_FOLD:
        names.append("folds")
        names += ["training_queries"] if "training_queries" in options else []
    catalog = Path(options.catalog).resolve().name
    source = SOURCE if options.individuals == HELD_OUT else f"all labelled photographs of {catalog!r}"
    return {"source": source, "catalogue": catalog, **{name: getattr(options, name) for name in names}}
