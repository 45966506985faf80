"""The figures of a report card: from answers to queries whose individual is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.models.card import MethodFigures, WorstAnswer
from engine.search.individuals import new_individual_probability, rank_individuals
from reranker.cross_fitting import cross_fitted_probabilities
from reranker.training import TrainedRanker
from scarmatch.metrics import auc, average_precision, bootstrap_by_group, expected_calibration_error, reliability_curve

_TOP = 20
_BINS = 10

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """Ranked answers of one method to the same queries as the others.

    Attributes:
        table: query_id, image_id, individual_id, probability, same; best first within a query.
        truth: query_id -> individual.
        matches: query_id -> matches in the whole catalogue.
    """

    table: pd.DataFrame
    truth: pd.Series
    matches: pd.Series

    @classmethod
    def of(cls, table: pd.DataFrame, truth: pd.Series, matches: pd.Series) -> Answers:
        """Return answers of queries that have a match; rows without an individual stay in their lists.

        Args:
            table: query_id, image_id, individual_id, probability.
            truth: query_id -> individual.
            matches: query_id -> matches in the whole catalogue.
        """
        asked = matches.index[matches > 0]
        rows = table[table["query_id"].isin(asked)]
        rows = rows.assign(same=rows["individual_id"] == rows["query_id"].map(truth))
        rows = rows.sort_values(["query_id", "probability", "image_id"], ascending=[True, False, True], kind="stable")
        return cls(rows.reset_index(drop=True), truth.loc[asked], matches.loc[asked])

    @classmethod
    def of_pairs(cls, table: pd.DataFrame, raw: pd.DataFrame) -> Answers:
        """Return answers to the queries of a labelled pair table, which says who they show and what can be found.

        Args:
            table: as for :meth:`of`.
            raw: query_id, individual0 and n_true.
        """
        queries = raw.groupby("query_id")
        return cls.of(table, queries["individual0"].first(), queries["n_true"].first())

    def lists(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Return query_id -> which of its answers are right, best first; queries without any answer have none."""
        found = {str(name): rows["same"].to_numpy(bool) for name, rows in self.table.groupby("query_id", sort=False)}
        return {str(name): found.get(str(name), np.zeros(0, bool)) for name in self.truth.index}

    def average_precisions(self) -> Values:
        """Return AP@20 of every query, in the order of ``truth``."""
        counts = self.matches.to_numpy(float)
        return np.array(
            [average_precision(hits, total, _TOP) for hits, total in zip(self.lists().values(), counts, strict=True)]
        )


def out_of_fold_answers(trained: TrainedRanker, raw: pd.DataFrame, protocol: str = "all") -> pd.DataFrame:
    """Return a fitted ranker's answers to its own queries, each by models and a calibration that never saw it.

    Args:
        trained: what :func:`reranker.training.train_ranker` returned.
        raw: the table that it was fitted on.
        protocol: of those that the training judged.

    Returns:
        query_id, image_id, individual_id, probability.
    """
    kind = trained.ranker.kind
    everything = trained.scores["all"].dropna(subset=[kind]).reset_index(drop=True)
    frame = trained.scores[protocol].dropna(subset=[kind]).reset_index(drop=True)
    names = raw.drop_duplicates("candidate_id").set_index("candidate_id")["individual1"]
    probability = cross_fitted_probabilities(frame, everything, kind)
    table = pd.DataFrame(
        {
            "query_id": frame["query_id"],
            "image_id": frame["candidate_id"],
            "individual_id": frame["candidate_id"].map(names),
            # The order is that of the scores: a calibration may join several into one probability.
            "probability": _strictly_falling(frame["query_id"], frame[kind].to_numpy(float), probability),
        }
    )
    return table.dropna(subset=["probability"]).reset_index(drop=True)


def _strictly_falling(queries: pd.Series, scores: Values, probabilities: Values) -> Values:
    """Return probabilities that order a query's answers as their scores do, moved by a billionth at most."""
    order = np.argsort(scores, kind="stable")
    places = np.empty(len(scores))
    places[order] = pd.Series(np.ones(len(scores))).groupby(queries.to_numpy()[order]).cumsum().to_numpy()
    moved = probabilities * (1 - 1e-9) + 1e-9 * places / (len(scores) + 1)
    return np.asarray(np.clip(moved, 0.0, 1.0), np.float64)


def figures_of(answers: Answers) -> MethodFigures:
    """Measure answers."""
    lists, precision = list(answers.lists().values()), answers.average_precisions()
    interval = bootstrap_by_group(precision, answers.truth.to_numpy(object))
    individuals = rank_individuals(answers.table)
    place = _true_places(individuals, answers.truth)
    first = answers.table.groupby("query_id", sort=False).head(_TOP)
    return MethodFigures(
        queries=len(lists),
        individuals=int(answers.truth.nunique()),
        map20=(interval.mean, interval.low, interval.high),
        top1=float(np.mean([hits[:1].any() for hits in lists])),
        top5=float(np.mean([hits[:5].any() for hits in lists])),
        individual_top1=float((place == 1).mean()),
        individual_top5=float(((place >= 1) & (place <= 5)).mean()),
        new_auroc=_new_auroc(answers),
        calibration_error=expected_calibration_error(first["probability"], first["same"]),
    )


def reliability_of(answers: Answers) -> tuple[tuple[float, float, int], ...]:
    """Return (mean probability, observed share, answers) of bins of the first 20 answers' probabilities."""
    first = answers.table.groupby("query_id", sort=False).head(_TOP)
    curve = reliability_curve(first["probability"], first["same"], _BINS)
    rows = zip(curve.predicted, curve.observed, curve.counts, strict=True)
    return tuple((float(p), float(o), int(n)) for p, o, n in rows if n)


def worst_answers(answers: Answers, count: int) -> tuple[WorstAnswer, ...]:
    """Return the queries whose first answer is wrong, the surest of them first."""
    found = []
    for query, rows in answers.table.groupby("query_id", sort=False):
        first = rows.iloc[0]
        if first["same"]:
            continue
        right = np.flatnonzero(rows["same"].to_numpy(bool))
        found.append(
            WorstAnswer(
                str(query),
                str(answers.truth.loc[query]),
                str(first["image_id"]),
                str(first["individual_id"]) if pd.notna(first["individual_id"]) else "",
                float(first["probability"]),
                str(rows["image_id"].iloc[right[0]]) if len(right) else "",
                int(right[0]) + 1 if len(right) else 0,
            )
        )
    found.sort(key=lambda one: (-one.probability, one.query_id))
    return tuple(found[:count])


def _true_places(individuals: pd.DataFrame, truth: pd.Series) -> npt.NDArray[np.int64]:
    """Return the rank of every query's individual, 0 where it is not listed."""
    right = individuals[individuals["individual_id"] == individuals["query_id"].map(truth)]
    return right.set_index("query_id")["rank"].reindex(truth.index).fillna(0).to_numpy(np.int64)


def _new_auroc(answers: Answers) -> float:
    """Return how well the probability of a new individual tells queries from the same without their matches."""
    names: list[Any] = list(answers.truth.index)
    known = new_individual_probability(answers.table, names)
    new = new_individual_probability(answers.table[~answers.table["same"]], names)
    scores = np.concatenate([known.to_numpy(float), new.to_numpy(float)])
    return auc(scores, np.repeat([False, True], len(names)))
