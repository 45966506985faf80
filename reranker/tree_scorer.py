"""Boosted trees as a scorer: LambdaMART by LightGBM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker.feature_registry import feature
from reranker.scorers import Rows, Values, shares
from reranker.tree_text import checked_trees

#: LightGBM refuses longer lists.
MAX_LIST = 10_000


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
        scores = self._booster().predict(np.asarray(rows, dtype=np.float64), raw_score=True, num_threads=1)
        return np.asarray(scores, dtype=np.float64)

    def contributions(self, rows: Rows) -> Values:
        """Return (n, features + 1) SHAP values of the trees; the last column is the expected score."""
        if len(rows) == 0:
            return np.zeros((0, len(self.names) + 1))
        shap = self._booster().predict(np.asarray(rows, dtype=np.float64), pred_contrib=True, num_threads=1)
        return np.asarray(shap, dtype=np.float64)

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the gain of all splits."""
        gain = self._booster().feature_importance("gain")
        return shares(dict(zip(self.names, (float(v) for v in gain), strict=True)))

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
    """Rows for LambdaMART: features, labels and the query of each row."""

    rows: Rows
    labels: npt.NDArray[np.bool_]
    queries: npt.NDArray[Any]


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
    matches_of_list = np.bincount(codes, weights=source.labels, minlength=len(queries))
    if len(size) and size.max() > MAX_LIST:
        raise ValueError(f"query {queries[size.argmax()]} has {size.max()} candidates; rank at most {MAX_LIST} a query")
    useful = (matches_of_list > 0) & (matches_of_list < size)
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
