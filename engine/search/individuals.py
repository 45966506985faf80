"""From ranked photographs to ranked individuals, and to the answer "not in the catalogue".

**A learned model** of what an individual's photographs say together (:mod:`reranker.individual_model`) is part of a
trained ranker, and gives individuals and "none of them" calibrated probabilities. Where there is none, a rule serves:

**Several photographs, one individual.** Photographs of one individual are not independent witnesses: two of them taken
in the same second repeat one piece of evidence. So the k-th best photograph counts half as much as the one before:
``P = 1 - prod_k (1 - p_k) ** (1 / 2 ** k)`` with p falling and k = 0, 1, 2, ... One photograph gives its own
probability, more can only add, and at most as much as one further photograph of the same weight.

**At most one individual is right.** Each P weighs "it is this one" against "it is none" by its odds ``P / (1 - P)``;
the hypotheses exclude each other, so Bayes' rule gives ``o_i / (1 + sum o)`` to each individual and ``1 / (1 + sum o)``
to **not in the catalogue**. An individual alone keeps its own P; doubtful ones cannot talk a sure one down.

**"New individual" is a place in the list.** :func:`place_new_individual` puts it where its probability puts it, after
weighing it by what is known beforehand about how many animals are new. The rule of the second Happywhale baseline
(distance of the nearest neighbour above 0.62) is part of :func:`knn_head`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.models.decision import Decision
from features.records import BoolArray
from reranker.individual_model import IndividualModel, features_of
from scarmatch.settings import Settings, SettingsError

NEW_INDIVIDUAL = "new_individual"
COLUMNS = ("query_id", "rank", "individual_id", "probability", "n_photographs", "photographs", "best_image_id")
REQUIRED = ("query_id", "image_id", "individual_id", "probability")


@dataclass(frozen=True)
class IdentifySettings(Settings):
    """Options of :func:`place_new_individual`.

    Attributes:
        top: number of answers returned a query, "new individual" among them.
        new_odds: odds given beforehand to "not in the catalogue" beside one individual: 1 takes the probabilities as
            they are, more expects more new animals (`python -m bench new_individual` searches it on folds of whales).
    """

    top: int = 5
    new_odds: float = 1.0

    def __post_init__(self) -> None:
        if self.top < 1 or not 0 < self.new_odds < float("inf"):
            raise SettingsError(f"top={self.top} must be at least 1 and new_odds={self.new_odds} positive")


@dataclass(frozen=True)
class KnnSettings(Settings):
    """Options of :func:`knn_head`, with the values of the published baseline.

    Attributes:
        neighbours: number of nearest catalogue photographs that vote.
        max_distance: cosine distance of the nearest photograph beyond which the answer is "new individual".
        min_confidence: the same bound from the other side: 1 - distance must reach it.
        top: number of individuals returned a query.
    """

    neighbours: int = Decision.neighbours
    max_distance: float = Decision.max_distance
    min_confidence: float = Decision.min_confidence
    top: int = 5

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.top < 1:
            raise SettingsError("neighbours and top must be at least 1")


def rank_individuals(
    answers: pd.DataFrame, top: int | None = None, model: IndividualModel | None = None
) -> pd.DataFrame:
    """Rank individuals by the photographs that support them.

    Args:
        answers: ranked photographs, as the matcher answers: query_id, image_id, individual_id, probability (others
            are ignored). Photographs of an unknown individual support nobody and are left out.
        top: number of individuals a query; all if None.
        model: of a trained ranker (:attr:`engine.search.matcher.Matcher.individual_model`); None takes the rule, which
            needs no training.

    Returns:
        Columns query_id, rank (from 1), individual_id, probability, n_photographs, photographs (list of image ids, best
        first), best_image_id; queries in the order of their first appearance. A query without a candidate has no row.

    Raises:
        ValueError: a column is missing or a probability lies outside [0, 1].
    """
    return _rank(answers, answers["query_id"] if "query_id" in answers else pd.Series(dtype=object), top, model)


def rank_encounters(
    answers: pd.DataFrame,
    questions: Mapping[str, str],
    top: int | None = None,
    model: IndividualModel | None = None,
) -> pd.DataFrame:
    """Ask with all photographs of an encounter as one question.

    A catalogue photograph that several queries found counts once, with the best of its probabilities; the photographs
    of the question itself are never answers to it.

    Args:
        answers: as for :func:`rank_individuals`.
        questions: query_id -> name of its question; a query that is not named is a question of its own.
        top, model: as for :func:`rank_individuals`.

    Returns:
        As :func:`rank_individuals`, with the question's name as query_id.
    """
    _check(answers)
    name = answers["query_id"].map(lambda query: questions.get(query, query))
    own_photographs = {(questions.get(query, query), query) for query in {*answers["query_id"], *questions}}
    itself = [(question, image) in own_photographs for question, image in zip(name, answers["image_id"], strict=True)]
    kept = answers.loc[~np.asarray(itself, dtype=bool)].assign(question=name)
    return _rank(kept, kept["question"], top, model, dict(Counter(questions.values())))


def new_individual_probability(
    answers: pd.DataFrame,
    queries: Sequence[str] | None = None,
    individuals: pd.DataFrame | None = None,
    model: IndividualModel | None = None,
) -> pd.Series:
    """Return the probability that a query's animal is not in the catalogue: what the individuals leave of 1.

    Args:
        answers: ranked photographs.
        queries: all queries asked; one without any candidate gets 1. The queries of ``answers`` if None.
        individuals: :func:`rank_individuals` of the same answers, all of them (no ``top``), where the caller has it.
        model: as for :func:`rank_individuals`, where the caller has not.

    Returns:
        Series over query_id, named "new_individual".
    """
    ranked = rank_individuals(answers, model=model) if individuals is None else individuals
    explained = ranked.groupby("query_id", sort=False)["probability"].sum()
    names = list(dict.fromkeys(answers["query_id"] if queries is None else queries))
    left = (1.0 - explained.reindex(names).astype(float).fillna(0.0)).clip(lower=0.0)
    return left.rename(NEW_INDIVIDUAL).rename_axis("query_id")


def place_new_individual(
    individuals: pd.DataFrame, new: Mapping[str, float] | pd.Series, settings: IdentifySettings | None = None
) -> pd.DataFrame:
    """Put ``new_individual`` at its place among the individuals of every query, by probability.

    With the odds w given beforehand, an individual's probability p and the new animal's n become ``p / (w n + sum p)``
    and ``w n / (w n + sum p)``: the order among individuals never changes.

    Args:
        individuals: :func:`rank_individuals` or :func:`rank_encounters`, all of them (no ``top``).
        new: query_id -> :func:`new_individual_probability`; every query asked, those without any candidate too.

    Returns:
        The columns of ``individuals``, queries in the order of ``new``; in the rows of ``new_individual`` there are no
        photographs. Equal probabilities: the individual comes first.
    """
    settings = settings or IdentifySettings()
    lists: dict[object, pd.DataFrame] = dict(iter(individuals.groupby("query_id", sort=False)))
    records: list[dict[str, object]] = []
    for query, left in new.items():
        rows = lists[query].to_dict("records") if query in lists else []
        weight = settings.new_odds * max(float(left), 1e-12)
        total = weight + sum(row["probability"] for row in rows)
        ordered: list[dict[object, object]] = [{**row, "probability": row["probability"] / total} for row in rows]
        place = sum(row["probability"] >= weight for row in rows)
        nothing: dict[object, object] = {"n_photographs": 0, "photographs": [], "best_image_id": None}
        ordered.insert(place, {"individual_id": NEW_INDIVIDUAL, "probability": weight / total, **nothing})
        for rank, row in enumerate(ordered[: settings.top], start=1):
            records.append({**{str(key): value for key, value in row.items()}, "query_id": query, "rank": rank})
    return pd.DataFrame(records, columns=list(COLUMNS))


def average_in(
    individuals: pd.DataFrame,
    new: Mapping[str, float] | pd.Series,
    classified: Mapping[str, Mapping[str, float]],
    weight: float = 0.5,
) -> pd.DataFrame:
    """Average what a trained head says (:mod:`features.global_descriptor.classifier`) into the individuals'
    probabilities.

    The head knows no "not in the catalogue", so it shares what the engine leaves to the individuals:
    ``(1 - w) p + w (1 - new) q`` for each individual of the head's probability q.

    Args:
        individuals: :func:`rank_individuals` or :func:`rank_encounters`, all of them (no ``top``).
        new: query_id -> :func:`new_individual_probability`.
        classified: query_id -> individual -> probability, summing to 1 at most; a query without one stays as it is.
        weight: of the head, 0 to 1.

    Returns:
        The columns of ``individuals``; one that the head alone names has no photographs.
    """
    if not 0 <= weight <= 1:
        raise SettingsError(f"the weight of a trained head is {weight}: it must lie between 0 and 1")
    lists: dict[object, pd.DataFrame] = dict(iter(individuals.groupby("query_id", sort=False)))
    records: list[dict[str, object]] = []
    for query in dict.fromkeys([*lists, *classified]):
        rows = {row["individual_id"]: row for row in lists[query].to_dict("records")} if query in lists else {}
        shares = classified.get(str(query), {})
        share = weight if shares else 0.0
        left = 1.0 - float(new.get(str(query), 1.0))
        ranked = []
        for name in dict.fromkeys([*rows, *shares]):
            row = rows.get(name, {"individual_id": name, "probability": 0.0, "n_photographs": 0, "photographs": []})
            both = (1.0 - share) * row["probability"] + share * left * shares.get(name, 0.0)
            ranked.append({"best_image_id": None, **row, "query_id": query, "probability": both})
        ranked.sort(key=lambda row: (-row["probability"], row["individual_id"]))
        records += [{**row, "rank": rank} for rank, row in enumerate(ranked, start=1)]
    return pd.DataFrame(records, columns=list(COLUMNS))


def combine(probabilities: npt.ArrayLike) -> float:
    """Combine the probabilities of one individual's photographs: ``1 - prod (1 - p_k) ** (1 / 2 ** k)``, p falling."""
    p = np.sort(np.asarray(probabilities, dtype=np.float64))[::-1]
    with np.errstate(divide="ignore"):
        # expm1/log1p keep the order of very small probabilities.
        return float(-np.expm1(np.sum(np.log1p(-p) * 0.5 ** np.arange(len(p)))))


