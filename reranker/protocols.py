"""How rankings are judged: folds of individuals, what is removed from the lists, and the challenge's score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.rank_order import rank_order
from scarmatch.metrics import average_precision

Mask = npt.NDArray[np.bool_]


def assign_folds(individuals: npt.ArrayLike, load: npt.ArrayLike, folds: int, seed: int) -> dict[str, int]:
    """Divide individuals into folds of nearly equal load; each individual lies in exactly one.

    Args:
        individuals: (n,) names, possibly repeated. load: (n,) work or weight each row adds to its individual.
    """
    frame = pd.DataFrame({"name": np.asarray(individuals, dtype=str), "load": np.asarray(load, dtype=np.float64)})
    loads = frame.groupby("name")["load"].sum()
    chance = np.random.default_rng(seed).permutation(len(loads))
    totals = np.zeros(folds)
    counts = np.zeros(folds)
    result: dict[str, int] = {}
    for i in np.lexsort((chance, -loads.to_numpy())):
        fold = int(np.lexsort((counts, totals))[0])
        result[str(loads.index[i])] = fold
        totals[fold] += loads.iloc[i]
        counts[fold] += 1
    return result


def split_masks(individual0: npt.ArrayLike, individual1: npt.ArrayLike, held_out: set[str]) -> tuple[Mask, Mask]:
    """Return (training rows, held-out rows) of a table of pairs.

    Training rows touch no held-out individual on either side; held-out rows are those whose query shows one. Rows of
    other queries whose candidate shows a held-out individual belong to neither.
    """
    names = sorted(held_out)
    query_out = np.isin(np.asarray(individual0, dtype=str), names)
    candidate_out = np.isin(np.asarray(individual1, dtype=str), names)
    return ~query_out & ~candidate_out, query_out


def evaluate(table: pd.DataFrame, scores: npt.ArrayLike, top: int = 20) -> dict[str, float]:
    """Rank the lists of a table by scores and return {"map", "top1", "queries"}.

    Args:
        table: columns query_id, candidate_id, cosine, same; optional ``n_true`` (matches in the whole catalogue, per
            query). Without it only queries with a match in their list count, and only the list's matches.
    """
    order = rank_order(table["query_id"], scores, table["cosine"], table["candidate_id"])
    same = table["same"].to_numpy(dtype=bool)[order]
    queries = np.unique(table["query_id"].to_numpy(dtype=str)[order], return_inverse=True)[1]
    starts = np.flatnonzero(np.diff(queries, prepend=-1))
    totals = np.bincount(queries, weights=same)
    if "n_true" in table.columns:
        totals = table["n_true"].to_numpy(dtype=np.float64)[order][starts]
    lists = np.split(same, starts[1:])
    answerable = [(hits, total) for hits, total in zip(lists, totals, strict=True) if total > 0]
    if not answerable:
        return {"map": float("nan"), "top1": float("nan"), "queries": 0}
    precision = [average_precision(hits, total, top) for hits, total in answerable]
    first = [bool(hits[0]) for hits, _ in answerable]
    return {"map": float(np.mean(precision)), "top1": float(np.mean(first)), "queries": len(answerable)}


def same_encounter(raw: pd.DataFrame) -> Mask:
    """Return True where both photographs are known to be of one encounter.

    The column ``same_encounter`` says so where the caller knows (the challenge's ids differ between views of one
    encounter); otherwise equal ``encounter0`` and ``encounter1`` do; without either it is nowhere.
    """
    if "same_encounter" in raw.columns:
        return raw["same_encounter"].to_numpy(dtype=bool)
    if not {"encounter0", "encounter1"} <= set(raw.columns):
        return np.zeros(len(raw), bool)
    both_given = raw["encounter0"].notna() & raw["encounter1"].notna()
    return (both_given & (raw["encounter0"].astype(str) == raw["encounter1"].astype(str))).to_numpy(dtype=bool)


def askings(raw: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the lists asked without any exclusion, and of those asked without the query's own encounter.

    Without a column ``first_asking`` each query was asked once, and all rows are both.
    """
    if "first_asking" not in raw.columns:
        return raw, raw
    first = raw["first_asking"].to_numpy(dtype=bool)
    return raw.loc[first], raw.loc[~first]


def protocol_tables(raw: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the table as it is ("all") and, where the columns are known, without the query's encounter or year.

    Rows are removed before features are made, as if those photographs had not been in the catalogue. Where a column
    ``first_asking`` marks the rows of the lists asked without any exclusion, and the others were asked without the
    query's own encounter, "all" keeps the former and the other protocols the latter: lists as they are in use. The
    columns ``n_true_other_encounter`` and ``n_true_other_year`` take the place of ``n_true`` in theirs, and
    ``own_encounter_allowed`` is False.
    """
    plain, harder = askings(raw)
    tables = {"all": plain}
    if {"encounter0", "encounter1"} <= set(raw.columns) or "same_encounter" in raw.columns:
        tables["other_encounter"] = harder.loc[~same_encounter(harder)]
    if {"date0", "date1"} <= set(raw.columns):
        year0, year1 = (pd.to_datetime(harder[name]).dt.year for name in ("date0", "date1"))
        other = year0.notna() & year1.notna() & (year0 != year1)
        if other.any():
            tables["other_year"] = harder.loc[other]
    result: dict[str, pd.DataFrame] = {}
    for name, table in tables.items():
        column = "n_true" if name == "all" else f"n_true_{name}"
        without = table.drop(columns=[c for c in table.columns if str(c).startswith("n_true")])
        result[name] = without.assign(n_true=table[column]) if column in table.columns else without
        if name != "all":
            result[name] = result[name].assign(own_encounter_allowed=False)
    return result
