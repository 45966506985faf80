"""Capture histories as files: for MARK (and RMark, openCR), and for secr and openCR."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.exports.names import plain_name, renamed, unique_names
from engine.exports.occasions import CaptureHistories, capture_histories
from engine.exports.plain_csv import save_table, save_text
from engine.exports.records import ExportSettings, Written


def write_mark(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write MARK's encounter histories (``.inp``): ``/* NAME */ 0110 1;`` for each individual.

    Comments hold the names, the occasions and MARK's time intervals in years. Two tables lie beside it: individuals
    with first and last seen, and occasions.
    """
    histories = capture_histories(catalog, settings)
    names = unique_names(histories.individuals, lambda name: name.replace("*/", "* /").replace("/*", "/ *"))
    occasions = ", ".join(occasion.name for occasion in histories.occasions)
    intervals = " ".join(f"{years:g}" for years in histories.intervals())
    lines = [f"/* {len(histories.occasions)} occasions: {occasions} */"]
    if intervals:
        lines.append(f"/* time intervals in years: {intervals} */")
    for row, name in enumerate(histories.individuals):
        lines.append(f"/* {names[name]} */ {histories.history(row)} 1;")
    save_text("\n".join(lines) + "\n", output)
    files = (output, *_tables(histories, output, None))
    return Written(files, (*histories.notes, *renamed(names, "individuals")))


def write_secr(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write secr's and openCR's captures, without places: session, animal, occasion, first and last seen.

    The file's first line says how R reads it. Animals have names of letters, digits and dots, which the table of
    individuals beside it translates.
    """
    histories = capture_histories(catalog, settings)
    names = unique_names(histories.individuals, plain_name, ".")
    read = f'read.capthist("{output.name}", detector = "nonspatial", '
    read += f'noccasions = {len(histories.occasions)}, covnames = c("first_seen", "last_seen"))'
    lines = [f"# {read}", "# Session,ID,Occasion,first_seen,last_seen"]
    for row, name in enumerate(histories.individuals):
        for occasion in histories.counts[row].nonzero()[0]:
            seen = f"{histories.first_seen[row]},{histories.last_seen[row]}"
            lines.append(f"1,{names[name]},{occasion + 1},{seen}")
    save_text("\n".join(lines) + "\n", output)
    files = (output, *_tables(histories, output, names))
    return Written(files, (*histories.notes, *renamed(names, "individuals")))


def _tables(histories: CaptureHistories, output: Path, ids: dict[str, str] | None) -> tuple[Path, Path]:
    """Write the tables of individuals and of occasions beside an export, and return their paths."""
    individuals, occasions = (output.with_name(f"{output.stem}-{what}.csv") for what in ("individuals", "occasions"))
    columns = {
        "individual_id": list(histories.individuals),
        **({} if ids is None else {"id": [ids[name] for name in histories.individuals]}),
        "history": [histories.history(row) for row in range(len(histories.individuals))],
        "occasions": (histories.counts > 0).sum(axis=1),
        "photographs": histories.counts.sum(axis=1),
        "first_seen": histories.first_seen.astype(str),
        "last_seen": histories.last_seen.astype(str),
    }
    save_table(pd.DataFrame(columns), individuals)
    rows = pd.DataFrame(
        {
            "occasion": range(1, len(histories.occasions) + 1),
            "name": [one.name for one in histories.occasions],
            "first_day": [one.first.isoformat() for one in histories.occasions],
            "last_day": [one.last.isoformat() for one in histories.occasions],
            "individuals": (histories.counts > 0).sum(axis=0),
            "photographs": histories.efforts,
        }
    )
    save_table(rows, occasions)
    return individuals, occasions
