"""The two models a ranker is made of: boosted trees (LambdaMART) and a logistic curve, behind the same four methods.

Both turn a (rows, features) array into one score a row, larger is likelier, and say what each feature contributed.
Monotone features can never count against their direction in either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from reranker.calibration import sigmoid
from reranker.feature_registry import feature
from reranker.tree_text import checked_trees

Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]

#: Standardised values are cut here: one absurd photograph must not decide a linear score.
CLIP = 4.0

#: LightGBM refuses longer lists.
MAX_LIST = 10_000


class Scorer(Protocol):
    """A fitted model: scores, contributions, and plain JSON values to store."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns it wants, in order."""
        ...

    def predict(self, rows: Rows) -> Values:
        """Return (n,) float64 scores."""
        ...

    def contributions(self, rows: Rows) -> Values:
        """Return (n, features + 1) contributions that add up to the score; the last column is the baseline."""
        ...

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the model, adding up to 1 (all 0 for a constant model)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        ...


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """Logistic regression: a weighted sum of standardised features, in log-odds.

    Numbers are standardised by ``mean`` and ``deviation``, cut at ±4, and 0 (the mean) where unknown; a category counts
    as one 0/1 column per code, none set where the code is unknown or was never seen.

    Attributes:
        columns: per design column: feature name and the code it stands for (None for a number).
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, int | None], ...]
    mean: Values
    deviation: Values
    weights: Values
    offset: float

    def _design(self, rows: Rows) -> Values:
        return _design(rows, self.names, self.columns, self.mean, self.deviation)

    def predict(self, rows: Rows) -> Values:
        """Return (n,) float64 log-odds."""
        # Summed column by column: a matrix product may round differently with the number of rows.
        return self.contributions(rows).sum(axis=1)

    def contributions(self, rows: Rows) -> Values:
        """Return (n, features + 1) contributions to the log-odds; the last column is the offset."""
        result = np.zeros((len(rows), len(self.names) + 1))
        place = {name: i for i, name in enumerate(self.names)}
        design = self._design(rows) * self.weights
        for j, (name, _) in enumerate(self.columns):
            result[:, place[name]] += design[:, j]
        result[:, -1] = self.offset
        return result

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the absolute weights."""
        total = dict.fromkeys(self.names, 0.0)
        for (name, _), weight in zip(self.columns, self.weights, strict=True):
            total[name] += abs(float(weight))
        return _shares(total)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "type": "linear",
            "names": list(self.names),
            "columns": [list(column) for column in self.columns],
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "weights": self.weights.tolist(),
            "offset": self.offset,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinearScorer:
        """Rebuild from :meth:`to_dict`; raises ValueError if its parts do not fit together."""
        arrays = {key: np.asarray(data[key], dtype=np.float64) for key in ("mean", "deviation", "weights")}
        columns = tuple((str(name), None if code is None else int(code)) for name, code in data["columns"])
        found = cls(names=tuple(data["names"]), columns=columns, offset=float(data["offset"]), **arrays)
        if not {name for name, _ in columns} <= set(found.names) or not math.isfinite(found.offset):
            raise ValueError("the logistic curve's columns or offset are not a model's")
        if any(part.shape != (len(columns),) or not np.isfinite(part).all() for part in arrays.values()):
            raise ValueError("the logistic curve's numbers are not one for each column")
        if (found.deviation <= 0).any():
            raise ValueError("the logistic curve's deviations are not above zero")
        return found


def _design(
    rows: Rows,
    names: Sequence[str],
    columns: Sequence[tuple[str, int | None]],
    mean: Values,
    deviation: Values,
) -> Values:
    place = {name: i for i, name in enumerate(names)}
    design = np.empty((len(rows), len(columns)))
    for j, (name, code) in enumerate(columns):
        values = np.asarray(rows[:, place[name]], dtype=np.float64)
        if code is not None:
            design[:, j] = values == code
            continue
        standard = np.clip((values - mean[j]) / deviation[j], -CLIP, CLIP)
        design[:, j] = np.where(np.isnan(standard), 0.0, standard)
    return design


