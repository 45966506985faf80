"""A matcher that notes what each of its stages took: time, memory, and how much of it the store already knew."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench.memory import high_water_mib, peak_mib, usage_mib
from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.index import CatalogIndex, Progress
from engine.search.matcher import Matcher


@dataclass(frozen=True)
class Stage:
    """What one stage took.

    Attributes:
        name: "describing", "matching" (shortlists and all else that belongs to pairs) or "ranking".
        items: photographs or pairs.
        computed: those of them that the store did not know.
        seconds: wall time.
        peak_mib: highest resident memory of this process during the stage (since the start of the process where the
            system cannot tell).
        peak_mib_of_worker: that of the largest worker process so far; 0 if all work was done in this process.
    """

    name: str
    items: int = 0
    computed: int = 0
    seconds: float = 0.0
    peak_mib: float = 0.0
    peak_mib_of_worker: float = 0.0


class MeasuredMatcher(Matcher):
    """A :class:`Matcher` with the same answers that notes what they cost.

    Attributes:
        stages: name -> what it took, each kept once and added to whenever it runs again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.stages: dict[str, Stage] = {}
        self._inner: list[float] = []

    def index(
        self, catalog: Catalog | str | Path, progress: Progress | None = None, store: Path | None = None
    ) -> CatalogIndex:
        """Describe a catalogue."""
        known: list[int] = []

        def note(done: int, total: int) -> None:
            known.append(done)  # the first report comes before any work and counts what the store knows
            if progress is not None:
                progress(done, total)

        with self._timed("describing") as counts:
            index = super().index(catalog, note, store)
            items = len(index) + len(index.failures)
            counts += [items, items - (known[0] if known else 0)]
        return index

    def pairs(
        self,
        queries: Any,
        catalog: CatalogIndex | Catalog | str | Path,
        candidates: CandidateFilter | None = None,
        progress: Progress | None = None,
        include: Sequence[str] = (),
        neighbours: bool | None = None,
    ) -> pd.DataFrame:
        """Match and verify the queries' shortlists."""
        database = catalog if isinstance(catalog, CatalogIndex) else self.index(catalog, progress)
        store = self.store_for(database.catalog)
        with self._timed("matching") as counts:
            before = _pairs_in(store)
            raw = super().pairs(queries, database, candidates, progress, include, neighbours)
            counts += [len(raw), _pairs_in(store) - before]
        return raw

    def rank(self, raw: pd.DataFrame, top: int = 20) -> pd.DataFrame:
        """Rank."""
        with self._timed("ranking") as counts:
            counts += [len(raw), len(raw)]
            return super().rank(raw, top)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[list[int]]:
        """Time a block that fills in (items, computed); a stage inside another is not the other's time."""
        counts: list[int] = []
        _forget_peak()
        self._inner.append(0.0)
        started = time.perf_counter()
        yield counts
        whole = time.perf_counter() - started
        own = whole - self._inner.pop()
        if self._inner:
            self._inner[-1] += whole
        past = self.stages.get(name, Stage(name))
        self.stages[name] = replace(
            past,
            items=past.items + counts[0],
            computed=past.computed + counts[1],
            seconds=past.seconds + own,
            peak_mib=max(past.peak_mib, peak_mib()),
            peak_mib_of_worker=max(past.peak_mib_of_worker, _peak_mib_of_workers()),
        )


def _pairs_in(store: Path) -> int:
    """Return the number of measured pairs that a store keeps, each matcher's counted once."""
    file = store / "pairs.sqlite"
    if not file.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM pair").fetchone()[0])


def _forget_peak() -> None:
    """Let the high-water mark of this process start anew, where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mib_of_workers() -> float:
    """Return the high-water mark of the largest worker, those that ended included."""
    children: list[str] = []
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            children += (task / "children").read_text(encoding="ascii").split()
    return max([usage_mib(resource.RUSAGE_CHILDREN), *map(high_water_mib, children)])
