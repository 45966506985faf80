"""What the organisers' scorer would object to in a submission, with file and line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from engine.catalogue.problems import Problem, Problems
from engine.competitions.scenarios import Scenario
from engine.competitions.submission import COLUMNS, LIMIT, SubmissionError, read_submission

#: Faults of one kind that are named one by one.
_SHOWN = 20


def check_submission(
    submission: pd.DataFrame | Path | str,
    scenarios: Iterable[Scenario] | None = None,
    answers: pd.DataFrame | None = None,
    limit: int = LIMIT,
) -> list[Problem]:
    """Return what the organisers' scorer would object to, at most 20 of a kind.

    Errors: columns other than query_id, database_image_id, score in this order; a score that is not a number in [0, 1];
    more than ``limit`` rows a query; a photograph twice for one query. With scenarios also: unknown queries,
    photographs that are not in the query's database, the query itself among its candidates, queries without an answer.
    With answers alone: queries that have matches but no row. Warnings: scores that tie (they have no order, so the
    formula counts them together) and, with answers alone, queries that have no match (they do not count).

    Args:
        submission: the table, or its file (then problems name lines; a table's rows are counted as lines 2, 3 …).
        scenarios: the queries and databases.
        answers: query_id, database_image_id of all true matches.
    """
    problems = Problems(strict=False)
    file = None if isinstance(submission, pd.DataFrame) else str(submission)
    try:
        table = submission if isinstance(submission, pd.DataFrame) else read_submission(submission)
    except SubmissionError as error:
        return [Problem("error", str(error), file)]
    if list(table.columns) != COLUMNS:
        columns_text = ", ".join(map(str, table.columns))
        problems.error(
            f"the columns must be {', '.join(COLUMNS)}, in this order; found: {columns_text}", file=file, line=1
        )
        if not set(COLUMNS) <= set(table.columns):
            return problems.items
    table = table[COLUMNS].reset_index(drop=True)
    table["score"] = pd.to_numeric(table["score"], errors="coerce")
    table["line"] = table.index + 2
    _check_rows(table, file, limit, problems)
    if scenarios is not None:
        _check_against_scenarios(table, list(scenarios), file, problems)
    elif answers is not None:
        _check_against_answers(table, answers, file, problems)
    return problems.items


def _check_rows(table: pd.DataFrame, file: str | None, limit: int, problems: Problems) -> None:
    scores = table["score"]
    _note(table[scores.isna()], "the score is not a number", "score", file, problems)
    _note(table[(scores < 0) | (scores > 1)], "the score must lie in [0, 1]", "score", file, problems)
    number = table.groupby("query_id", sort=False).cumcount()
    _note(table[number == limit], f"the query has more than {limit} rows", "query_id", file, problems)
    pairs = ["query_id", "database_image_id"]
    _note(table[table.duplicated(pairs)], "the photograph occurs twice for the query", pairs[1], file, problems)
    ties = table[table.duplicated(["query_id", "score"]) & scores.notna()].drop_duplicates("query_id")
    _note(ties, "the score occurs before for this query: ties have no order", "score", file, problems, "warning")


def _check_against_scenarios(
    table: pd.DataFrame, scenarios: list[Scenario], file: str | None, problems: Problems
) -> None:
    image_of: dict[str, str] = {}
    database_of: dict[str, frozenset[str]] = {}
    for scenario in scenarios:
        database = frozenset(scenario.database)
        for query_id, image_id in zip(scenario.queries["query_id"], scenario.queries["query_image_id"], strict=True):
            image_of[query_id], database_of[query_id] = image_id, database
    in_scenarios = table["query_id"].isin(list(image_of))
    unknown = table[~in_scenarios].drop_duplicates("query_id")
    _note(unknown, "there is no such query", "query_id", file, problems)
    rows = table[in_scenarios]
    itself = rows["database_image_id"] == rows["query_id"].map(image_of)
    _note(rows[itself], "the query itself is among its candidates", "database_image_id", file, problems)
    pairs = zip(rows["query_id"], rows["database_image_id"], strict=True)
    outside = np.array([image_id not in database_of[query_id] for query_id, image_id in pairs], dtype=bool)
    _note(rows[outside], "the photograph is not in the query's database", "database_image_id", file, problems)
    answered = set(rows["query_id"])
    empty = [q for q in image_of if q not in answered and database_of[q] - {image_of[q]}]
    _note_missing(empty, "the query has no rows", file, problems)


def _check_against_answers(table: pd.DataFrame, answers: pd.DataFrame, file: str | None, problems: Problems) -> None:
    queries, given = list(dict.fromkeys(answers["query_id"])), set(table["query_id"])
    _note_missing([q for q in queries if q not in given], "the query has matches but no rows", file, problems)
    extra = table[~table["query_id"].isin(queries)].drop_duplicates("query_id")
    message = "the query has no match in the answers and does not count"
    _note(extra, message, "query_id", file, problems, "warning")


def _note(
    rows: pd.DataFrame,
    message: str,
    column: str,
    file: str | None,
    problems: Problems,
    severity: Literal["error", "warning"] = "error",
) -> None:
    for line, query_id, value in rows[["line", "query_id", column]].head(_SHOWN).itertuples(index=False, name=None):
        where = f" (query {query_id})" if column != "query_id" else ""
        problems.add(severity, f"{message}: {value}{where}", file=file, line=int(line), column=column, value=value)
    if len(rows) > _SHOWN:
        problems.add(severity, f"{message}: {len(rows) - _SHOWN:,} more rows", file=file, column=column)


def _note_missing(queries: list[str], message: str, file: str | None, problems: Problems) -> None:
    for query_id in queries[:_SHOWN]:
        problems.error(f"{message}: {query_id}", file=file, column="query_id", value=query_id)
    if len(queries) > _SHOWN:
        problems.error(f"{message}: {len(queries) - _SHOWN:,} more queries", file=file, column="query_id")
