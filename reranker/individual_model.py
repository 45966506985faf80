"""From ranked photographs to ranked individuals: a learned model of what an individual's photographs say together.

A photograph's probability says how likely it shows the query's individual; an individual is shown by several, of one
or more encounters, and a question may be asked with several photographs. A conditional logit (McFadden, 1974) over the
individuals of one question and the outcome "none of them" weighs what they say together:

    P(i) = exp(s_i) / (exp(s_new) + sum_j exp(s_j)),    s_i = w . f_i,    s_new = b . g,

with the features f of :data:`FEATURES`, and g = (1, ln of the number of query photographs). It is fitted on answers
that were ranked out of fold; nothing of a photograph but its probability, encounter and date is looked at, so it
serves every ranker whose probabilities are calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, log_odds
from scarmatch.errors import ScarmatchError

#: Feature -> meaning. Log-odds are of probabilities kept :data:`FLOOR` away from 0 and 1.
FEATURES: Mapping[str, str] = {
    "best": "log-odds of its best photograph",
    "second": "log-odds of its second best photograph; those of FLOOR where there is one only",
    "encounters": "log-odds that the best photograph of any of its encounters is right, were they independent",
    "questions": "log-odds that the best match of any query photograph is right, were they independent",
    "mean": "mean over the query photographs of the log-odds of the best match; those of FLOOR where it was not found",
    "found": "ln(1 + its photographs among the first PLACES, per query photograph)",
}
#: Features of the outcome "none of them".
NEW_FEATURES = ("constant", "log_photographs")
#: A photograph that was not found is given this probability, and none is nearer to 0 or 1.
FLOOR = 1e-4
#: Best photographs of each query that are looked at.
PLACES = 20
#: Of lists that teach: enough to fill the places after an individual's photographs were taken away.
_LOOKED_AT = 4 * PLACES
#: Penalty on squared weights of standardised features, in questions.
_RIDGE = 1.0


class IndividualModelError(ScarmatchError, ValueError):
    """A model of individuals cannot be fitted; the message says why."""


@dataclass(frozen=True)
class IndividualModel:
    """A fitted model.

    Attributes:
        weights: feature -> weight, each of :data:`FEATURES` once.
        new: weight of each of :data:`NEW_FEATURES` for the outcome "none of them".
        questions: numbers of the questions that it was fitted on: "all", and those with no match.
    """

    weights: Mapping[str, float]
    new: Mapping[str, float]
    questions: Mapping[str, int] = field(default_factory=dict)

    def score(self, features: pd.DataFrame) -> Values:
        """Return (rows,) scores s of :func:`features_of`'s rows."""
        return np.asarray(sum(features[name].to_numpy(np.float64) * self.weights[name] for name in FEATURES))

    def new_score(self, photographs: npt.ArrayLike) -> Values:
        """Return the scores of "none of them" for questions of so many photographs."""
        return self.new["constant"] + self.new["log_photographs"] * np.log(np.asarray(photographs, np.float64))

    def probabilities(self, features: pd.DataFrame) -> Values:
        """Return (rows,) probabilities; what a question's rows leave of 1 is the probability of "none of them"."""
        if features.empty:
            return np.zeros(0)
        question = pd.factorize(features["question"])[0]
        own = self.score(features)
        none = self.new_score(features["photographs"].to_numpy())
        largest = np.full(question.max() + 1, -np.inf)
        np.maximum.at(largest, question, np.maximum(own, none))
        shares = np.exp(own - largest[question])
        total = np.bincount(question, shares) + np.exp(_first(none, question) - largest)
        return shares / total[question]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"weights": dict(self.weights), "new": dict(self.new), "questions": dict(self.questions)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IndividualModel:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        weights, new = ({str(k): float(v) for k, v in data[name].items()} for name in ("weights", "new"))
        if set(weights) != set(FEATURES) or set(new) != set(NEW_FEATURES):
            raise ValueError("the features of individuals are not those of this version")
        return cls(weights, new, {str(k): int(v) for k, v in data["questions"].items()})


