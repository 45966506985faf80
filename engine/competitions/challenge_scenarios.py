"""The ten scenarios of the challenge "Where's Whale-do?": which photographs ask, which are searched, and how many.

The published description names their sizes and what they test: photographs from above against one another over all
years, within one year, and later years against earlier ones; from the side against from above, and back ("Where's
Whale-do?", DrivenData, 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

TOP = ("top",)
LATERAL = ("left", "right")


@dataclass(frozen=True)
class ScenarioRule:
    """What one scenario asks.

    Years are positions among the catalogue's years from the earliest, 0, 1, ...; None means all of them.

    Attributes:
        scenario_id: its name.
        query_views, database_views: viewpoints.
        query_years, database_years: positions of years.
        n_queries, n_database: the challenge's sizes in photographs.
        leave_one_out: queries come out of the database (each is then never a candidate of itself).
    """

    scenario_id: str
    query_views: tuple[str, ...]
    database_views: tuple[str, ...]
    query_years: tuple[int, ...] | None
    database_years: tuple[int, ...] | None
    n_queries: int
    n_database: int
    leave_one_out: bool


CHALLENGE_SCENARIOS: tuple[ScenarioRule, ...] = (
    ScenarioRule("scenario01", TOP, TOP, None, None, 1183, 3290, True),
    ScenarioRule("scenario02", TOP, TOP, (0,), (0,), 567, 633, True),
    ScenarioRule("scenario03", TOP, TOP, (1,), (1,), 616, 2041, True),
    ScenarioRule("scenario04", TOP, TOP, (2,), (2,), 279, 1110, True),
    ScenarioRule("scenario05", TOP, TOP, (1,), (0,), 306, 971, False),
    ScenarioRule("scenario06", TOP, TOP, (2,), (0, 1), 501, 1209, False),
    ScenarioRule("scenario07", TOP, TOP, (2,), (1,), 274, 403, False),
    ScenarioRule("scenario08", TOP, TOP, (2,), (0,), 282, 338, False),
    ScenarioRule("scenario09", LATERAL, TOP, None, None, 102, 318, False),
    ScenarioRule("scenario10", TOP, LATERAL, None, None, 309, 111, False),
)
