"""The figures of a report card: from answers to queries whose individual is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.models.card import MethodFigures, WorstAnswer
from engine.search.individuals import new_individual_probability, rank_encounters, rank_individuals
from reranker.cross_fitting import cross_fitted_calibrations, cross_fitted_probabilities
from reranker.individual_model import IndividualModel, fit_on_lists
from reranker.list_calibration import ListCalibration
from reranker.protocols import protocol_tables
from reranker.training import TrainedRanker
from scarmatch.metrics import auc, average_precision, bootstrap_by_group, expected_calibration_error, reliability_curve

_TOP = 20
_BINS = 10

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """Ranked answers of one method to the same queries as the others.

    Attributes:
        table: query_id, image_id, individual_id, probability, same, fold, and encounter_id where known; best first
            within a query.
        truth: query_id -> individual.
        matches: query_id -> matches in the whole catalogue.
        models: fold -> what its ranker has learned of an individual's photographs together; the rule serves the others.
    """

    table: pd.DataFrame
    truth: pd.Series
    matches: pd.Series
    models: Mapping[int, IndividualModel | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        truth: pd.Series,
        matches: pd.Series,
        models: Mapping[int, IndividualModel | None] | IndividualModel | None = None,
    ) -> Answers:
        """Return answers of queries that have a match; rows without an individual stay in their lists.

        Args:
            table: query_id, image_id, individual_id, probability; encounter_id and the query's fold where known.
            truth: query_id -> individual.
            matches: query_id -> matches in the whole catalogue.
            models: of individuals, by fold, or one for everybody.
        """
        asked = matches.index[matches > 0]
        rows = table[table["query_id"].isin(asked)]
        rows = rows.assign(same=rows["individual_id"] == rows["query_id"].map(truth), fold=rows.get("fold", 0))
        rows = rows.sort_values(["query_id", "probability", "image_id"], ascending=[True, False, True], kind="stable")
        by_fold = models if isinstance(models, Mapping) else {0: models}
        return cls(rows.reset_index(drop=True), truth.loc[asked], matches.loc[asked], by_fold)

    @classmethod
    def of_pairs(
        cls,
        table: pd.DataFrame,
        raw: pd.DataFrame,
        models: Mapping[int, IndividualModel | None] | IndividualModel | None = None,
    ) -> Answers:
        """Return answers to the queries of a labelled pair table, which says who they show and what can be found.

        Args:
            table, models: as for :meth:`of`.
            raw: query_id, individual0 and n_true.
        """
        queries = raw.groupby("query_id")
        return cls.of(table, queries["individual0"].first(), queries["n_true"].first(), models)

    def individuals(self, table: pd.DataFrame, questions: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
        """Return the individuals that rows of the table rank, each question's by its fold's model.

        Args:
            table: rows of :attr:`table`.
            questions: query_id -> question, where several queries are one; the others are questions of their own.
        """
        parts = []
        for fold in sorted(table["fold"].unique().tolist()):
            rows = table[table["fold"] == fold]
            asked = {query: questions[query] for query in rows["query_id"].unique() if query in questions}
            parts.append(rank_encounters(rows, asked, model=self.models.get(fold)))
        return pd.concat(parts, ignore_index=True) if parts else rank_individuals(table)

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


def out_of_fold_answers(
    trained: TrainedRanker,
    raw: pd.DataFrame,
    protocol: str,
    asked: pd.DataFrame,
    further: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> Answers:
    """Return a fitted ranker's answers to its own queries, each by models and a calibration that never saw it.

    So is what the individuals' photographs say together: the model of a fold learns from the queries of the others.

    Args:
        trained: what :func:`reranker.training.train_ranker` returned.
        raw: the table that it was fitted on.
        protocol: of those that the training judged.
        asked: the queries that are measured, as for :meth:`Answers.of_pairs`.
        further: what the training judged beside it, with its rows; it teaches nothing.
    """
    curves = cross_fitted_calibrations(trained.scores, trained.ranker.kind)
    judged = {**protocol_tables(raw), **further}
    lists: dict[str, pd.DataFrame] = {
        name: _out_of_fold_list(trained, curves, judged[name], name)
        for name in dict.fromkeys(("all", "other_encounter", protocol))
        if name in trained.scores
    }
    names = {"candidate_id": "image_id", "individual1": "individual_id", "encounter1": "encounter_id"}
    models = {
        int(fold): fit_on_lists([table[table["fold"] != fold] for name, table in lists.items() if name not in further])
        for fold in lists[protocol]["fold"].unique()
    }
    return Answers.of_pairs(lists[protocol].rename(columns=names), asked, models)


def _out_of_fold_list(
    trained: TrainedRanker, curves: Mapping[int, ListCalibration], judged: pd.DataFrame, protocol: str
) -> pd.DataFrame:
    """Return query_id, candidate_id, both individuals, encounters where known, fold and probability of all answers."""
    kind = trained.ranker.kind
    frame = trained.scores[protocol].dropna(subset=[kind]).reset_index(drop=True)
    probability = cross_fitted_probabilities(frame, curves, kind)
    known = [name for name in ("individual1", "encounter0", "encounter1") if name in judged]
    table = frame[["query_id", "candidate_id", "individual0", "fold"]].merge(
        judged[["query_id", "candidate_id", *known]], how="left", validate="one_to_one"
    )
    # The order is that of the scores: a calibration may join several into one probability.
    table = table.assign(probability=_strictly_falling(frame["query_id"], frame[kind].to_numpy(float), probability))
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
    individuals = answers.individuals(answers.table)
    place = true_places(individuals, answers.truth)
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


def true_places(individuals: pd.DataFrame, truth: pd.Series) -> npt.NDArray[np.int64]:
    """Return the rank of every query's individual, 0 where it is not listed."""
    right = individuals[individuals["individual_id"] == individuals["query_id"].map(truth)]
    return right.set_index("query_id")["rank"].reindex(truth.index).fillna(0).to_numpy(np.int64)


def _new_auroc(answers: Answers) -> float:
    """Return how well the probability of a new individual tells queries from the same without their matches."""
    names: list[Any] = list(answers.truth.index)
    wrong = answers.table[~answers.table["same"]]
    known = new_individual_probability(answers.table, names, answers.individuals(answers.table))
    new = new_individual_probability(wrong, names, answers.individuals(wrong))
    scores = np.concatenate([known.to_numpy(float), new.to_numpy(float)])
    return auc(scores, np.repeat([False, True], len(names)))
