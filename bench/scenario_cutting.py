"""Cutting the challenge's ten scenarios out of a labelled catalogue, in the challenge's own layout.

The rules are :data:`engine.competitions.challenge_scenarios.CHALLENGE_SCENARIOS`, with the sizes as upper limits.
"""

from __future__ import annotations

import math
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.relations import Protocol, Relations, select, years_of
from engine.catalogue.catalog import Catalog
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, ScenarioRule
from engine.competitions.scenarios import Scenario, answers_from_catalog, write_scenarios
from engine.competitions.submission import write_answers
from scarmatch.errors import ScarmatchError

TEST_COLUMNS = ["image_id", "path", "height", "width", "viewpoint", "date"]
TRAIN_COLUMNS = [*TEST_COLUMNS, "timestamp", "whale_id", "encounter_id"]


class CuttingError(ScarmatchError, ValueError):
    """Scenarios cannot be cut or written; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class CutScenarios:
    """What was cut and where it lies.

    Attributes:
        folder: the data folder: metadata.csv, images/, query_scenarios.csv, queries/, databases/.
        answers: the CSV of all true matches (query_id, database_image_id, scenario_id), outside the folder.
        scenarios: the scenarios.
        left_out: scenario_id -> why this catalogue cannot have it.
    """

    folder: Path
    answers: Path
    scenarios: tuple[Scenario, ...]
    left_out: dict[str, str]


def cut_scenarios(
    catalog: Catalog,
    output_dir: str | Path,
    rules: Sequence[ScenarioRule] = CHALLENGE_SCENARIOS,
    *,
    scale: float | None = 1.0,
    seed: int = 0,
    test_columns_only: bool = True,
    link: bool = True,
    answers: str | Path | None = None,
    in_proportion: bool = False,
    max_queries: int | None = None,
) -> CutScenarios:
    """Cut scenarios from a labelled catalogue and write them as the challenge's data folder.

    Databases are drawn first; queries are drawn among the photographs that have a match there. A scenario that the
    catalogue has no photographs for is left out, and the reason reported.

    Args:
        catalog: labelled photographs with viewpoints and dates.
        output_dir: the data folder to make; must not exist, or be empty.
        rules: what to cut.
        scale: factor on the rules' sizes, None for all that is there.
        seed: of the drawing; each scenario has its own, so leaving some out changes none of the others.
        test_columns_only: leave out timestamp, whale_id and encounter_id, as the hidden test set does.
        link: make symbolic links to the photographs (copies where the system refuses, or where only a box of a
            photograph is used).
        answers: where to write the answers; by default beside the folder, NAME-answers.csv.
        in_proportion, max_queries: as for :func:`choose_scenarios`.

    Raises:
        CuttingError: the folder holds something, the answers would lie inside it, or nothing can be cut.
    """
    folder = Path(output_dir).absolute()
    target = Path(answers).absolute() if answers is not None else folder.with_name(f"{folder.name}-answers.csv")
    if folder.exists() and any(folder.iterdir()):
        raise CuttingError(f"{folder} is not empty: name a new folder, or empty this one")
    if target.is_relative_to(folder):
        raise CuttingError(f"the answers must not lie inside the data folder: {target}")
    scenarios, left_out = choose_scenarios(
        catalog, rules, scale=scale, seed=seed, in_proportion=in_proportion, max_queries=max_queries
    )
    if not scenarios:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise CuttingError(f"no scenario can be cut from {catalog.root} ({reasons})")
    write_layout(catalog, scenarios, folder, test_columns_only=test_columns_only, link=link)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_answers(answers_from_catalog(catalog, scenarios), target)
    return CutScenarios(folder, target, tuple(scenarios), left_out)


def used_by(scenarios: Sequence[Scenario]) -> set[str]:
    """Return the image ids of all queries and databases."""
    return {i for s in scenarios for i in (*s.database, *s.queries["query_image_id"])}


def write_layout(
    catalog: Catalog,
    scenarios: Sequence[Scenario],
    folder: str | Path,
    *,
    test_columns_only: bool = True,
    link: bool = True,
) -> None:
    """Write scenarios and the photographs that they use as a data folder (see :func:`cut_scenarios`)."""
    target = Path(folder).absolute()
    rows = catalog.table[catalog.table["image_id"].isin(list(used_by(scenarios)))]
    _write_photographs(rows, target, test_columns_only, link)
    write_scenarios(scenarios, target)


def choose_scenarios(
    catalog: Catalog,
    rules: Sequence[ScenarioRule] = CHALLENGE_SCENARIOS,
    *,
    scale: float | None = 1.0,
    seed: int = 0,
    in_proportion: bool = False,
    max_queries: int | None = None,
) -> tuple[list[Scenario], dict[str, str]]:
    """Draw the scenarios without writing anything; return them and why others cannot be had.

    Args:
        catalog, rules, scale, seed: as for :func:`cut_scenarios`.
        in_proportion: where a database falls short of its rule's size, take as much fewer queries, so that a small
            catalogue is asked as sparsely as the challenge's was.
        max_queries: at most so many queries a scenario, whatever its rule says; databases stay whole.
    """
    if scale is not None and scale <= 0:
        raise CuttingError(f"scale={scale} must be positive (None for all that is there)")
    if max_queries is not None and max_queries < 1:
        raise CuttingError(f"max_queries={max_queries} must be at least 1 (None for the rules' own sizes)")
    years = years_of(catalog)
    scenarios: list[Scenario] = []
    left_out: dict[str, str] = {}
    for rule in rules:
        wanted = [*(rule.query_years or ()), *(rule.database_years or ())]
        if wanted and max(wanted) >= len(years):
            left_out[rule.scenario_id] = (
                f"needs {max(wanted) + 1} years of photographs from above, there are {len(years)}"
            )
            continue
        rng = np.random.default_rng([seed, zlib.crc32(rule.scenario_id.encode())])
        found = _draw(catalog, rule, years, scale, rng, in_proportion, max_queries)
        if isinstance(found, str):
            left_out[rule.scenario_id] = found
        else:
            scenarios.append(found)
    return scenarios, left_out


def _draw(
    catalog: Catalog,
    rule: ScenarioRule,
    years: list[int],
    scale: float | None,
    rng: np.random.Generator,
    in_proportion: bool,
    max_queries: int | None,
) -> Scenario | str:
    """Draw one scenario; return the reason in words where there is none."""

    def pool(views: tuple[str, ...], positions: tuple[int, ...] | None) -> tuple[str, ...]:
        return select(catalog, views, None if positions is None else [years[p] for p in positions])

    database = _sample(pool(rule.database_views, rule.database_years), rule.n_database, scale, rng)
    queries = database if rule.leave_one_out else pool(rule.query_views, rule.query_years)
    if not database or not queries:
        return f"no photographs for the {'database' if not database else 'queries'}"
    relations = Relations(Protocol(rule.scenario_id, queries, database), catalog)
    askable = tuple(q for q, n in zip(queries, relations.n_relevant, strict=True) if n)
    if not askable:
        return "no query has a match in the database"
    share = scale
    if in_proportion and scale is not None:
        share = min(scale, len(database) / rule.n_database)
    chosen = _sample(askable, rule.n_queries, share, rng)
    chosen = _sample(chosen, len(chosen) if max_queries is None else max_queries, 1.0, rng)
    names = [f"{rule.scenario_id}-{i:04d}" for i in range(len(chosen))]
    table = pd.DataFrame({"query_id": names, "query_image_id": list(chosen)}, dtype=object)
    return Scenario(rule.scenario_id, table, list(database))


def _sample(ids: tuple[str, ...], size: int, scale: float | None, rng: np.random.Generator) -> tuple[str, ...]:
    """Return at most ``size * scale`` of the ids, drawn at random, in their own order."""
    limit = len(ids) if scale is None else min(len(ids), max(1, math.ceil(size * scale)))
    return tuple(ids[i] for i in sorted(rng.permutation(len(ids))[:limit]))


def _write_photographs(table: pd.DataFrame, folder: Path, test_columns_only: bool, link: bool) -> None:
    """Write ``metadata.csv`` and ``images/``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for row in table.to_dict("records"):
        source = Path(row["path"])
        boxed = row["box"] is not None
        name = f"images/{row['image_id']}{'.png' if boxed else source.suffix.lower() or '.jpg'}"
        if not (folder / name).resolve().is_relative_to((folder / "images").resolve()):
            raise CuttingError(f"the image id {row['image_id']!r} cannot be a file name")
        _place(source, row["box"], folder / name, link)
        width, height = _size(row)
        date, timestamp = row["date"], row["timestamp"]
        rows.append(
            {
                "image_id": row["image_id"],
                "path": name,
                "height": height,
                "width": width,
                "viewpoint": row["viewpoint"],
                "date": None if pd.isna(date) else f"{date:%Y-%m-%d}",
                "timestamp": None if pd.isna(timestamp) else f"{timestamp:%Y-%m-%d %H:%M:%S}",
                "whale_id": row["individual_id"],
                "encounter_id": row["encounter_id"],
            }
        )
    columns = TEST_COLUMNS if test_columns_only else TRAIN_COLUMNS
    pd.DataFrame(rows, columns=TRAIN_COLUMNS)[columns].to_csv(folder / "metadata.csv", index=False)


def _place(source: Path, box: tuple[int, int, int, int] | None, target: Path, link: bool) -> None:
    """Put one photograph where the layout wants it: a link, a copy, or the box of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if box is not None:
        from PIL import Image

        from features.photo import read_photo

        Image.fromarray(read_photo(source, box).rgb).save(target)
        return
    if link:
        try:
            target.symlink_to(source.resolve())
            return
        except (OSError, NotImplementedError):
            pass  # some systems and file systems have no links
    shutil.copyfile(source, target)


def _size(row: dict) -> tuple[int, int]:
    """Return (width, height) of a catalogue's row, from the file where the table does not know it."""
    if not (pd.isna(row["width"]) or pd.isna(row["height"])):
        return int(row["width"]), int(row["height"])
    if row["box"] is not None:
        return int(row["box"][2]), int(row["box"][3])
    from features.photo import image_size

    return image_size(row["path"])
