"""Look a catalogue through: what is in it, and everything that is wrong with it, with file, line and way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from engine.catalogue.catalog import Catalog, CatalogSummary
from engine.catalogue.formats import Reading, read_catalog
from engine.catalogue.problems import CatalogError, Problem, Problems
from engine.catalogue.sizes import compare_sizes
from features.photo import PhotoError, image_size, photo_digest, read_photo

_SEVERITIES = ("error", "warning", "info")


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What :func:`check_catalog` found.

    Attributes:
        path: what was checked.
        source: the format it was read as, None if none was recognised.
        summary: what is in the catalogue, None if it holds no usable photograph.
        problems: errors first, then warnings, then what is only worth knowing; within each in order of the tables.
        scenarios: number of scenarios that lie beside the catalogue.
    """

    path: Path
    source: str | None
    summary: CatalogSummary | None
    problems: tuple[Problem, ...]
    scenarios: int = 0

    @property
    def ok(self) -> bool:
        """True if there is no error (warnings are allowed)."""
        return not self.count("error")

    def count(self, severity: str) -> int:
        """Return the number of problems of a severity."""
        return sum(problem.severity == severity for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "format": self.source,
            "scenarios": self.scenarios,
            "summary": None if self.summary is None else self.summary.to_dict(),
            "counts": {severity: self.count(severity) for severity in _SEVERITIES},
            "problems": [problem.to_dict() for problem in self.problems],
        }

    def render(self, limit: int = 50) -> str:
        """Return the report as text for a terminal, with at most ``limit`` problems of each severity."""
        lines = [f"{self.path}" + (f" (read as {self.source})" if self.source else "")]
        if self.summary is not None:
            lines += str(self.summary).splitlines()
        if self.scenarios:
            lines.append(f"{self.scenarios} scenarios")
        for severity in _SEVERITIES:
            chosen = [problem for problem in self.problems if problem.severity == severity]
            lines += [f"{severity}: {problem}" for problem in chosen[:limit]]
            if len(chosen) > limit:
                lines.append(f"{severity}: ... and {len(chosen) - limit:,} more (the JSON report lists them all)")
        errors, warnings = self.count("error"), self.count("warning")
        if errors or warnings:
            lines.append(f"{errors:,} errors, {warnings:,} warnings")
        else:
            lines.append("no problems found")
        return "\n".join(lines)


@dataclass(frozen=True)
class _FileFacts:
    """What one photograph's file turned out to be."""

    size: tuple[int, int] | None = None
    sha256: str | None = None
    fault: str | None = None


def check_catalog(
    path: Path | str,
    format: str = "auto",
    decode: bool = True,
    *,
    allow_outside: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    scenarios: Callable[[Path, Collection[str], Problems], Sized] | None = None,
) -> CheckReport:
    """Read a catalogue and look at every photograph.

    Args:
        path, format, allow_outside: as for :meth:`engine.catalogue.catalog.Catalog.read`.
        decode: decode every photograph in full; otherwise only its header is read (and its bytes compared).
        workers: threads that decode (default: the processors, at most 8).
        progress: called with (photographs done, photographs in all).
        scenarios: reads the challenge's scenarios of a folder, given the catalogue's ids and a ledger for what is wrong
            with them (:func:`engine.competitions.scenarios.read_scenarios`); None: they are not looked through.

    Returns:
        The report. Nothing is raised for what is wrong with the catalogue.
    """
    ledger = Problems(strict=False)
    try:
        reading = read_catalog(Path(path), format=format, allow_outside=allow_outside, problems=ledger)
    except CatalogError as error:
        return CheckReport(Path(path), None, None, (error.problem, *ledger.items))
    n_scenarios = 0
    if reading.source == "challenge" and (reading.root / "query_scenarios.csv").is_file():
        if scenarios is None:
            ledger.info("the scenarios are not looked through", file=reading.root / "query_scenarios.csv")
        else:
            n_scenarios = len(scenarios(reading.root, set(reading.table["image_id"]), ledger))
    _check_photographs(reading, decode, workers, progress)
    catalog = Catalog(reading.table, reading.root, reading.source)
    _check_encounters(catalog, ledger)
    summary = catalog.summary() if len(catalog) else None
    if summary is not None and summary.single:
        ledger.info(
            f"{summary.single:,} individuals have one photograph only, which nothing else in the catalogue matches"
        )
    ordered = sorted(ledger.items, key=lambda problem: _SEVERITIES.index(problem.severity))
    return CheckReport(Path(path), reading.source, summary, tuple(ordered), n_scenarios)


