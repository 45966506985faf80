"""How long the challenge's ten scenarios take, reckoned from measured rates, and settings that keep its limit.

The rates and the machine that they were measured on lie beside this file in ``measured_rates.json``, which
``python -m bench stages CATALOG --save`` writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from engine.search.neighbours import LOCAL_SAMPLE
from reranker.likeness import NEIGHBOURS

if TYPE_CHECKING:
    from engine.search.candidates import ShortlistSettings
    from engine.search.matcher import MatcherSettings

#: The challenge's limit in hours.
HOURS = 3.0
#: Photographs that one core scores a second in the exhaustive search, on a processor without byte products (three times
#: as many with them): the smallest part of a run.
SCORED_PER_SECOND = 4000.0
RATES_FILE = Path(__file__).with_name("measured_rates.json")


@dataclass(frozen=True)
class Rates:
    """What the default settings do in a second, as it was measured.

    Attributes:
        photographs_per_second: photographs described.
        first_stage_pairs_per_second: pairs matched and verified by the first stage (nearest neighbours and skin).
        lightglue_pairs_per_second: pairs that LightGlue matches.
        machine: what they were measured on, as a person reads it.
    """

    photographs_per_second: float
    first_stage_pairs_per_second: float
    lightglue_pairs_per_second: float
    machine: str


@dataclass(frozen=True)
class Estimate:
    """How long scenarios take.

    Attributes:
        photographs: photographs described, at most (as if no two scenarios shared a query).
        pairs: pairs matched, at most.
        hours: at the rates measured.
    """

    photographs: int
    pairs: int
    hours: float

    def __str__(self) -> str:
        return f"{self.pairs:,} pairs and at most {self.photographs:,} photographs: {self.hours:.1f} of {HOURS:g} hours"


def read_rates(file: Path = RATES_FILE) -> Rates:
    """Return the rates that were measured last."""
    return Rates(**json.loads(file.read_text(encoding="utf-8")))


def write_rates(figures: Mapping[str, float], machine: str, file: Path = RATES_FILE) -> None:
    """Keep measured rates, by the names that :class:`Rates` has, for :func:`read_rates`."""
    rates = Rates(
        photographs_per_second=figures["photographs_per_second"],
        first_stage_pairs_per_second=figures["first_stage_pairs_per_second"],
        lightglue_pairs_per_second=figures["lightglue_pairs_per_second"],
        machine=machine,
    )
    file.write_text(json.dumps(asdict(rates), indent=1) + "\n", encoding="utf-8")


def estimate(sizes: Sequence[tuple[int, int]], shortlist: ShortlistSettings, rates: Rates) -> Estimate:
    """Return how long scenarios take at measured rates, every query with a full list and no pair asked twice.

    Args:
        sizes: (queries, database) of each scenario.
        shortlist: how many candidates a query gets, and how many of them LightGlue re-scores.
        rates: what was measured.
    """
    listed = [(queries, shortlist.longest(database)) for queries, database in sizes]
    # What is matched among the candidates of a list is no more than all of them beside its leaders.
    among = sum(queries * min(shortlist.neighbour_pairs, NEIGHBOURS * count) for queries, count in listed)
    pairs = sum(queries * count for queries, count in listed) + among
    rescored = sum(queries * shortlist.rescored(count) for queries, count in listed)
    # Scenarios share photographs: the largest database and every query are an upper bound that is not absurd.
    photographs = max(database for _, database in sizes) + sum(queries for queries, _ in sizes)
    seconds = photographs / rates.photographs_per_second
    scored = sum(queries * database for queries, database in sizes)
    # The leading candidates of every list are compared with the rest of it, and with a sample of the catalogue.
    scored += sum(queries * NEIGHBOURS * (count + LOCAL_SAMPLE) for queries, count in listed)
    seconds += scored / SCORED_PER_SECOND
    seconds += pairs / rates.first_stage_pairs_per_second + rescored / rates.lightglue_pairs_per_second
    return Estimate(photographs, pairs, seconds / 3600.0)


def challenge_estimate(settings: MatcherSettings) -> Estimate:
    """Return how long the challenge's ten scenarios would take at the rates that were measured."""
    sizes = [(scenario.n_queries, scenario.n_database) for scenario in CHALLENGE_SCENARIOS]
    return estimate(sizes, settings.shortlist, read_rates())


def within_hours(settings: MatcherSettings, hours: float) -> MatcherSettings:
    """Return settings with as few re-scored candidates less as bring the challenge's scenarios within so many hours."""
    longest = max(settings.shortlist.longest(scenario.n_database) for scenario in CHALLENGE_SCENARIOS)
    rescored = settings.shortlist.rescored(longest)
    while rescored > 1 and challenge_estimate(settings).hours > hours:
        rescored -= 1
        settings = settings.with_option("shortlist.rescore", str(rescored))
    return settings
