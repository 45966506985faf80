"""The challenge's scenarios: which photographs are queries, and which database each is searched in.

Layout of the folder: ``query_scenarios.csv`` (scenario_id, queries_path, database_path), and for every scenario one
file of queries (query_id, query_image_id) and one of the database (database_image_id), by custom in ``queries/`` and
``databases/``. A query image may be in its own database; it never counts as a candidate of itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.paths import inside
from engine.catalogue.problems import Problems
from engine.catalogue.tables import TextTable, read_text_table


@dataclass(frozen=True, eq=False)
class Scenario:
    """One set of queries and the database that they are searched in.

    Attributes:
        scenario_id: name of the scenario.
        queries: DataFrame with the text columns query_id (unique over all scenarios) and query_image_id.
        database: image ids of the database.
    """

    scenario_id: str
    queries: pd.DataFrame
    database: list[str]

    def __len__(self) -> int:
        return len(self.queries)


def all_against_all(catalog: Catalog, scenario_id: str = "all") -> Scenario:
    """Return the scenario in which every photograph is a query (its id the query's) against all the others."""
    queries = pd.DataFrame({"query_id": catalog.ids, "query_image_id": catalog.ids}, dtype=object)
    return Scenario(scenario_id, queries, catalog.ids)


def read_scenarios(
    folder: Path | str, known_ids: Collection[str] | None = None, problems: Problems | None = None
) -> list[Scenario]:
    """Read the scenarios of a challenge folder.

    Args:
        folder: the folder of ``query_scenarios.csv`` (or that file).
        known_ids: image ids of the catalogue; an id that is not among them is an error. None: not checked.
        problems: the ledger; a strict one by default.

    Raises:
        CatalogError: on the first error, with a strict ledger.
    """
    folder = Path(folder)
    index = folder if folder.is_file() else folder / "query_scenarios.csv"
    ledger = problems if problems is not None else Problems(strict=True)
    image_ids = None if known_ids is None else frozenset(known_ids)
    table = read_text_table(index, ledger)
    if not _has_columns(table, ("queries_path", "database_path"), ledger):
        return []
    if not table.rows:
        ledger.error("names no scenario", file=index)
    scenarios: list[Scenario] = []
    seen: dict[str, str] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        files = []
        for column in ("queries_path", "database_path"):
            try:
                file = inside(index.parent, row[column])
            except ValueError as error:
                ledger.error(str(error), file=index, line=line, column=column, value=row[column])
                continue
            if not file.is_file():
                ledger.error(f"no such file: {row[column]}", file=index, line=line, column=column, value=row[column])
                continue
            files.append(file)
        if len(files) < 2:
            continue
        name = (row.get("scenario_id") or files[0].stem).strip()
        if name in {scenario.scenario_id for scenario in scenarios}:
            ledger.error(f"the scenario '{name}' occurs twice", file=index, line=line, column="scenario_id", value=name)
            continue
        queries = _read_queries(files[0], seen, image_ids, ledger)
        scenarios.append(Scenario(name, queries, _read_database(files[1], image_ids, ledger)))
    return scenarios


def write_scenarios(scenarios: Iterable[Scenario], folder: Path | str) -> None:
    """Write scenarios in the challenge's layout; existing files of the same names are replaced."""
    folder = Path(folder)
    rows = []
    for scenario in scenarios:
        names = {"queries": f"queries/{scenario.scenario_id}.csv", "database": f"databases/{scenario.scenario_id}.csv"}
        for name in names.values():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        scenario.queries[["query_id", "query_image_id"]].to_csv(folder / names["queries"], index=False)
        pd.DataFrame({"database_image_id": scenario.database}).to_csv(folder / names["database"], index=False)
        rows.append((scenario.scenario_id, names["queries"], names["database"]))
    index = pd.DataFrame(rows, columns=["scenario_id", "queries_path", "database_path"])
    index.to_csv(folder / "query_scenarios.csv", index=False)


def answers_from_catalog(
    catalog: Catalog, scenarios: Iterable[Scenario], *, individuals: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return all true matches of all queries: database photographs of the same individual, not the query.

    Args:
        catalog: the labelled photographs of queries and databases.
        scenarios: the queries.
        individuals: image id -> individual, instead of the catalogue's own labels.

    Returns:
        DataFrame query_id, database_image_id, scenario_id; queries without a match (or without a label) do not occur.
    """
    table = catalog.table
    labels = dict(zip(table["image_id"], table["individual_id"], strict=True)) if individuals is None else individuals
    rows: list[tuple[str, str, str]] = []
    for scenario in scenarios:
        members: dict[str, list[str]] = {}
        for image_id in scenario.database:
            label = labels.get(image_id)
            if label is not None:
                members.setdefault(label, []).append(image_id)
        pairs = zip(scenario.queries["query_id"], scenario.queries["query_image_id"], strict=True)
        for query_id, image_id in pairs:
            label = labels.get(image_id)
            matches = members.get(label, []) if label is not None else []
            rows += [(query_id, match, scenario.scenario_id) for match in matches if match != image_id]
    return pd.DataFrame(rows, columns=["query_id", "database_image_id", "scenario_id"], dtype=object)


def _read_queries(
    file: Path, seen: dict[str, str], image_ids: frozenset[str] | None, problems: Problems
) -> pd.DataFrame:
    table = read_text_table(file, problems)
    rows: list[tuple[str, str]] = []
    if _has_columns(table, ("query_id", "query_image_id"), problems):
        for row, line in zip(table.rows, table.lines, strict=True):
            query_id, image_id = row["query_id"].strip(), row["query_image_id"].strip()
            place = f"{file}, line {line}"
            if query_id in seen:
                message = f"the query '{query_id}' occurs before, in {seen[query_id]}"
                problems.error(message, file=file, line=line, column="query_id", value=query_id)
                continue
            seen[query_id] = place
            if _is_known(image_id, image_ids, file, line, "query_image_id", problems):
                rows.append((query_id, image_id))
        if not table.rows:
            problems.error("holds no queries", file=file)
    return pd.DataFrame(rows, columns=["query_id", "query_image_id"], dtype=object)


def _read_database(file: Path, image_ids: frozenset[str] | None, problems: Problems) -> list[str]:
    table = read_text_table(file, problems)
    line_of: dict[str, int] = {}
    if _has_columns(table, ("database_image_id",), problems):
        for row, line in zip(table.rows, table.lines, strict=True):
            image_id = row["database_image_id"].strip()
            if image_id in line_of:
                message = f"'{image_id}' occurs before, in line {line_of[image_id]}"
                problems.error(message, file=file, line=line, column="database_image_id", value=image_id)
            elif _is_known(image_id, image_ids, file, line, "database_image_id", problems):
                line_of[image_id] = line
        if not table.rows:
            problems.error("holds no photographs", file=file)
    return list(line_of)


def _is_known(
    image_id: str, image_ids: frozenset[str] | None, file: Path, line: int, column: str, problems: Problems
) -> bool:
    if image_ids is None or image_id in image_ids:
        return True
    hint = "every photograph of a scenario must stand in metadata.csv"
    problems.error(
        f"'{image_id}' is not in the catalogue", file=file, line=line, column=column, value=image_id, hint=hint
    )
    return False


def _has_columns(table: TextTable, needed: Iterable[str], problems: Problems) -> bool:
    missing = [name for name in needed if name not in table.columns]
    if missing and table.columns:
        columns_text = ", ".join(table.columns)
        problems.error(f"column {', '.join(missing)} is missing; found: {columns_text}", file=table.file, line=1)
    return not missing
