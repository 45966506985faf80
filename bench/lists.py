"""What out-of-fold scores of whole lists are worth, query by query: the one judge of labelled pair tables."""

from __future__ import annotations

import pandas as pd

from reranker.protocols import askings, protocol_tables
from scarmatch.metrics import average_precision, reciprocal_rank


def judge_lists(frame: pd.DataFrame, method: str, k: int = 20) -> pd.DataFrame:
    """Return what every query that can be answered earns by one method's scores.

    Args:
        frame: query_id, candidate_id, individual0, same and the method's column; ``n_true``, the matches in the whole
            catalogue, without which those of the list count; optional individual1 and fold.
        method: column of the scores, larger is better; equal ones are ordered by candidate. A query whose scores are
            NaN is left out.
        k: places that count.

    Returns:
        Indexed by query_id: individual, fold (-1 without), ap20, top1 (bool) and, where candidates are named, guess
        (the first candidate's individual) and rr5 (1 / place of the right individual among the first five).
    """
    rows = frame.dropna(subset=[method])
    rows = rows.sort_values(["query_id", method, "candidate_id"], ascending=[True, False, True], kind="stable")
    records = {}
    for query, part in rows.groupby("query_id", sort=True):
        hits, who = part["same"].to_numpy(bool), str(part["individual0"].iloc[0])
        total = float(part["n_true"].iloc[0]) if "n_true" in part else float(hits.sum())
        if not total > 0:
            continue
        record = {"individual": who, "fold": int(part["fold"].iloc[0]) if "fold" in part else -1}
        record |= {"ap20": average_precision(hits, total, k), "top1": bool(hits[0])}
        if "individual1" in part:
            names = list(dict.fromkeys(part["individual1"].astype(str)))
            record |= {"guess": names[0], "rr5": reciprocal_rank(names, who)}
        records[str(query)] = record
    columns = ["individual", "fold", "ap20", "top1"] + (["guess", "rr5"] if "individual1" in frame else [])
    return pd.DataFrame.from_dict(records, orient="index", columns=columns)


def with_other_days(raw: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the ranker's protocols of a raw pair table and, beside them, the lists of other days.

    How many matches the catalogue holds on other days the table does not say: those in the lists count.
    """
    _, lists = askings(raw)
    date0, date1 = (pd.to_datetime(lists[name]) for name in ("date0", "date1"))
    other = lists[date0.notna() & date1.notna() & (date0 != date1)]
    days = other.drop(columns=[name for name in raw.columns if str(name).startswith("n_true")])
    return protocol_tables(raw) | {"other_day": days}


def part_of(frame: pd.DataFrame, beginning: str, middle: str = "") -> pd.DataFrame:
    """Return the rows of the tasks whose names begin and go on so (query ids begin with their task's name)."""
    task = frame["query_id"].str.split("|", n=1).str[0]
    return frame[task.str.startswith(beginning) & task.str.contains(middle, regex=False)]
