"""The challenge's own layout in, a valid submission out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from engine.catalogue.catalog import Catalog, CatalogError
from engine.competitions.scenarios import Scenario, read_scenarios
from engine.competitions.submission import COLUMNS, LIMIT, write_submission

if TYPE_CHECKING:
    from engine.catalogue.index import CatalogIndex, Progress
    from engine.search.matcher import Matcher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ChallengeRun:
    """What :func:`rank_challenge` did.

    Attributes:
        submission: the table as it was written (query_id, database_image_id, score).
        scenarios: the scenarios asked.
        unanswered: queries whose photograph could not be read or that had no candidate.
    """

    submission: pd.DataFrame
    scenarios: tuple[Scenario, ...]
    unanswered: tuple[str, ...]


def rank_challenge(
    data_dir: Path | str,
    output: Path | str,
    matcher: Matcher,
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
) -> ChallengeRun:
    """Answer every query of a challenge folder and write the submission.

    Args:
        data_dir: folder with ``metadata.csv`` (columns of the test set suffice), ``images/``, ``query_scenarios.csv``,
            ``queries/`` and ``databases/``.
        output: the submission's CSV file.
        matcher: how to match.
        progress: called with (done, total) of whatever is at work.
        announce: called with one line as each stage begins.

    Raises:
        CatalogError: the folder is no challenge folder, or names photographs that it does not have.
    """
    folder = Path(data_dir)
    catalog = Catalog.read(folder, format="challenge")
    scenarios = read_scenarios(folder, catalog.ids)
    if not scenarios:
        raise CatalogError(f"{folder / 'query_scenarios.csv'} names no scenario")
    say = announce or logger.info
    used = {image_id for s in scenarios for image_id in (*s.database, *s.queries["query_image_id"])}
    say(f"describing {len(used):,} photographs")
    index = matcher.index(catalog.subset([image_id for image_id in catalog.ids if image_id in used]), progress)
    parts, unanswered = [], []
    for scenario in scenarios:
        say(f"{scenario.scenario_id}: {len(scenario):,} queries against {len(scenario.database):,} photographs")
        answers = answer_scenario(scenario, index, matcher, progress)
        parts.append(answers)
        answered = set(answers["query_id"])
        unanswered += [name for name in scenario.queries["query_id"] if name not in answered]
    for name in unanswered:
        logger.warning("query %s has no answer: its photograph is unreadable or it has no candidate", name)
    written = write_submission(pd.concat(parts, ignore_index=True), output)
    return ChallengeRun(written, tuple(scenarios), tuple(unanswered))


def answer_scenario(
    scenario: Scenario, index: CatalogIndex, matcher: Matcher, progress: Progress | None = None
) -> pd.DataFrame:
    """Return query_id, database_image_id, score of one scenario, best first; the query itself is never returned."""
    images = list(dict.fromkeys(scenario.queries["query_image_id"]))
    answers = matcher.match(index.subset(images), index.subset(scenario.database), top=LIMIT, progress=progress)
    named = scenario.queries.rename(columns={"query_id": "asked_id"}).merge(
        answers, left_on="query_image_id", right_on="query_id", how="inner", sort=False
    )
    return named[["asked_id", "image_id", "probability"]].set_axis(COLUMNS, axis=1)