def fit_linear(
    rows: Rows,
    labels: npt.NDArray[np.bool_],
    names: Sequence[str],
    ridge: float = 10.0,
    weights: Values | None = None,
    monotone: bool = True,
) -> LinearScorer:
    """Fit logistic regression by L-BFGS with bounds: a monotone feature's weight keeps its sign.

    Minimises the weighted log-loss summed over rows + ridge / 2 · |weights|² (the offset is free).

    Raises:
        ValueError: only one of the two classes is present.
    """
    from scipy.optimize import minimize

    if labels.all() or not labels.any():
        raise ValueError(
            "the logistic ranker needs pairs of the same and of different individuals; only one kind is given"
        )
    columns, mean, deviation = _columns(rows, names)
    design = _design(rows, names, columns, mean, deviation)
    w = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    target, total = labels.astype(np.float64), float(w.sum())

    def loss(parameters: Values) -> tuple[float, Values]:
        logits = design @ parameters[:-1] + parameters[-1]
        error = w * (sigmoid(logits) - target)
        value = float(np.sum(w * (np.logaddexp(0, logits) - target * logits)))
        value += ridge / 2 * float(parameters[:-1] @ parameters[:-1])
        gradient = np.append(design.T @ error + ridge * parameters[:-1], error.sum())
        return value / total, gradient / total

    sign = [feature(name).monotone if monotone and code is None else 0 for name, code in columns]
    bounds = [(0.0 if s > 0 else None, 0.0 if s < 0 else None) for s in sign] + [(None, None)]
    share = float(np.clip((w * target).sum() / total, 1e-6, 1 - 1e-6))
    start = np.append(np.zeros(len(columns)), np.log(share / (1 - share)))
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-7}
    ).x
    return LinearScorer(tuple(names), columns, mean, deviation, found[:-1], float(found[-1]))


def _columns(rows: Rows, names: Sequence[str]) -> tuple[tuple[tuple[str, int | None], ...], Values, Values]:
    """Return the design's columns (features that never vary are left out) with their means and deviations."""
    columns: list[tuple[str, int | None]] = []
    means: list[float] = []
    deviations: list[float] = []
    for j, name in enumerate(names):
        values = np.asarray(rows[:, j], dtype=np.float64)
        values = values[~np.isnan(values)]
        if len(values) == 0 or np.ptp(values) == 0:
            continue
        codes: list[int | None] = [None]
        if feature(name).categories:
            codes = [int(code) for code in np.unique(values)]
        for code in codes:
            columns.append((name, code))
            means.append(float(values.mean()) if code is None else 0.0)
            deviations.append(max(float(values.std()), 1e-9) if code is None else 1.0)
    return tuple(columns), np.array(means), np.array(deviations)


