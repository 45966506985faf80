"""The challenge's answer: writing it, reading it, and scoring it by the organisers' formula.

A submission has the columns query_id, database_image_id, score; at most 20 rows a query; scores in [0, 1], the highest
the most certain. Average precision of a query is

    AP = sum over thresholds n of (TP_n - TP_(n-1)) * P_n / min(M, 20),

TP_n and P_n the number of true matches and the precision among the rows whose score reaches the n-th highest distinct
score (rows that tie come in together), M the number of true matches in the database: scikit-learn's average precision
of the rows returned, times the share min(M, 20) of the matches that was returned. mAP is its mean over the queries.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.problems import CatalogError
from engine.competitions.scenarios import Scenario, all_against_all, answers_from_catalog, read_scenarios
from scarmatch.errors import ScarmatchError
from scarmatch.metrics import average_precision

COLUMNS = ["query_id", "database_image_id", "score"]
LIMIT = 20
"""Most rows a query may have."""

_DIGITS = 9


class SubmissionError(ScarmatchError, ValueError):
    """A submission cannot be written, read or scored; the message names the row and the way out."""


@dataclass(frozen=True, eq=False)
class Score:
    """What the official formula gives.

    Attributes:
        mean_average_precision: mean over the queries that have at least one true match.
        per_query: average precision by query_id.
        per_scenario: scenario_id -> mean average precision (empty where the answers name no scenarios).
    """

    mean_average_precision: float
    per_query: pd.Series
    per_scenario: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the means as JSON-ready values."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "queries": len(self.per_query),
            "per_scenario": dict(self.per_scenario),
        }


def average_precision_per_query(submission: pd.DataFrame, answers: pd.DataFrame, k: int = LIMIT) -> pd.Series:
    """Return the average precision of every query that has a true match, indexed by query_id in order of the answers.

    A query that the submission leaves out has 0. Rows of queries without a match do not count. (The organisers' own
    script would leave both kinds out of the mean; their server accepts no submission that misses a query.)

    Args:
        submission: query_id, database_image_id, score.
        answers: query_id, database_image_id: all true matches.

    Raises:
        SubmissionError: a score is not a number, or a row occurs twice.
    """
    rows = submission[COLUMNS]
    if rows["score"].isna().any():
        raise SubmissionError("a score is not a number")
    if rows.duplicated(["query_id", "database_image_id"]).any():
        raise SubmissionError("a photograph occurs twice for one query; `check_submission` says where")
    truth = answers[["query_id", "database_image_id"]].drop_duplicates()
    n_matches = truth.groupby("query_id", sort=False).size()
    marked = rows.merge(truth.assign(relevant=1), how="left", on=["query_id", "database_image_id"])
    codes = n_matches.index.get_indexer(pd.Index(marked["query_id"]))  # -1: a query without a match
    order = np.argsort(codes, kind="stable")
    relevant = marked["relevant"].notna().to_numpy()[order]
    scores = marked["score"].to_numpy(dtype=np.float64)[order]
    ends = np.searchsorted(codes[order], np.arange(len(n_matches) + 1))
    counts = n_matches.to_numpy()
    values = [
        average_precision(relevant[start:end], int(count), k, scores[start:end])
        for start, end, count in zip(ends[:-1], ends[1:], counts, strict=True)
    ]
    return pd.Series(values, index=n_matches.index, name="average_precision", dtype=float)


def mean_average_precision(submission: pd.DataFrame, answers: pd.DataFrame, k: int = LIMIT) -> float:
    """Return the official mean average precision (see :func:`average_precision_per_query`); NaN without any match."""
    return float(average_precision_per_query(submission, answers, k).mean())


def score_submission(submission: pd.DataFrame, answers: pd.DataFrame, k: int = LIMIT) -> Score:
    """Return mean average precision overall, per query, and per scenario if the answers have a column scenario_id."""
    per_query = average_precision_per_query(submission, answers, k)
    per_scenario: dict[str, float] = {}
    if "scenario_id" in answers.columns:
        scenario_of = answers.drop_duplicates("query_id").set_index("query_id")["scenario_id"]
        means = per_query.groupby(scenario_of.reindex(per_query.index), sort=True).mean()
        per_scenario = {str(name): float(value) for name, value in means.items()}
    return Score(float(per_query.mean()), per_query, per_scenario)


def write_submission(answers: pd.DataFrame, path: Path | str, limit: int = LIMIT) -> pd.DataFrame:
    """Write a valid submission.

    Rows are sorted by score within each query (queries in order of appearance, ties in the order given), cut to
    ``limit``, and written with nine decimals; scores that would be equal in the file are lowered by as little as makes
    them strictly decreasing, without leaving [0, 1].

    Args:
        answers: query_id, database_image_id, score; or the matcher's own table with image_id and probability.
        path: the CSV file; written beside and moved into place, so that no half file is left behind.
        limit: most rows a query may have.

    Returns:
        The table as it was written.

    Raises:
        SubmissionError: a column is missing, a score lies outside [0, 1] or is not a number, an id is missing, or a
            photograph occurs twice for one query.
    """
    table = answers
    if "database_image_id" not in answers.columns and {"image_id", "probability"} <= set(answers.columns):
        table = answers[["query_id", "image_id", "probability"]].set_axis(COLUMNS, axis=1)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise SubmissionError(f"column {', '.join(missing)} is missing; found: {', '.join(map(str, answers.columns))}")
    table = table[COLUMNS].reset_index(drop=True)
    scores = pd.to_numeric(table["score"], errors="coerce").astype(float)
    bad = ~scores.between(0.0, 1.0)
    if bad.any():
        row = int(bad.argmax())
        raise SubmissionError(f"row {row}: score {table['score'].iloc[row]!r} is not a number in [0, 1]")
    if table[COLUMNS[:2]].isna().any(axis=None):
        raise SubmissionError("an id is missing")
    twice = table.duplicated(COLUMNS[:2])
    if twice.any():
        query_id, image_id = table.loc[twice, COLUMNS[:2]].iloc[0]
        raise SubmissionError(f"{image_id!r} occurs twice for the query {query_id!r}")
    table["score"] = scores
    first_seen = pd.factorize(table["query_id"])[0]
    table = table.iloc[np.lexsort((-scores.to_numpy(), first_seen))]  # stable: ties stay in the order given
    table = table[table.groupby("query_id", sort=False).cumcount() < limit].reset_index(drop=True)
    starts = np.flatnonzero(~table["query_id"].duplicated())
    pieces = np.split(table["score"].to_numpy(dtype=np.float64), starts[1:])
    result = table.assign(score=np.concatenate([_strictly_decreasing(piece) for piece in pieces]))
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    result.to_csv(partial, index=False, float_format=f"%.{_DIGITS}f", lineterminator="\n")
    partial.replace(path)
    return result


def _strictly_decreasing(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (N,) scores, given not increasing in [0, 1], as multiples of 1e-9 that strictly decrease within [0, 1]."""
    unit = 10**_DIGITS
    steps = np.round(scores * unit).astype(np.int64)
    steps = np.maximum(steps, np.arange(len(steps))[::-1])  # room for the rows that follow, down to zero
    for i in range(1, len(steps)):
        steps[i] = min(steps[i], steps[i - 1] - 1)
    return steps / unit


