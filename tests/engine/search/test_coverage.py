"""What a search says that it compared, against what the made pool was asked."""

from __future__ import annotations

import numpy as np

from engine.catalogue.catalog import CandidateFilter
from engine.search.candidates import ShortlistSettings
from engine.search.coverage import coverage
from engine.search.pipeline import search
from tests.engine.search.made_index import MadePool, made_index


def test_the_counts_are_those_of_the_search() -> None:
    views = ["top", "top", "left", "top", None, "right"]
    index = made_index(np.eye(6) + 0.1, individual_id=[None] * 6, encounter_id=[None] * 6, viewpoint=views)
    index.catalog.table["date"] = np.datetime64("NaT")
    queries, pool = index.subset(["p0", "p2"]), MadePool({("p0", "p1"): 9.0})
    settings = ShortlistSettings(size=5, expansion=1, skin=1, rescore=1)
    raw = search(queries, index, CandidateFilter(), settings, pool)
    counted = coverage(queries, index, CandidateFilter(), raw)
    assert (counted.queries, counted.photographs) == (2, 6)
    assert counted.allowed == 2 * 5, "a query is never its own candidate"
    # p0 from above shares no skin with p2 and p5; p2, a left flank, none with p0, p1, p3.
    assert counted.scored == 3 + 2
    assert counted.matched > counted.closer == len(pool.asked["skin"]) > 0
    listed, among = pool.asked["mutual_nn"][: counted.matched], pool.asked["mutual_nn"][counted.matched :]
    assert {query for query, _ in listed} == {"p0", "p2"} and counted.rescored == len(pool.asked["lightglue"]) > 0
    # What leads both lists is matched with what both hold once, and counted for both.
    assert counted.among >= len(set(among)) == len(among) > 0
    assert f"{counted.among} pairs of candidates matched with one another" in str(counted)
    assert "5 pairs show different sides" in str(counted)


def test_nothing_is_said_of_flanks_where_there_are_none() -> None:
    index = made_index(np.eye(3) + 0.1, individual_id=[None] * 3, encounter_id=[None] * 3, viewpoint=["top"] * 3)
    index.catalog.table["date"] = np.datetime64("NaT")
    queries = index.subset(["p0"])
    raw = search(queries, index, CandidateFilter(), ShortlistSettings(), MadePool({}))
    assert "sides" not in str(coverage(queries, index, CandidateFilter(), raw))
