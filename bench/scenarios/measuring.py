"""A matcher that notes what each of its stages took: time, memory, and how much of it the store already knew."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.index import CatalogIndex, Progress
from engine.matching.measurements import MatcherName
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairTask
from engine.search.matcher import Matcher


@dataclass
class Stage:
    """What one stage took.

    Attributes:
        name: "describing", "matching by skin" (and so on for each matcher), "matching" (shortlists and all else that
            belongs to pairs) or "ranking".
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass
class Ledger:
    """The stages of a run, each kept once and added to whenever it runs again."""

    stages: dict[str, Stage] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a block; what it sets on the stage that it is given is added to what the stage had before.

        A block inside another is a stage of its own, and its time is not the other's.
        """
        now = Stage(name)
        _forget_peak()
        self._inner.append(0.0)
        started = time.perf_counter()
        yield now
        whole = time.perf_counter() - started
        own = whole - self._inner.pop()
        if self._inner:
            self._inner[-1] += whole
        total = self.stages.setdefault(name, Stage(name))
        total.seconds += own
        total.items += now.items
        total.computed += now.computed
        total.peak_mib = max(total.peak_mib, _peak_mib())
        total.peak_mib_of_worker = max(total.peak_mib_of_worker, _peak_mib_of_workers())

    def to_list(self) -> list[dict[str, Any]]:
        """Return the stages as plain values, in the order in which they first ran."""
        return [stage.to_dict() for stage in self.stages.values()]


class MeasuredMatcher(Matcher):
    """A :class:`Matcher` with the same answers whose ``ledger`` says what they cost."""

    ledger: Ledger

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ledger = Ledger()

    def index(
        self, catalog: Catalog | str | Path, progress: Progress | None = None, store: Path | None = None
    ) -> CatalogIndex:
        """Describe a catalogue."""
        with self.ledger.stage("describing") as stage:
            known: list[int] = []

            def note(done: int, total: int) -> None:
                known.append(done)  # the first report comes before any work and counts what the store knows
                if progress is not None:
                    progress(done, total)

            index = super().index(catalog, note, store)
            stage.items = len(index) + len(index.failures)
            stage.computed = stage.items - (known[0] if known else 0)
        return index

    def pairs(
        self,
        queries: Any,
        catalog: CatalogIndex | Catalog | str | Path,
        candidates: CandidateFilter | None = None,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Match and verify the queries' shortlists."""
        database = catalog if isinstance(catalog, CatalogIndex) else self.index(catalog, progress)
        store = self.store_for(database.catalog)
        with self.ledger.stage("matching") as stage:
            before = _pairs_in(store)
            raw = super().pairs(queries, database, candidates, progress)
            stage.items, stage.computed = len(raw), _pairs_in(store) - before
        return raw

    def pair_pool(self, store: Path) -> PairPool:
        """Return a pool that notes what matching costs."""
        if self._pool is None or self._pool.store != store:
            self.close()
            self._pool = MeasuredPool(lambda: self.ledger, self.settings, store, self.workers, self.device)
        return self._pool

    def rank(self, raw: pd.DataFrame, top: int = 20) -> pd.DataFrame:
        """Rank."""
        with self.ledger.stage("ranking") as stage:
            answers = super().rank(raw, top)
            stage.items = stage.computed = len(raw)
        return answers


class MeasuredPool(PairPool):
    """A :class:`PairPool` with the same answers; the ledger of the moment says what they cost."""

    def __init__(self, ledger: Callable[[], Ledger], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._ledger = ledger

    def measure(
        self, matcher: MatcherName, tasks: Sequence[PairTask], progress: Progress | None = None
    ) -> list[npt.NDArray]:
        """Measure pairs."""
        with self._ledger().stage(f"matching by {matcher}") as stage:
            before = _pairs_in(self.store)
            records = super().measure(matcher, tasks, progress)
            stage.items = sum(len(task.candidates) for task in tasks)
            stage.computed = _pairs_in(self.store) - before
        return records


def _pairs_in(store: Path) -> int:
    """Return the number of pairs that a store keeps."""
    file = store / "pairs.sqlite"
    if not file.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM pair").fetchone()[0])


def _forget_peak() -> None:
    """Let the high-water mark of this process start anew, where Linux allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mib() -> float:
    """Return the high-water mark of this process's memory."""
    return _high_water("self") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _peak_mib_of_workers() -> float:
    """Return the high-water mark of the largest worker, those that ended included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    children: list[str] = []
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            children += (task / "children").read_text(encoding="ascii").split()
    return max([ended, *(_high_water(child) for child in children)])


def _high_water(process: str) -> float:
    """Return a process's VmHWM in MiB, 0 where the system does not say."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