def exclusive(probabilities: Sequence[float]) -> list[float]:
    """Return ``o_i / (1 + sum o)`` with the odds ``o = p / (1 - p)``: each hypothesis' share if at most one is true."""
    # A certain probability has endless odds; the cap keeps two of them from dividing by nothing.
    p = np.minimum(np.asarray(probabilities, dtype=np.float64), 1.0 - 1e-12)
    odds = p / (1.0 - p)
    shares: list[float] = (odds / (1.0 + odds.sum())).tolist()
    return shares


def knn_head(
    query_ids: Sequence[str],
    queries: npt.NDArray[np.floating],
    catalogue: npt.NDArray[np.floating],
    individuals: Sequence[str],
    settings: KnnSettings | None = None,
    allowed: Callable[[int], BoolArray] | None = None,
) -> pd.DataFrame:
    """Identify by majority among the nearest catalogue photographs, by cosine distance.

    Individuals are ordered by votes among the k nearest, then by the sum of their photographs' inverse distances, then
    by their nearest photograph, then by name. Where the nearest photograph lies farther than ``max_distance``, or its
    confidence 1 - distance is below ``min_confidence``, ``new_individual`` comes first.

    Args:
        queries: (q, D) L2-normalised vectors. catalogue: (n, D). individuals: (n,) names, aligned with ``catalogue``.
        allowed: gives, for a query's position, the (n,) mask of photographs that may vote; all of them if None.

    Returns:
        Columns query_id, rank, individual_id, votes, distance (of the individual's nearest photograph; of the nearest
        photograph of all for ``new_individual``, infinite where none may vote).

    Raises:
        ValueError: shapes do not fit.
    """
    settings = settings or KnnSettings()
    names = np.asarray(individuals, dtype=str)
    if len(query_ids) != len(queries) or len(names) != len(catalogue):
        raise ValueError(
            f"{len(query_ids)} query ids for {len(queries)} vectors,"
            f" {len(names)} individuals for {len(catalogue)} vectors"
        )
    records: list[dict[str, object]] = []
    for start in range(0, len(queries), 256):
        block = np.asarray(queries[start : start + 256], dtype=np.float32)
        distances = 1.0 - block @ np.asarray(catalogue, dtype=np.float32).T
        for i, row in enumerate(distances):
            mask = np.ones(len(names), bool) if allowed is None else allowed(start + i)
            answer = nearest_vote(row.astype(np.float64)[mask], names[mask], settings)
            for rank, (label, votes, distance) in enumerate(answer, start=1):
                entry = {"query_id": query_ids[start + i], "rank": rank, "individual_id": label}
                records.append({**entry, "votes": votes, "distance": distance})
    return pd.DataFrame(records, columns=["query_id", "rank", "individual_id", "votes", "distance"])


