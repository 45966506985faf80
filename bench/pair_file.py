"""The labelled pairs of :mod:`bench.accuracy`, gathered once and kept in a file that several measurements share.

::

    python -m bench.ablation    CATALOG --pairs pairs.npz --store DIR     (gathers and writes the file)
    python -m bench.tuning      CATALOG --pairs pairs.npz                 (reads it: no photograph is touched)
    python -m bench.reliability CATALOG --pairs pairs.npz

The file is NumPy's .npz without pickled objects: one array per column of the raw pair table, and what it was made with.
Gathering costs what the pairs cost (about 33,000 at 40 a second with the default number of queries), less what the
store already knows; everything after it is a matter of minutes.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.accuracy import gather, tasks_of
from bench.held_out import SOURCE, measured_part
from bench.out_of_fold import add_options as add_measuring_options
from bench.out_of_fold import matcher_from
from bench.progress import say
from engine.catalogue.catalog import Catalog, CatalogError

FORMAT = 1
_ABOUT = "__about__"
#: Where the photographs lie is nobody's business, and no feature.
_DROPPED = ("path0", "path1")


def write_pairs(path: Path, raw: pd.DataFrame, about: dict[str, Any]) -> None:
    """Write a raw pair table; numbers, dates, texts and missing texts come back as they were."""
    arrays: dict[str, npt.NDArray] = {}
    kinds: dict[str, str] = {}
    for name, column in raw.drop(columns=[c for c in _DROPPED if c in raw]).items():
        key = str(name)
        if pd.api.types.is_datetime64_any_dtype(column):
            kinds[key], arrays[key] = "date", column.to_numpy("datetime64[s]").astype(np.int64)
        elif pd.api.types.is_numeric_dtype(column):
            kinds[key], arrays[key] = "number", column.to_numpy()
        else:
            missing = column.isna().to_numpy()
            texts = column.astype(object).where(~missing, "").astype(str)
            kinds[key], arrays[key] = "text", texts.to_numpy(np.str_)
            arrays[f"{key}?"] = missing
    header = json.dumps({"format": FORMAT, "kinds": kinds, "about": about})
    partial = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
    np.savez_compressed(partial, allow_pickle=False, **{_ABOUT: np.array(header)}, **arrays)
    partial.replace(path)


def read_pairs(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read what :func:`write_pairs` wrote: the table, and what it was made with.

    Raises:
        CatalogError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            header = json.loads(str(content[_ABOUT]))
            if header.get("format") != FORMAT:
                raise ValueError(f"format {header.get('format')}, this version reads {FORMAT}")
            columns: dict[str, Any] = {}
            for name, kind in header["kinds"].items():
                values = content[name]
                if kind == "date":
                    values = values.astype("datetime64[s]")
                elif kind == "text":
                    values = values.astype(object)
                    values[content[f"{name}?"]] = None
                columns[name] = values
    except (OSError, ValueError, KeyError) as error:
        raise CatalogError(f"{path}: no file of pairs ({error}); delete it to have it gathered anew") from None
    return pd.DataFrame(columns), header["about"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`pairs_from`."""
    add_measuring_options(parser, ranker=False)
    parser.add_argument("--pairs", type=Path, metavar="FILE.npz", help="read the pairs from here, or keep them here")
    parser.add_argument("--queries", type=int, default=160, help="queries of the first task (160); others get a third")


def pairs_from(options: argparse.Namespace) -> pd.DataFrame:
    """Return the labelled raw pair table that the options ask for, from the file if it is there.

    Raises:
        CatalogError: the file was made with other settings.
    """
    matcher = matcher_from(options)
    about = {
        "individuals": options.individuals,
        "queries": options.queries,
        "seed": options.seed,
        "settings": matcher.settings.fingerprint(),
    }
    if options.pairs is not None and options.pairs.is_file():
        raw, found = read_pairs(options.pairs)
        differing = [name for name, value in about.items() if found.get(name) != value]
        if differing:
            raise CatalogError(
                f"{options.pairs} was gathered with other {', '.join(differing)} "
                f"({', '.join(f'{name}={found.get(name)}' for name in differing)}): ask for the same, or delete it"
            )
        return raw
    catalog = measured_part(Catalog.read(options.catalog), options.individuals)
    index = matcher.index(catalog)
    raw, seconds = gather(tasks_of(index.catalog, options.queries, options.seed), index, matcher, say)
    say(f"{len(raw):,} pairs in {seconds:.0f} s")
    if options.pairs is not None:
        write_pairs(options.pairs, raw, about)
    return raw


def protocol_from(options: argparse.Namespace) -> dict[str, Any]:
    """Return how it was measured, for the result."""
    names = ("individuals", "queries", "seed", "folds")
    return {"source": SOURCE, **{name: getattr(options, name) for name in names}}
