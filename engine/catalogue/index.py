"""A described catalogue: every photograph read, its descriptors in the store, its vector in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.catalogue.catalog import Catalog
from engine.catalogue.problems import Problems
from engine.catalogue.sizes import compare_sizes
from engine.workers import Workforce, run_tasks
from features.describe import Describer, DescribeSettings
from features.described_files import DescribedFiles
from features.known_files import KnownFiles
from features.photo import PhotoError, image_size
from features.records import Description, Failure, FloatArray, PhotoRef
from features.store import FeatureStore

logger = logging.getLogger(__name__)

#: Called with (photographs done, photographs in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CatalogIndex:
    """A catalogue with the descriptions of its photographs.

    Attributes:
        catalog: the photographs that could be described, in the order of the catalogue given.
        descriptions: one per row of ``catalog``, in the same order.
        failures: the photographs that could not, with the reasons.
        store: the folder that keeps their features; None where nobody said.
    """

    catalog: Catalog
    descriptions: tuple[Description, ...]
    failures: tuple[Failure, ...] = ()
    store: Path | None = None

    def __len__(self) -> int:
        return len(self.descriptions)

    @cached_property
    def vectors(self) -> FloatArray:
        """(N, D) float32 global descriptors, L2-normalised."""
        if not self.descriptions:
            return np.zeros((0, 0), np.float32)
        rows = [item.vector for item in self.descriptions]
        whole = rows[0].base
        if isinstance(whole, np.ndarray) and whole.shape == (len(rows), rows[0].size):
            places = (whole[number].ctypes.data for number in range(len(rows)))
            if all(row.ctypes.data == place for row, place in zip(rows, places, strict=True)):
                return whole  # they lie as they were read: a copy would double what a large catalogue takes
        return np.stack(rows)

    def vectors_of(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Return the (n, D) global descriptors of some photographs, without reading those of all."""
        empty = np.zeros((0, self.descriptions[0].vector.size if self.descriptions else 0), np.float32)
        return np.stack([self.descriptions[row].vector for row in rows.tolist()]) if len(rows) else empty

    @cached_property
    def contents(self) -> npt.NDArray[np.object_]:
        """(N,) digest of each photograph's file: equal for copies of one picture and for all boxes of it."""
        return np.array([item.key.split(":", 1)[0] for item in self.descriptions], object)

    def take(self, positions: npt.NDArray[np.int_] | list[int]) -> CatalogIndex:
        """Return the index of the photographs at these row numbers, in the order given."""
        rows = [int(row) for row in positions]
        descriptions = tuple(self.descriptions[row] for row in rows)
        return CatalogIndex(self.catalog.take(rows), descriptions, self.failures, self.store)

    def subset(self, ids: list[str]) -> CatalogIndex:
        """Return the index of these photographs, in the order given; ids that failed to be described are left out."""
        return self.take([self.catalog.position(image_id) for image_id in ids if image_id in self.catalog])


def refs_of(catalog: Catalog) -> list[PhotoRef]:
    """Return where every photograph of a catalogue lies, in order."""
    table = catalog.table
    columns = (table[name] for name in ("image_id", "path", "viewpoint", "box"))
    return [PhotoRef(image_id, Path(path), view, box) for image_id, path, view, box in zip(*columns, strict=True)]


def compare_stated_sizes(catalog: Catalog) -> None:
    """Warn of boxes that were not meant for the photographs as they are: of other sizes, or beyond their edges.

    Only photographs with a box are opened (their headers): without one, a stated size changes nothing that is seen.
    """
    ledger = Problems(strict=False)
    boxed = catalog.table[catalog.table["box"].notna()]
    sizes: dict[str, tuple[int, int] | None] = {}
    for path, box, stated in zip(boxed["path"], boxed["box"], boxed["photo_size"], strict=True):
        if path not in sizes:
            try:
                sizes[path] = image_size(path)
            except PhotoError:  # said when it is described
                sizes[path] = None
        actual = sizes[path]
        if actual is not None:
            for problem in compare_sizes(stated, actual, box, file=path):
                ledger.take(problem)
    ledger.log()


def describe_catalog(
    catalog: Catalog,
    settings: DescribeSettings,
    store: Path,
    workers: int | Workforce = 1,
    progress: Progress | None = None,
    device: str | None = None,
    verify: bool = False,
) -> CatalogIndex:
    """Describe every photograph once; what the store already knows is not computed again.

    Args:
        catalog: the photographs.
        settings: options of the stages.
        store: the store's folder. A run that was killed goes on where it was.
        workers: processes, or a cluster; the result does not depend on it.
        progress: called as photographs are done.
        device: "cpu", "cuda" or None to choose.
        verify: read every stored record and compare its checksums, instead of its entry in the store's index.

    Returns:
        The index. A photograph that cannot be read is reported in ``failures`` and left out; it stops nothing.
    """
    compare_stated_sizes(catalog)
    refs = refs_of(catalog)
    kept = FeatureStore(store)
    describer = Describer(settings, kept, device)
    files = KnownFiles(kept, catalog.root)
    stored = describer.lookup_many(refs, files, verify, DescribedFiles(store, describer))
    outcomes = {row: item for row, item in enumerate(stored) if item is not None}
    missing = [row for row, item in enumerate(stored) if item is None]
    _report(progress, len(outcomes), len(refs))
    size = Describer.BATCH
    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    make = partial(Describer, settings, kept, device)
    for number, results in run_tasks(_describe, make, [[refs[row] for row in chunk] for chunk in chunks], workers):
        outcomes.update(zip(chunks[number], results, strict=True))
        _report(progress, len(outcomes), len(refs))
    files.save()
    good = [row for row in range(len(refs)) if isinstance(outcomes[row], Description)]
    failures = tuple(item for row in range(len(refs)) if isinstance(item := outcomes[row], Failure))
    for failure in failures:
        logger.warning("skipped: %s", failure.reason)
    descriptions = tuple(item for row in good if isinstance(item := outcomes[row], Description))
    return CatalogIndex(catalog.take(good) if failures else catalog, descriptions, failures, store)


def _describe(describer: Describer, refs: list[PhotoRef]) -> list[Description | Failure]:
    return list(describer.describe(refs))


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None and total:
        progress(done, total)
