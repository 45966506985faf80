"""A described catalogue: every photograph read, its descriptors in the store, its vector in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.collector import no_collection
from engine.catalogue.problems import Problems
from engine.catalogue.sizes import compare_sizes
from engine.workers import Workforce, run_tasks
from features.describe import Describer, DescribeSettings, key_of
from features.described_files import DescribedFiles
from features.descriptions import Descriptions, KeptVectors
from features.known_files import KnownFiles
from features.photo import PhotoError, image_size
from features.records import BoolArray, Description, Failure, FloatArray, PhotoRef
from features.store import FeatureStore
from features.store.feature_store import digests_of

logger = logging.getLogger(__name__)

#: Letters of a content key that tell nearly all photographs apart.
_HEAD = 16

#: Called with (photographs done, photographs in all).
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class CatalogIndex:
    """A catalogue with the descriptions of its photographs.

    Attributes:
        catalog: the photographs that could be described, in the order of the catalogue given.
        descriptions: one per row of ``catalog``, in the same order; made as they are asked for in a large one.
        failures: the photographs that could not, with the reasons.
        store: the folder that keeps their features; None where nobody said.
    """

    catalog: Catalog
    descriptions: Sequence[Description]
    failures: tuple[Failure, ...] = ()
    store: Path | None = None

    def __len__(self) -> int:
        return len(self.descriptions)

    @cached_property
    def vectors(self) -> FloatArray:
        """(N, D) float32 global descriptors, L2-normalised."""
        if not self.descriptions:
            return np.zeros((0, 0), np.float32)
        if isinstance(self.descriptions, Descriptions):
            return self.descriptions.vectors.take(np.arange(len(self)))
        rows = [item.vector for item in self.descriptions]
        whole = rows[0].base
        if isinstance(whole, np.ndarray) and whole.shape == (len(rows), rows[0].size):
            places = (whole[number].ctypes.data for number in range(len(rows)))
            if all(row.ctypes.data == place for row, place in zip(rows, places, strict=True)):
                return whole  # they lie as they were read: a copy would double what a large catalogue takes
        return np.stack(rows)

    def vectors_of(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        """Return the (n, D) global descriptors of some photographs, without reading those of all."""
        if isinstance(self.descriptions, Descriptions):
            return self.descriptions.vectors.take(rows)
        empty = np.zeros((0, self.descriptions[0].vector.size if self.descriptions else 0), np.float32)
        return np.stack([self.descriptions[row].vector for row in rows.tolist()]) if len(rows) else empty

    @cached_property
    def keys(self) -> Sequence[str]:
        """Content key of each photograph."""
        found = self.descriptions
        return found.keys if isinstance(found, Descriptions) else [item.key for item in found]

    @cached_property
    def digests(self) -> npt.NDArray[np.uint64]:
        """(N, 2) digests of the content keys, by which files about photographs know them."""
        found = self.descriptions
        return found.digests if isinstance(found, Descriptions) else digests_of(self.keys)

    @cached_property
    def by_content(self) -> npt.NDArray[np.int64]:
        """(N,) rows in the order of their content keys: what is chosen so does not depend on the order of rows."""
        # By the first letters, which hardly ever are the same: Python's texts take five times as long to sort.
        heads = np.array([key[:_HEAD] for key in self.keys], f"<U{_HEAD}")
        order = np.argsort(heads, kind="stable")
        same = heads[order][1:] == heads[order][:-1]
        if same.any():
            order = np.array(sorted(order.tolist(), key=lambda row: (self.keys[row], row)), np.int64)
        return order

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64]:
        """(N, 5) width, height, keypoints, share of the body and sharpness of each photograph."""
        found = self.descriptions
        if isinstance(found, Descriptions):
            return found.numbers
        return np.array([item.numbers for item in found], np.float64).reshape(-1, 5)

    @cached_property
    def contents(self) -> npt.NDArray[np.object_]:
        """(N,) digest of each photograph's file: equal for copies of one picture and for all boxes of it."""
        return np.array([key.split(":", 1)[0] for key in self.keys], object)

    def take(self, positions: npt.NDArray[np.int_] | list[int]) -> CatalogIndex:
        """Return the index of the photographs at these row numbers, in the order given."""
        rows = [int(row) for row in positions]
        found = self.descriptions
        if isinstance(found, Descriptions):
            descriptions: Sequence[Description] = found.take(np.array(rows, np.int64))
        else:
            descriptions = tuple(found[row] for row in rows)
        return CatalogIndex(self.catalog.take(rows), descriptions, self.failures, self.store)

    def subset(self, ids: list[str]) -> CatalogIndex:
        """Return the index of these photographs, in the order given; ids that failed to be described are left out."""
        return self.take([self.catalog.position(image_id) for image_id in ids if image_id in self.catalog])