def _check_photographs(
    reading: Reading, decode: bool, workers: int | None, progress: Callable[[int, int], None] | None
) -> None:
    paths = list(dict.fromkeys(reading.table["path"]))
    facts_of: dict[str, _FileFacts] = {}
    for done, (path, result) in enumerate(_look_at_all(paths, decode, workers), start=1):
        facts_of[path] = result
        if progress is not None:
            progress(done, len(paths))
    owners: dict[str, tuple[str, str, object]] = {}
    names = ("image_id", "path", "individual_id", "box", "photo_size")
    columns = zip(*(reading.table[name] for name in names), strict=True)
    for position, (image_id, path, individual, box, stated) in enumerate(columns):
        file, line = reading.places[position]
        where: dict[str, Any] = {"file": file, "line": line, "column": "path", "value": path}
        facts = facts_of[path]
        if facts.fault is not None:
            reading.problems.error(f"{path}: {facts.fault}", **where)
            continue
        if facts.size is not None:
            for problem in compare_sizes(stated, facts.size, box, file=str(file), line=line):
                reading.problems.take(problem)
        first = owners.setdefault(facts.sha256 or path, (image_id, path, individual))
        if first[1] != path:
            differ = individual is not None and first[2] is not None and individual != first[2]
            labels = f", but is labelled {individual} instead of {first[2]}" if differ else ""
            reading.problems.warning(
                f"'{image_id}' holds the same bytes as '{first[0]}'{labels}",
                **where,
                hint="keep one of them: a copy always matches itself",
            )


def _look_at_all(paths: list[str], decode: bool, workers: int | None) -> Iterator[tuple[str, _FileFacts]]:
    count = workers if workers is not None else min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(max_workers=max(1, count)) as pool:
        # in batches: map() would queue a future for every photograph of a large catalogue at once
        for start in range(0, len(paths), 256):
            batch = paths[start : start + 256]
            yield from zip(batch, pool.map(lambda path: _look_at(path, decode), batch), strict=True)


def _look_at(path: str, decode: bool) -> _FileFacts:
    try:
        if decode:
            return _FileFacts(image_size(path), read_photo(path).sha256)
        return _FileFacts(image_size(path), photo_digest(path))
    except PhotoError as error:
        return _FileFacts(fault=error.reason)
    except OSError as error:
        return _FileFacts(fault=f"cannot be read ({error.strerror or error})")


def _check_encounters(catalog: Catalog, problems: Problems) -> None:
    known = catalog.table.dropna(subset=["encounter_id"])
    for column, what in (("individual_id", "several individuals"), ("date", "several days")):
        counts = known.groupby("encounter_id", sort=True)[column].nunique()
        if column == "date":
            days = known.groupby("encounter_id", sort=True)["date"]
            counts = counts[days.max() - days.min() > pd.Timedelta(days=1)]  # an encounter may run past midnight
        several = counts[counts > 1]
        if len(several):
            names = ", ".join(map(str, several.index[:3])) + (" …" if len(several) > 3 else "")
            problems.warning(
                f"{len(several):,} encounters hold {what}: {names}",
                file=catalog.root,
                column="encounter_id",
                hint="an encounter is one individual's, on one occasion",
            )