def features_of(answers: pd.DataFrame, question: pd.Series, asked: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Return one row for each individual that a question's photographs found.

    Args:
        answers: ranked photographs: query_id, image_id, individual_id, probability; encounter_id where known. Of each
            query the best :data:`PLACES` count, and of those the ones with an individual.
        question: (rows,) the question that each row's query belongs to.
        asked: question -> number of query photographs, where some of them may have found nothing; counted in
            ``answers`` if None.

    Returns:
        Columns question, individual_id, photographs (of the question) and :data:`FEATURES`, questions in the order of
        their first appearance and individuals by name.
    """
    table = answers.assign(question=question)
    photographs = table.groupby("question", sort=False)["query_id"].nunique()
    if asked is not None:
        photographs = photographs.index.to_series().map(asked).fillna(photographs)
    # However long the lists are, the same places speak.
    table = table.sort_values(["probability", "image_id"], ascending=[False, True], kind="stable")
    table = table[(table.groupby("query_id").cumcount() < PLACES) & table["individual_id"].notna()]
    encounter = table["encounter_id"] if "encounter_id" in table else pd.Series(None, table.index, object)
    table = table.assign(
        # A photograph of an unknown encounter counts as one of its own.
        encounter=encounter.astype(object).where(encounter.notna(), "image:" + table["image_id"].astype(str)),
        p=np.clip(table["probability"].to_numpy(np.float64), FLOOR, 1 - FLOOR),
    )
    keys = ["question", "individual_id"]
    images = table.groupby([*keys, "image_id"])["p"].max().sort_values(ascending=False, kind="stable")
    place = images.groupby(level=[0, 1]).cumcount()
    result = pd.DataFrame({"best": images[place == 0].groupby(level=[0, 1]).first()}).sort_index()
    second = images[place == 1].groupby(level=[0, 1]).first()
    result["second"] = second.reindex(result.index, fill_value=FLOOR)
    by_photograph = table.groupby([*keys, "query_id"])["p"].max()
    result["encounters"] = _any(table.groupby([*keys, "encounter"])["p"].max())
    result["questions"] = _any(by_photograph)
    result = result.apply(lambda column: pd.Series(log_odds(column, FLOOR), column.index))
    counts = photographs.reindex(result.index.get_level_values(0)).to_numpy(np.int64)
    summed = pd.Series(log_odds(by_photograph, FLOOR), by_photograph.index).groupby(level=[0, 1]).agg(["sum", "size"])
    result["mean"] = (summed["sum"] + (counts - summed["size"]) * float(log_odds(FLOOR))) / counts
    result["found"] = np.log1p(table.groupby(keys).size() / counts)
    result = result.assign(photographs=counts).reset_index()
    order = {name: place for place, name in enumerate(photographs.index)}
    result = result.sort_values("question", key=lambda names: names.map(order), kind="stable")
    return result[["question", "individual_id", "photographs", *FEATURES]].reset_index(drop=True)


def fit(features: pd.DataFrame, truth: Mapping[str, str]) -> IndividualModel:
    """Fit the model by penalised maximum likelihood.

    Args:
        features: :func:`features_of` of answers that were ranked out of fold.
        truth: question -> its individual. Where none of the question's rows shows it, the true outcome is "none of
            them".

    Raises:
        IndividualModelError: there is no question, or all have the same kind of outcome.
    """
    from scipy.optimize import minimize

    rows = features[features["question"].isin(list(truth))].reset_index(drop=True)
    question, names = pd.factorize(rows["question"])
    right = (rows["individual_id"] == rows["question"].map(truth)).to_numpy()
    answered = np.bincount(question, right, minlength=len(names)) > 0
    if not len(names) or answered.all() or not answered.any():
        raise IndividualModelError(
            f"{int(answered.sum())} of {len(names)} questions have a match: such a model needs questions with "
            "and without one"
        )
    values = rows[list(FEATURES)].to_numpy(np.float64)
    spread = np.maximum(values.std(axis=0), 1e-9)
    photographs = _first(rows["photographs"].to_numpy(np.float64), question)
    none = np.stack([np.ones(len(names)), np.log(photographs)], axis=1)
    width = values.shape[1]

    def loss(parameters: Values) -> tuple[float, Values]:
        own, left = values / spread @ parameters[:width], none @ parameters[width:]
        largest = left.copy()
        np.maximum.at(largest, question, own)
        shares, none_share = np.exp(own - largest[question]), np.exp(left - largest)
        total = np.bincount(question, shares, len(names)) + none_share
        chosen = np.where(answered, np.bincount(question, own * right, len(names)), left)
        value = np.sum(np.log(total) + largest - chosen) + 0.5 * _RIDGE * np.sum(parameters[:width] ** 2)
        error, none_error = shares / total[question] - right, none_share / total - ~answered
        slope = np.concatenate([(values / spread).T @ error + _RIDGE * parameters[:width], none.T @ none_error])
        return float(value) / len(names), slope / len(names)

    found = minimize(loss, np.zeros(width + none.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    weights = dict(zip(FEATURES, (found.x[:width] / spread).tolist(), strict=True))
    new = dict(zip(NEW_FEATURES, found.x[width:].tolist(), strict=True))
    return IndividualModel(weights, new, {"all": len(names), "new": int((~answered).sum())})


def fit_on_lists(lists: Sequence[pd.DataFrame]) -> IndividualModel | None:
    """Fit the model on answers that were ranked out of fold; None where they hold too little.

    Every query is asked twice: as it is, and with its individual's photographs taken away, as if the animal were new;
    so are the photographs of one encounter together.

    Args:
        lists: one table a protocol: query_id (tasks apart by "task|"), candidate_id, individual0, individual1,
            probability; encounter0 and encounter1 where known.
    """
    parts: list[pd.DataFrame] = []
    truth: dict[str, str] = {}
    for number, table in enumerate(lists):
        table = table.sort_values(["probability", "candidate_id"], ascending=[False, True], kind="stable")
        table = table[table.groupby("query_id").cumcount() < _LOOKED_AT]
        answers = table.assign(image_id=table["candidate_id"], individual_id=table["individual1"])
        if "encounter1" in answers:
            answers["encounter_id"] = answers["encounter1"]
        for new in (False, True):
            left = answers[answers["individual0"] != answers["individual1"]] if new else answers
            for together in (False, True):
                question = _question(left, together)
                kept = question.notna()
                names = f"{number}|{new}|{together}|" + question[kept].astype(str)
                parts.append(features_of(left[kept], names))
                truth |= dict(zip(names, left.loc[kept, "individual0"].astype(str), strict=True))
    try:
        return fit(pd.concat(parts, ignore_index=True), truth)
    except IndividualModelError:
        return None


def _question(answers: pd.DataFrame, together: bool) -> pd.Series:
    """Return the question of each row: its query, or its query's encounter where several of it were asked."""
    if not together:
        return answers["query_id"]
    if "encounter0" not in answers:
        return pd.Series(None, answers.index, object)
    task = answers["query_id"].astype(str).str.rpartition("|")[0]
    encounter = (task + "|" + answers["encounter0"].astype(str)).where(answers["encounter0"].notna(), None)
    several = answers.groupby(encounter)["query_id"].transform("nunique") > 1
    return encounter.where(several, None)


def _any(p: pd.Series) -> pd.Series:
    """Return, by question and individual, the probability that any of independent events of these happens."""
    return -np.expm1(np.log1p(-p).groupby(level=[0, 1]).sum())


def _first(values: npt.NDArray[np.float64], group: npt.NDArray[np.integer]) -> Values:
    """Return each group's first value, by its number."""
    firsts: Values = values[np.unique(group, return_index=True)[1]]
    return firsts