def nearest_vote(
    distances: npt.NDArray[np.float64], names: npt.NDArray[Any], settings: KnnSettings
) -> list[tuple[str, int, float]]:
    """Return (label, votes, nearest distance) of one query, best first, as :func:`knn_head` orders them.

    Args:
        distances: (n,) cosine distances of the photographs that may vote.
        names: (n,) whom they show.
        settings: of the vote.
    """
    # Float noise makes a vector's distance to itself slightly negative.
    distances = np.maximum(distances, 0.0)
    k = min(settings.neighbours, len(distances))
    within = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1]) if k else np.zeros(0, np.intp)
    nearest = within[np.lexsort((names[within], distances[within]))][:k]
    labels, codes = np.unique(names[nearest], return_inverse=True)
    votes = np.bincount(codes, minlength=len(labels))
    inverse = np.bincount(codes, weights=1.0 / np.maximum(distances[nearest], 1e-9), minlength=len(labels))
    closest = np.full(len(labels), np.inf)
    np.minimum.at(closest, codes, distances[nearest])
    order = np.lexsort((labels, closest, -inverse, -votes))
    answer = [(str(labels[i]), int(votes[i]), float(closest[i])) for i in order]
    first = float(distances[nearest[0]]) if len(nearest) else float("inf")
    if first > settings.max_distance or 1.0 - first < settings.min_confidence:
        answer.insert(0, (NEW_INDIVIDUAL, 0, first))
    return answer[: settings.top]