def refs_of(catalog: Catalog) -> list[PhotoRef]:
    """Return where every photograph of a catalogue lies, in order."""
    return _refs(catalog.table)


def _refs(table: pd.DataFrame) -> list[PhotoRef]:
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
    kept = FeatureStore(store)
    describer = Describer(settings, kept, device)
    files = KnownFiles(kept, catalog.root)
    with no_collection():
        together = None if verify else _kept_together(catalog, files, DescribedFiles(store, describer), kept)
    if together is not None and together[0].all():
        _report(progress, len(catalog), len(catalog))
        files.save()
        return CatalogIndex(catalog, together[1], (), store)
    opened = np.zeros(len(catalog), bool) if together is None else together[0]
    rest = np.flatnonzero(~opened).tolist()
    refs = dict(zip(rest, _refs(catalog.table.iloc[rest]), strict=True))
    stored = zip(rest, describer.lookup_many(list(refs.values()), files, verify), strict=True)
    outcomes: dict[int, Description | Failure | None] = dict(stored)
    missing = [row for row, item in outcomes.items() if item is None]
    count = len(catalog)
    _report(progress, count - len(missing), count)
    done = count - len(missing)
    size = Describer.BATCH
    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    make = partial(Describer, settings, kept, device)
    for number, results in run_tasks(_describe, make, [[refs[row] for row in chunk] for chunk in chunks], workers):
        outcomes.update(zip(chunks[number], results, strict=True))
        done += len(results)
        _report(progress, done, count)
    files.save()
    failures = tuple(item for row in rest if isinstance(item := outcomes[row], Failure))
    for failure in failures:
        logger.warning("skipped: %s", failure.reason)
    own = {row: item for row in rest if isinstance(item := outcomes[row], Description)}
    good = [row for row in range(count) if opened[row] or row in own]
    descriptions: Sequence[Description] = tuple(own.values())
    if together is not None and opened.any():
        descriptions = _joined(together[1], own, np.array(good, np.int64))
    return CatalogIndex(catalog.take(good) if failures else catalog, descriptions, failures, store)


def _kept_together(
    catalog: Catalog, files: KnownFiles, described: DescribedFiles, store: FeatureStore
) -> tuple[BoolArray, Descriptions] | None:
    """Return what lies beside the store of photographs together, and of which of them; None where that is nothing."""
    if not len(described):
        return None
    table = catalog.table
    digests = files.digests(table["path"].tolist())
    unread = [row for row, digest in enumerate(digests) if isinstance(digest, PhotoError)]
    for row in unread:
        digests[row] = ""  # said when it is looked at alone
    about = zip(map(str, digests), table["box"].tolist(), table["viewpoint"].tolist(), strict=True)
    here, found = described.find(catalog.ids, [key_of(*one) for one in about], store)
    here[unread] = False
    return (here, found) if here.any() else None


def _joined(together: Descriptions, own: Mapping[int, Description], good: npt.NDArray[np.int64]) -> Descriptions:
    """Return the descriptions of the rows ``good``: those kept together, and in the place of others their own."""
    if not own:
        return together.take(good)
    rows, items = np.array(list(own), np.int64), list(own.values())
    kept, numbers, digests = together.vectors, together.numbers.copy(), together.digests.copy()
    matrix, row, keys = kept.matrix.copy(), kept.row.copy(), list(together.keys)
    matrix[rows], row[rows] = len(kept.matrices), np.arange(len(rows))
    numbers[rows] = [item.numbers for item in items]
    digests[rows] = digests_of([item.key for item in items])
    for place, item in own.items():
        keys[place] = item.key
    vectors = KeptVectors([*kept.matrices, np.stack([item.vector for item in items])], matrix, row)
    return Descriptions(together.ids, keys, digests, numbers, vectors).take(good)


def _describe(describer: Describer, refs: list[PhotoRef]) -> list[Description | Failure]:
    return list(describer.describe(refs))


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None and total:
        progress(done, total)
