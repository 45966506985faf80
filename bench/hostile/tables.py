"""Hostile tables: valid catalogues of every layout, mutated, read, and held against what is true of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import random
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

from bench.hostile.byte_mutations import Mutation
from bench.hostile.json_mutations import FOLDERS, JSON
from bench.hostile.outcome import Outcome
from bench.hostile.table_documents import LAYOUTS, Document, Truth, make_document, make_photographs, write_document
from bench.hostile.table_mutations import TABLE
from bench.memory import peak_mib
from engine.catalogue.catalog import Catalog
from engine.catalogue.check import check_catalog
from engine.catalogue.formats import read_catalog
from engine.catalogue.problems import Problems
from scarmatch.errors import ScarmatchError

SECONDS = 10.0
"""An input of a few rows that takes longer counts as a hang."""


class _Hang(Exception):
    """The input took longer than :data:`SECONDS`."""


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Read ``count`` mutated catalogues.

    An input is *accepted* where the table is what is true of it, or something was said; *silent* where it is not and
    nothing was (neither an error, nor a warning, nor a note). Damage to bytes and odd values of which nobody can say
    what they mean are accepted however they are read. Every input is read strictly, read with a ledger, and checked.

    Args:
        count: inputs.
        seed: of everything that is drawn; the same inputs come of it every time.
        folder: an empty folder to work in.
    """
    outcome = Outcome()
    chance = random.Random(seed)
    make_photographs(folder)
    logging.getLogger("engine.catalogue").addHandler(logging.NullHandler())
    for number in range(count):
        layout = LAYOUTS[number % len(LAYOUTS)]
        document, names = _mutated(layout, chance)
        outcome.inputs += 1
        what = f"tables, seed {seed}, input {number}: {layout}, {' + '.join(names)}"
        try:
            path = write_document(document, folder)
            with _within(SECONDS):
                fault = _judge(document, path, folder)
        except _Hang:
            outcome.hangs += 1
            outcome.faults.append(f"{what}: no answer in {SECONDS:g} s")
        except ScarmatchError:
            outcome.refused += 1
        except Exception as error:
            outcome.tracebacks += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome.faults.append(f"{what}: {type(error).__name__}: {error} ({place.filename}:{place.lineno})"[:500])
        else:
            outcome.silent += fault is not None
            outcome.accepted += fault is None
            if fault is not None:
                outcome.faults.append(f"{what}: {fault}")
    outcome.peak_bytes = int(peak_mib() * 2**20)
    return outcome


def _mutated(layout: str, chance: random.Random) -> tuple[Document, list[str]]:
    """Return a document with one mutation, or sometimes a few, and their names."""
    document = make_document(layout, chance)
    mutations: tuple[Mutation, ...] = FOLDERS if layout == "folders" else TABLE if document.rows else JSON
    chosen = chance.sample(mutations, chance.choice([1, 1, 1, 2, 3]))
    names = []
    for mutation in sorted(set(chosen), key=mutations.index):
        mutation(document, chance)
        names.append(mutation.__name__)
    return document, names


def _judge(document: Document, path: Path, folder: Path) -> str | None:
    """Read a document in every way; what is wrong with the reading in silence, None if nothing is.

    Raises:
        ScarmatchError: the document is refused.
    """
    ledger = Problems(strict=False)
    reading = read_catalog(path, problems=ledger)
    check_catalog(path, decode=False, workers=1)
    catalog = Catalog(reading.table, reading.root, reading.source)
    if any(problem.severity == "error" for problem in ledger):
        Catalog.read(path)
        return "errors were noted, and a strict reading did not stop at them"
    if document.open_ended or len(ledger):
        return None
    if document.told:
        return "what cannot be read right was read without a word"
    return _difference(catalog.table, document.truth, path if path.is_dir() else folder)


def _difference(table: pd.DataFrame, truth: list[Truth], folder: Path) -> str | None:
    """Return the first thing in which a table is not what is true, None if it is."""
    rows = {str(row["image_id"]): row for row in table.to_dict("records")}
    if set(rows) != {item.image_id for item in truth}:
        return f"photographs {sorted(rows)} instead of {sorted(item.image_id for item in truth)}"
    for item in truth:
        row = rows[item.image_id]
        for name, expected in _expected(item, folder).items():
            found = _plain(row[name])
            if found != expected and not (name == "encounter_id" and expected is None):
                return f"{name} of {item.image_id} is {found!r} instead of {expected!r}"
    return None


def _expected(item: Truth, folder: Path) -> dict[str, Any]:
    moment = dt.datetime.combine(item.date, item.time) if item.date and item.time else None
    return {
        "path": str((folder / item.file).resolve()),
        "individual_id": item.individual,
        "viewpoint": item.viewpoint,
        "encounter_id": item.encounter,
        "species": item.species,
        "date": None if item.date is None else dt.datetime.combine(item.date, dt.time()),
        "timestamp": moment,
        "box": item.box,
    }


def _plain(value: Any) -> Any:
    """Return a cell as plain Python, a path as the file that it leads to."""
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    return str(Path(value).resolve()) if isinstance(value, str) and value.startswith("/") else value


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Interrupt the block after a time (in the main thread, where signals arrive)."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