@dataclass(frozen=True, eq=False)
class TreeScorer:
    """LambdaMART: LightGBM's boosted trees, kept as LightGBM's own text.

    Attributes:
        text: the model as ``Booster.model_to_string`` writes it.
    """

    names: tuple[str, ...]
    text: str

    def _booster(self) -> Any:
        # Parsed once per instance; a frozen dataclass keeps it out of equality and of the saved file.
        cached = self.__dict__.get("_parsed")
        if cached is None:
            import lightgbm

            cached = lightgbm.Booster(model_str=checked_trees(self.text, self.names))
            self.__dict__["_parsed"] = cached
        return cached

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return int(self._booster().num_trees())

    def predict(self, rows: Rows) -> Values:
        """Return (n,) float64 scores (LambdaMART's own unit)."""
        if len(rows) == 0:
            return np.zeros(0)
        found = self._booster().predict(np.asarray(rows, dtype=np.float64), raw_score=True, num_threads=1)
        return np.asarray(found, dtype=np.float64)

    def contributions(self, rows: Rows) -> Values:
        """Return (n, features + 1) SHAP values of the trees; the last column is the expected score."""
        if len(rows) == 0:
            return np.zeros((0, len(self.names) + 1))
        found = self._booster().predict(np.asarray(rows, dtype=np.float64), pred_contrib=True, num_threads=1)
        return np.asarray(found, dtype=np.float64)

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the gain of all splits."""
        gain = self._booster().feature_importance("gain")
        return _shares(dict(zip(self.names, (float(v) for v in gain), strict=True)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"type": "tree", "names": list(self.names), "text": self.text}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TreeScorer:
        """Rebuild from :meth:`to_dict`; raises ValueError if the text is no whole model of these features."""
        scorer = cls(tuple(data["names"]), str(data["text"]))
        scorer._booster()
        return scorer


@dataclass(frozen=True, eq=False)
class RankingRows:
    """Rows for LambdaMART: features, labels, the query of each row, and the weight of each row."""

    rows: Rows
    labels: npt.NDArray[np.bool_]
    queries: npt.NDArray[Any]
    weights: Values | None = None


def fit_trees(
    train: RankingRows,
    names: Sequence[str],
    parameters: Mapping[str, Any],
    n_trees: int,
    seed: int,
    valid: RankingRows | None = None,
    patience: int = 0,
    monotone: bool = True,
) -> TreeScorer:
    """Fit LambdaMART (Burges, 2010) with LightGBM; the same rows give the same trees on any number of processors.

    Rows are shuffled with the seed first, so that neither the order of rows nor of candidates within a list means
    anything. Lists without a match, or with nothing else, teach a ranker nothing and are left out. With ``valid`` and
    ``patience`` the trees after the best NDCG on ``valid`` are dropped.

    Raises:
        ValueError: no list holds both a match and another candidate, or a list is longer than LightGBM allows.
    """
    import lightgbm

    data = _dataset(train, names, seed)
    if data is None:
        raise ValueError("no query's list holds both a match and another candidate: there is nothing to rank")
    held_out = _dataset(valid, names, seed, data) if valid is not None and patience > 0 else None
    fixed = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
        "monotone_constraints": [feature(name).monotone if monotone else 0 for name in names],
        "monotone_constraints_method": "basic",
    }
    booster = lightgbm.train(
        {**parameters, **fixed},
        data,
        num_boost_round=n_trees,
        valid_sets=[held_out] if held_out is not None else None,
        callbacks=[lightgbm.early_stopping(patience, verbose=False)] if held_out is not None else None,
    )
    best = booster.best_iteration if held_out is not None and booster.best_iteration > 0 else None
    text = booster.model_to_string(num_iteration=best)
    return TreeScorer(tuple(names), text)


def _dataset(source: RankingRows, names: Sequence[str], seed: int, reference: Any = None) -> Any:
    """Return a LightGBM dataset with one group per useful query, or None if no query is useful."""
    import lightgbm

    codes, queries = _factorize(source.queries)
    size = np.bincount(codes, minlength=len(queries))
    found = np.bincount(codes, weights=source.labels, minlength=len(queries))
    if len(size) and size.max() > MAX_LIST:
        raise ValueError(f"query {queries[size.argmax()]} has {size.max()} candidates; rank at most {MAX_LIST} a query")
    useful = (found > 0) & (found < size)
    if not useful.any():
        return None
    # Shuffle the queries, then the rows within each.
    random = np.random.default_rng(seed)
    place = random.permutation(len(queries))
    order = np.lexsort((random.permutation(len(codes)), place[codes]))
    order = order[useful[codes[order]]]
    groups = np.unique(place[codes[order]], return_counts=True)[1]
    return lightgbm.Dataset(
        np.asarray(source.rows[order], dtype=np.float64),
        label=source.labels[order].astype(np.float64),
        weight=None if source.weights is None else source.weights[order],
        group=groups,
        feature_name=list(names),
        categorical_feature=[name for name in names if feature(name).categories],
        reference=reference,
        params={"verbosity": -1, "feature_pre_filter": False},
        free_raw_data=False,
    )


def _factorize(queries: npt.NDArray[Any]) -> tuple[npt.NDArray[np.intp], npt.NDArray[Any]]:
    names, codes = np.unique(np.asarray(queries, dtype=str), return_inverse=True)
    return codes, names


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {name: value / total if total > 0 else 0.0 for name, value in values.items()}