def _check(answers: pd.DataFrame) -> None:
    missing = [name for name in REQUIRED if name not in answers.columns]
    if missing:
        raise ValueError(f"the answers lack the column(s) {', '.join(missing)}")
    probability = answers["probability"]
    if len(answers) and not probability.between(0.0, 1.0).all():
        raise ValueError("the answers' probabilities must lie in [0, 1]")


def _rank(
    answers: pd.DataFrame,
    question: pd.Series,
    top: int | None,
    model: IndividualModel | None = None,
    photographs: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Rank the individuals of every question, by a model or by the rule.

    Args:
        photographs: question -> number of its query photographs, where some of them may have found nothing.
    """
    _check(answers)
    table = answers.assign(question=question).loc[answers["individual_id"].notna()]
    # One order whatever order the rows come in: best photograph first, then by name. A photograph that several queries
    # found counts once, at its best.
    table = table.sort_values(["probability", "image_id"], ascending=[False, True], kind="stable")
    table = table.drop_duplicates(["question", "image_id"])
    shares = {} if model is None else _modelled(answers, question, model, photographs)
    lists: dict[object, list[tuple[str, float, list[str]]]] = {query: [] for query in dict.fromkeys(question)}
    for (query, name), rows in table.groupby(["question", "individual_id"], sort=False):
        worth = combine(rows["probability"]) if model is None else shares.get((query, str(name)), 0.0)
        lists[query].append((str(name), worth, rows["image_id"].tolist()))
    records: list[dict[str, object]] = []
    for query, individuals in lists.items():
        individuals.sort(key=lambda one: (-one[1], one[0]))
        worths = [worth for _, worth, _ in individuals]
        probabilities = exclusive(worths) if model is None else worths
        ranked = zip(individuals[:top], probabilities[:top], strict=True)
        for rank, ((name, _, images), probability) in enumerate(ranked, start=1):
            entry = {"query_id": query, "rank": rank, "individual_id": name, "probability": probability}
            records.append({**entry, "n_photographs": len(images), "photographs": images, "best_image_id": images[0]})
    return pd.DataFrame(records, columns=list(COLUMNS))


def _modelled(
    answers: pd.DataFrame, question: pd.Series, model: IndividualModel, photographs: Mapping[str, int] | None
) -> dict[tuple[object, str], float]:
    """Return (question, individual) -> probability; whoever is in none of the first places has none."""
    features = features_of(answers, question, photographs)
    keys = zip(features["question"], features["individual_id"].astype(str), strict=True)
    return dict(zip(keys, model.probabilities(features).tolist(), strict=True))
