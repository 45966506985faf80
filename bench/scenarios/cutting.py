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

from bench.protocols import select, years_of
from engine.catalogue.catalog import Catalog
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, ScenarioRule
from engine.competitions.scenarios import Scenario, answers_from_catalog, write_scenarios
from engine.competitions.submission import write_answers
from features.photo import image_size, read_photo
from scarmatch.errors import ScarmatchError

#: What the hidden test set tells of a photograph.
COLUMNS = ["image_id", "path", "height", "width", "viewpoint", "date"]


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
    answers: str | Path | None = None,
    in_proportion: bool = False,
    max_queries: int | None = None,
) -> CutScenarios:
    """Cut scenarios from a labelled catalogue and write them as the challenge's data folder, without labels.

    Args:
        catalog, rules, scale, seed, in_proportion, max_queries: as for :func:`choose_scenarios`.
        output_dir: the data folder to make; must not exist, or be empty.
        answers: where to write the answers; by default beside the folder, NAME-answers.csv.

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
    write_layout(catalog, scenarios, folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_answers(answers_from_catalog(catalog, scenarios), target)
    return CutScenarios(folder, target, tuple(scenarios), left_out)


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

    Databases are drawn first; queries are drawn among the photographs that have a match there. A scenario that the
    catalogue has no photographs for is left out, and the reason reported.

    Args:
        catalog: labelled photographs with viewpoints and dates.
        rules: what to cut.
        scale: factor on the rules' sizes, None for all that is there.
        seed: of the drawing; each scenario has its own, so leaving some out changes none of the others.
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
        needed = max([*(rule.query_years or ()), *(rule.database_years or ()), -1]) + 1
        if needed > len(years):
            left_out[rule.scenario_id] = f"needs {needed} years of photographs from above, there are {len(years)}"
            continue
        rng = np.random.default_rng([seed, zlib.crc32(rule.scenario_id.encode())])
        found = _draw(catalog, rule, years, scale, in_proportion, rng, max_queries)
        if isinstance(found, str):
            left_out[rule.scenario_id] = found
        else:
            scenarios.append(found)
    return scenarios, left_out


def _pool(
    catalog: Catalog, views: tuple[str, ...], years: list[int], positions: tuple[int, ...] | None
) -> tuple[str, ...]:
    return select(catalog, views, None if positions is None else [years[p] for p in positions])


def _draw(
    catalog: Catalog,
    rule: ScenarioRule,
    years: list[int],
    scale: float | None,
    in_proportion: bool,
    rng: np.random.Generator,
    max_queries: int | None,
) -> Scenario | str:
    """Draw one scenario; return the reason in words where there is none."""
    database = _sample(_pool(catalog, rule.database_views, years, rule.database_years), rule.n_database, scale, rng)
    pool = database if rule.leave_one_out else _pool(catalog, rule.query_views, years, rule.query_years)
    if not database or not pool:
        return f"no photographs for the {'queries' if database else 'database'}"
    # A query has a match if its individual is in the database in another photograph than itself.
    names, searched = catalog.table.set_index("image_id")["individual_id"], set(database)
    counts = names[list(database)].value_counts()
    askable = tuple(q for q in pool if counts.get(names[q], 0) > (q in searched))
    if not askable:
        return "no query has a match in the database"
    share = scale if scale is None or not in_proportion else min(scale, len(database) / rule.n_database)
    chosen = _sample(askable, rule.n_queries, share, rng)
    chosen = _sample(chosen, len(chosen) if max_queries is None else max_queries, 1.0, rng)
    ids = [f"{rule.scenario_id}-{i:04d}" for i in range(len(chosen))]
    table = pd.DataFrame({"query_id": ids, "query_image_id": list(chosen)}, dtype=object)
    return Scenario(rule.scenario_id, table, list(database))


def _sample(ids: tuple[str, ...], size: int, scale: float | None, rng: np.random.Generator) -> tuple[str, ...]:
    """Return at most ``size * scale`` of the ids, drawn at random, in their own order."""
    limit = len(ids) if scale is None else min(len(ids), max(1, math.ceil(size * scale)))
    return tuple(ids[i] for i in sorted(rng.permutation(len(ids))[:limit]))


def used_by(scenarios: Sequence[Scenario]) -> set[str]:
    """Return the image ids of all queries and databases."""
    return {i for s in scenarios for i in (*s.database, *s.queries["query_image_id"])}


def write_layout(catalog: Catalog, scenarios: Sequence[Scenario], folder: Path) -> None:
    """Write scenarios and the photographs that they use as a data folder; photographs are links where there are any."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    used, rows = used_by(scenarios), []
    for row in catalog.table[catalog.table["image_id"].isin(list(used))].to_dict("records"):
        source, box = Path(row["path"]), row["box"]
        name = f"images/{row['image_id']}{'.png' if box is not None else source.suffix.lower() or '.jpg'}"
        if not (folder / name).resolve().is_relative_to((folder / "images").resolve()):
            raise CuttingError(f"the image id {row['image_id']!r} cannot be a file name")
        _place(source, box, folder / name)
        known = pd.notna(row["width"]) and pd.notna(row["height"])
        width, height = (
            (int(row["width"]), int(row["height"])) if known else image_size(source) if box is None else box[2:]
        )
        date = None if pd.isna(row["date"]) else f"{row['date']:%Y-%m-%d}"
        rows.append((row["image_id"], name, height, width, row["viewpoint"], date))
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "metadata.csv", index=False)
    write_scenarios(scenarios, folder)


def _place(source: Path, box: tuple[int, int, int, int] | None, target: Path) -> None:
    """Put one photograph where the layout wants it: a link, a copy where the system refuses, or the box of it."""
    from PIL import Image

    target.parent.mkdir(parents=True, exist_ok=True)
    if box is not None:
        Image.fromarray(read_photo(source, box).rgb).save(target)
        return
    try:
        target.symlink_to(source.resolve())
    except (OSError, NotImplementedError):
        shutil.copyfile(source, target)
