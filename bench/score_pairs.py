"""Any list of pairs scored by local evidence alone: no date, no global descriptor, no list.

::

    python -m bench pairs --catalog DIR --pairs FILE.csv --output FILE.csv

FILE.csv has the columns image_id0 and image_id1; the output has the same rows and a column ``score``: the higher, the
likelier both photographs show one individual. A pair with an unreadable photograph gets 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bench.held_out import EVERYBODY, settings_for
from bench.progress import Progress
from engine.catalogue.catalog import Catalog, CatalogError
from engine.search.matcher import Matcher
from reranker.local_evidence import LocalEvidence

SIDES = ("image_id0", "image_id1")


def score_pairs(catalog: Catalog, pairs: pd.DataFrame, matcher: Matcher) -> pd.DataFrame:
    """Return the pairs with their ``score``: the log-odds of one individual by the shipped weights.

    Raises:
        CatalogError: a pair names a photograph that the catalogue does not have.
    """
    both = list(zip(*(pairs[side].astype(str) for side in SIDES), strict=True))
    names = list(dict.fromkeys(name for pair in both for name in pair))
    unknown = [name for name in names if name not in catalog]
    if unknown:
        raise CatalogError(f"{catalog.root}: no photograph {unknown[0]!r} ({len(unknown)} of the pairs' are missing)")
    index = matcher.index(catalog.subset(names), Progress("photographs"))
    readable = np.array([a in index.catalog and b in index.catalog for a, b in both], bool)
    scores = np.zeros(len(both))
    if readable.any():
        asked = [pair for pair, good in zip(both, readable, strict=True) if good]
        scores[readable] = LocalEvidence.shipped().score(matcher.compare(asked, index, progress=Progress("pairs")))
    return pairs.assign(score=scores)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score a file of pairs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench pairs", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--catalog", type=Path, required=True, help="the photographs")
    parser.add_argument("--pairs", type=Path, required=True, help="CSV with image_id0, image_id1")
    parser.add_argument("--output", type=Path, required=True, help="CSV for the scores")
    parser.add_argument("--store", type=Path, help="store's folder (default: your cache folder)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    options = parser.parse_args(arguments)
    try:
        pairs = pd.read_csv(options.pairs, dtype=str)
    except (OSError, ValueError) as error:
        raise CatalogError(f"{options.pairs}: cannot be read as CSV: {error}") from None
    for side in SIDES:
        if side not in pairs.columns:
            raise CatalogError(f"{options.pairs}: lacks the column {side}; found: {', '.join(pairs.columns)}")
    # Somebody's question, not a measurement of ours: it is answered by what ships.
    matcher = Matcher(settings_for(EVERYBODY, options.overrides), options.store, "fusion", options.workers)
    try:
        score_pairs(Catalog.read(options.catalog), pairs, matcher).to_csv(options.output, index=False)
    finally:
        matcher.close()
    return 0
