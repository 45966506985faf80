"""The questions that rankings are trained and judged on, and the labelled pairs of their lists."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench.progress import Say, say
from bench.protocols import Protocol, across_years, all_against_all, between_views, within_years
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher
from engine.training.ranker_training import choose_queries, in_turn, labelled_pairs

#: Name of the task of photographs drawn at random.
ANY = "top: any photograph"


def tasks_of(catalog: Catalog, queries: int, seed: int) -> list[Protocol]:
    """Return the tasks: all top views, each year, later against earlier years, both ways between views.

    Queries are photographs whose individual is in the database, individuals in turn: nobody has a second question
    before everybody had one. Years and views get a third of the queries of all top views together.
    """
    tasks = []
    plain = [all_against_all(catalog), *within_years(catalog), *across_years(catalog), *between_views(catalog)]
    for number, protocol in enumerate(plain):
        if not protocol.queries or not protocol.database:
            continue
        known = set(catalog.subset(protocol.database).table["individual_id"])
        asked = catalog.subset([i for i in protocol.queries if catalog.row(i)["individual_id"] in known])
        count = queries if number == 0 else max(1, queries // 3)
        chosen = choose_queries(asked, count, seed) if number == 0 else in_turn(asked.table, count, seed)
        tasks.append(Protocol(protocol.name, tuple(sorted(chosen, key=catalog.position)), protocol.database))
    return tasks


def any_photograph(catalog: Catalog, count: int, seed: int) -> Protocol | None:
    """Return the task of so many photographs from above drawn at random, of those whose individual has another one.

    So a next photograph is drawn: whales that are often seen are often asked. None where there is nothing to ask.
    """
    everything = all_against_all(catalog)
    table = catalog.subset(everything.queries).table
    again = table["image_id"][table.groupby("individual_id")["image_id"].transform("size") > 1].to_numpy(str)
    chosen = np.random.default_rng(seed).permutation(again)[:count]
    if not len(chosen):
        return None
    return Protocol(ANY, tuple(sorted(chosen.tolist(), key=catalog.position)), everything.database)


def add_photographs(parser: argparse.ArgumentParser) -> None:
    """Add the option of those who ask :func:`any_photograph`."""
    parser.add_argument(
        "--photographs",
        type=int,
        default=400,
        metavar="N",
        help="photographs from above drawn at random that are asked beside, of each half (400; 0 for none)",
    )


def gather(tasks: Sequence[Protocol], index: CatalogIndex, matcher: Matcher, say: Say = say) -> pd.DataFrame:
    """Return the labelled raw pairs of all tasks in one table, query ids prefixed by "task|".

    Pairs that the store knows are not matched again, so a run that was stopped goes on where it was.
    """
    tables = []
    for task in tasks:
        say(f"{task.name}: {len(task.queries)} queries against {len(task.database):,}")
        raw = labelled_pairs(index.subset(list(task.queries)), index.subset(list(task.database)), matcher)
        tables.append(raw.assign(query_id=task.name + "|" + raw["query_id"].astype(str)))
    return pd.concat(tables, ignore_index=True)