def read_text_columns(path: Path | str) -> pd.DataFrame:
    """Read a CSV file with every cell as the text that stands there ("" where there is none).

    Raises:
        SubmissionError: it cannot be read as CSV.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise SubmissionError(f"{path}: cannot be read as CSV: {error}") from None


def read_submission(path: Path | str) -> pd.DataFrame:
    """Read a submission as it stands: ids as text, scores as numbers (NaN where they are none).

    Raises:
        SubmissionError: there is no such file, or it lacks a column.
    """
    table = read_text_columns(path)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise SubmissionError(f"{path}: column {', '.join(missing)} is missing; found: {', '.join(table.columns)}")
    return table.assign(score=pd.to_numeric(table["score"], errors="coerce"))


def write_answers(answers: pd.DataFrame, path: Path | str) -> None:
    """Write the true matches (query_id, database_image_id, and scenario_id if there is one) as CSV."""
    names = [name for name in ("query_id", "database_image_id", "scenario_id") if name in answers.columns]
    answers[names].to_csv(path, index=False, lineterminator="\n")


def read_answers(
    path: Path | str, scenarios: Iterable[Scenario] | None = None
) -> tuple[pd.DataFrame, list[Scenario] | None]:
    """Read the true matches.

    Args:
        path: a CSV file with query_id, database_image_id and perhaps scenario_id; or a labelled catalogue, whose
            matches are worked out for its own scenarios, or, if it has none, for every photograph against all others.
        scenarios: the scenarios to use with a labelled catalogue instead of its own.

    Returns:
        (answers, the scenarios they were worked out for; None for a CSV file read without any).

    Raises:
        SubmissionError: the file lacks a column.
        CatalogError: the catalogue cannot be read or has no individuals.
    """
    path = Path(path)
    given = None if scenarios is None else list(scenarios)
    if path.is_file() and path.suffix.lower() == ".csv":
        table = read_text_columns(path)
        if set(COLUMNS[:2]) <= set(table.columns):
            return table, given
    catalog = Catalog.read(path)
    if catalog.table["individual_id"].isna().all():
        raise CatalogError(f"{path}: no photograph has an individual, so nothing says which matches are right")
    if given is None and (path / "query_scenarios.csv").is_file():
        given = read_scenarios(path, catalog.ids)
    if given is None:
        given = [all_against_all(catalog)]
    return answers_from_catalog(catalog, given), given
