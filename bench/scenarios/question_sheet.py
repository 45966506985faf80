"""The question sheet of a run: a data folder without labels for ``rank``, and apart from it what the scorer knows.

Scenarios are cut from a labelled catalogue by rule; or, where the catalogue already names its scenarios (the published
test set of "Where's Whale-do?"), taken as they are. Either way ``rank`` reads a folder whose metadata has only the
columns of the hidden test set, with links to the photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from bench.scenarios.cutting import cut_scenarios, used_by, write_layout
from engine.catalogue.catalog import Catalog, CatalogError
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, ScenarioRule
from engine.competitions.scenarios import Scenario, answers_from_catalog, read_scenarios
from engine.competitions.submission import read_answers


@dataclass(frozen=True, eq=False)
class QuestionSheet:
    """What is asked, and what only the scorer knows.

    Attributes:
        folder: data folder in the official layout, without labels.
        scenarios: its scenarios.
        answers: all true matches: query_id, database_image_id, scenario_id.
        labelled: the same photographs with their individuals.
        left_out: scenario_id -> why this catalogue cannot have it.
        published: the scenarios came with the photographs and have the challenge's own sizes, all ten of them.
    """

    folder: Path
    scenarios: tuple[Scenario, ...]
    answers: pd.DataFrame
    labelled: Catalog
    left_out: dict[str, str]
    published: bool


def has_own_scenarios(path: Path) -> bool:
    """Return whether a catalogue's folder names its scenarios itself."""
    return path.is_dir() and (path / "query_scenarios.csv").is_file()


def cut(
    catalog: Catalog,
    work: Path,
    rules: Sequence[ScenarioRule],
    scale: float | None = 1.0,
    max_queries: int | None = None,
    seed: int = 0,
) -> QuestionSheet:
    """Cut scenarios from a labelled catalogue by rule (see :func:`bench.scenarios.cutting.cut_scenarios`)."""
    made = cut_scenarios(
        catalog, work / "data", rules, scale=scale, seed=seed, in_proportion=True, max_queries=max_queries
    )
    answers = answers_from_catalog(catalog, made.scenarios)
    labelled = _part(catalog, made.scenarios)
    return QuestionSheet(made.folder, made.scenarios, answers, labelled, made.left_out, False)


def take_published(folder: Path, work: Path, rules: Sequence[ScenarioRule], answers: Path | None) -> QuestionSheet:
    """Take the scenarios that a folder names itself, as they are.

    Args:
        folder: the data folder: metadata.csv, images, query_scenarios.csv, queries, databases.
        work: where the folder without labels is written, as ``data``.
        rules: whose scenarios are asked, by name; all of the folder's if it has none of these names.
        answers: CSV of the true matches, or a labelled catalogue; None where metadata.csv itself has individuals.

    Raises:
        CatalogError: the folder cannot be read, or nothing says which matches are right.
    """
    catalog = Catalog.read(folder, format="challenge")
    everything = read_scenarios(folder, catalog.ids)
    wanted = {rule.scenario_id for rule in rules}
    scenarios = [s for s in everything if s.scenario_id in wanted] or everything
    table, labelled = _labels(catalog, scenarios, answers, folder)
    write_layout(catalog, scenarios, work / "data")
    sizes = {(len(s), len(s.database)) for s in scenarios}
    official = {(rule.n_queries, rule.n_database) for rule in CHALLENGE_SCENARIOS}
    missing = sorted(wanted - {s.scenario_id for s in scenarios})
    left_out = dict.fromkeys(missing, "it is not among the scenarios of this folder")
    return QuestionSheet(
        work / "data", tuple(scenarios), table, _part(labelled, scenarios), left_out, sizes == official
    )


def _labels(
    catalog: Catalog, scenarios: Sequence[Scenario], answers: Path | None, folder: Path
) -> tuple[pd.DataFrame, Catalog]:
    """Return the true matches and the catalogue with individuals."""
    if answers is None:
        if catalog.table["individual_id"].isna().all():
            raise CatalogError(
                f"{folder / 'metadata.csv'} names no individuals, so nothing says which matches are right: "
                "give a CSV of true matches (query_id, database_image_id) or a labelled catalogue by --answers"
            )
        return answers_from_catalog(catalog, scenarios), catalog
    if answers.is_file() and answers.suffix.lower() == ".csv":
        header = set(pd.read_csv(answers, nrows=0).columns)
        if {"query_id", "database_image_id"} <= header:
            return _matches_of(read_answers(answers)[0], catalog, scenarios, answers)
    known = Catalog.read(answers).table
    columns = ["individual_id", "encounter_id", "timestamp"]
    if not known["image_id"].isin(catalog.ids).any():
        # A COCO file gives its annotations ids of their own; the files keep their names.
        known = known.assign(image_id=[Path(path).stem for path in known["path"]])
        known = known[~known["image_id"].duplicated(keep=False)]
    if not known["image_id"].isin(catalog.ids).any():
        raise CatalogError(f"{answers}: none of its image ids or file names occurs in {folder / 'metadata.csv'}")
    found = known.set_index("image_id")[columns].reindex(catalog.ids).reset_index(drop=True)
    labelled = Catalog(catalog.table.assign(**{name: found[name] for name in columns}), catalog.root, catalog.source)
    return answers_from_catalog(labelled, scenarios), labelled


def _matches_of(
    table: pd.DataFrame, catalog: Catalog, scenarios: Sequence[Scenario], file: Path
) -> tuple[pd.DataFrame, Catalog]:
    """Return the matches of the scenarios asked and, as individuals, what they join: nothing else names the whales."""
    queries = pd.concat([s.queries.assign(scenario_id=s.scenario_id) for s in scenarios], ignore_index=True)
    asked = queries.set_index("query_id")
    matches = table[table["query_id"].isin(asked.index)][["query_id", "database_image_id"]].reset_index(drop=True)
    if matches.empty:
        raise CatalogError(f"{file}: none of its queries is one of the scenarios'")
    unknown = matches["database_image_id"][~matches["database_image_id"].isin(catalog.ids)]
    if len(unknown):
        raise CatalogError(f"{file}: {unknown.iloc[0]!r} is not in metadata.csv ({len(unknown)} such rows)")
    matches["scenario_id"] = asked["scenario_id"].reindex(matches["query_id"]).to_numpy()
    images = asked["query_image_id"].reindex(matches["query_id"]).tolist()
    rows = np.array([catalog.position(i) for i in images])
    columns = np.array([catalog.position(i) for i in matches["database_image_id"]])
    links = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(catalog), len(catalog)))
    groups = connected_components(links, directed=False)[1]
    names = [f"individual-{group:05d}" for group in groups]
    return matches, Catalog(catalog.table.assign(individual_id=names), catalog.root, catalog.source)


def _part(catalog: Catalog, scenarios: Sequence[Scenario]) -> Catalog:
    used = used_by(scenarios)
    return catalog.subset([image_id for image_id in catalog.ids if image_id in used])
