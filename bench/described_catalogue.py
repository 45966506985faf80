"""A described catalogue of any size as the product finds it: table, photographs, store, and the files beside it.

The first photographs are real, with their own records. The others are distractors (:mod:`bench.distractors`): each has
a row of the table like that of a real one (an individual and a day of its own, four photographs each), a file of a few
bytes in place of the photograph, which nobody decodes once it is described, and a global vector, keypoints' words and
keypoints' descriptors of its own. Their records in the store are whole, of an animal without a keypoint: 20 MB instead
of 240 a thousand photographs. Those of the photographs that the question's list holds are as large as real ones, so
that an answer reads what it would read.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.distractors import LargeFiles, Origins
from bench.progress import Say
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex, refs_of
from engine.matching.code_files import KEYPOINTS, CodeFiles
from engine.matching.pair_pool import is_large
from engine.retrieval.vectors import VectorFiles
from engine.retrieval.word_index import WordIndex
from engine.search.large import WORDS
from engine.search.matcher import Matcher, MatcherSettings
from features.describe import Describer, content_key
from features.described_files import DESCRIBED, VECTORS, DescribedFiles, short
from features.known_files import KnownFiles
from features.records import Description, PhotoRef
from features.store import FeatureStore
from features.store.feature_store import digests_of
from scarmatch.errors import ScarmatchError

_COLUMNS = ("image_id", "path", "height", "width", "viewpoint", "date", "timestamp", "whale_id", "encounter_id")
#: Photographs of a distractor's individual, and of one piece of work.
_OF_ONE, _CHUNK = 4, 8192
#: Seconds that a file must have been left alone until its digest is remembered.
_SETTLED = 2.5
#: Times that a list may bring in photographs whose records were not written in full yet.
_ROUNDS = 6


@dataclass(frozen=True, eq=False)
class DescribedCatalogue:
    """A described catalogue in a folder.

    Attributes:
        real: the described photographs that it begins with, and that distractors come from.
        settings: by which they are described.
        size: photographs in all.
        folder: of the table, in ``catalogue``, and the store, in ``store``.
        seed: of every choice.
    """

    real: CatalogIndex
    settings: MatcherSettings
    size: int
    folder: Path
    seed: int

    @property
    def root(self) -> Path:
        """The catalogue's folder."""
        return self.folder / "catalogue"

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.folder / "store"

    def make(self, matcher: Matcher, say: Say) -> None:
        """Write everything; ``matcher`` has the real photographs' records in its store.

        Raises:
            ScarmatchError: a real photograph has a box, which a distractor's row would lack.
        """
        if self.real.catalog.table["box"].notna().any():
            raise ScarmatchError("catalogues with boxes cannot be made large: name one of whole photographs")
        (self.root / "images").mkdir(parents=True)
        count = min(len(self.real), self.size)
        self._photographs(count)
        self._table()
        written = time.monotonic()
        pool = matcher.pair_pool(matcher.store_for(self.real.catalog))
        codes = pool.codes([item.key for item in self.real.descriptions])
        describer, fingerprint = pool.worker.describer, pool.codes_fingerprint()
        files = LargeFiles(
            VectorFiles(self.store / VECTORS / short(describer.global_fingerprint())),
            WordIndex(self.store / WORDS / short(fingerprint)),
            CodeFiles.of(self.store, fingerprint),
        )
        digests = digests_of(self.keys)
        origins = Origins(self.real.vectors, codes, self.seed, self.size, lambda start, stop: digests[start:stop])
        files.words.learn(codes)
        say(f"vectors, words and descriptors of {self.size:,} photographs")
        origins.grow(files, 0, self.size)
        say(f"records of {self.size:,} photographs")
        self._records(describer, files, digests)
        time.sleep(max(0.0, written + _SETTLED - time.monotonic()))
        kept = FeatureStore(self.store)
        known = KnownFiles(kept, self.root)
        for ref in self.refs:
            known.digest(ref.path)
        known.save()
        kept.close()

    def write_listed(self, matcher: Matcher, query: str, say: Say) -> None:
        """Write records as large as real ones for all photographs that a question's list holds.

        Args:
            matcher: has ``store`` for its store.
            query: image id of the question.
        """
        index = matcher.index(Catalog.read(self.root))
        source = Describer(self.settings.describe, FeatureStore(self._real_store))
        target = FeatureStore(self.store)
        known: set[int] = set(range(min(len(self.real), self.size)))
        for _ in range(_ROUNDS):
            listed = matcher.pairs(index.subset([query]), index)["candidate_id"]
            fresh = {index.catalog.position(image_id) for image_id in listed} - known
            matcher.close()
            (self.store / "pairs.sqlite").unlink(missing_ok=True)
            if not fresh:
                break
            say(f"records in full of {len(fresh)} photographs that are listed")
            for row in sorted(fresh):
                self._copy(source, target, self.real.descriptions[row % len(self.real)].key, self.keys[row])
            known |= fresh
        target.close()
        if not is_large(self.size):
            # The product has these beside large catalogues alone; others have all descriptors in one table by now.
            for name in (DESCRIBED, KEYPOINTS, VECTORS, WORDS):
                shutil.rmtree(self.store / name)

    @cached_property
    def refs(self) -> list[PhotoRef]:
        """Where every photograph lies."""
        count = min(len(self.real), self.size)
        views = self.real.catalog.table["viewpoint"].to_numpy(object)
        names = [*(Path(ref.path).name for ref in refs_of(self.real.catalog)[:count])]
        names += [f"made{row:07d}.jpg" for row in range(count, self.size)]
        return [
            PhotoRef(Path(name).stem, self.root / "images" / name, views[row % len(views)])
            for row, name in enumerate(names)
        ]

    @cached_property
    def keys(self) -> list[str]:
        """Content key of every photograph."""
        count = min(len(self.real), self.size)
        made = (
            content_key(self.refs[row], hashlib.sha256(_content(row)).hexdigest()) for row in range(count, self.size)
        )
        return [*(item.key for item in self.real.descriptions[:count]), *made]

    @property
    def _real_store(self) -> Path:
        assert self.real.store is not None
        return self.real.store

    def _photographs(self, count: int) -> None:
        for ref, source in zip(self.refs[:count], refs_of(self.real.catalog), strict=False):
            shutil.copyfile(source.path, ref.path)
        for row in range(count, self.size):
            self.refs[row].path.write_bytes(_content(row))

    def _table(self) -> None:
        real = self.real.catalog.table
        rng = np.random.default_rng((self.seed, 2))
        rows = {name: real[name].to_numpy(object) for name in real.columns}
        with (self.root / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(_COLUMNS)
            for row, ref in enumerate(self.refs):
                of = row % len(real)
                animal, encounter, day = rows["individual_id"][of], rows["encounter_id"][of], rows["timestamp"][of]
                if row >= len(real):
                    animal = f"made{row // _OF_ONE:06d}"
                    encounter = f"{animal}-{row % _OF_ONE:03d}"
                    day = pd.Timestamp("2017-06-01") + pd.Timedelta(seconds=int(rng.integers(3 * 365 * 86400)))
                stamp = "" if pd.isna(day) else str(pd.Timestamp(day))
                size = [rows["photo_size"][of][side] for side in (1, 0)]
                about = (ref.viewpoint or "", stamp[:10], stamp, animal or "", encounter or "")
                writer.writerow([ref.image_id, f"images/{ref.path.name}", *size, *about])

    def _records(self, describer: Describer, files: LargeFiles, digests: npt.NDArray[np.uint64]) -> None:
        """Write the records of all photographs, and the numbers that a large catalogue opens by."""
        target, described = FeatureStore(self.store), DescribedFiles(self.store, describer)
        source = Describer(self.settings.describe, FeatureStore(self._real_store))
        count = min(len(self.real), self.size)
        for item in self.real.descriptions[:count]:
            self._copy(source, target, item.key, item.key)
        view = files.vectors.view(digests)
        empty = [self._empty(source, item.key) for item in self.real.descriptions[:16]]
        for start in range(0, self.size, _CHUNK):
            stop = min(start + _CHUNK, self.size)
            vectors, descriptions = view.take(np.arange(start, stop)), []
            for row in range(start, stop):
                like = self.real.descriptions[row % len(self.real)]
                ref, key, vector = self.refs[row], self.keys[row], vectors[row - start]
                descriptions.append(
                    Description(ref.image_id, key, like.size, vector, like.n_keypoints, like.body_share, like.sharpness)
                )
                if row < count:
                    continue
                arrays = [{"vector": vector}, {"summary": np.array(like.numbers)}, *empty[row % len(empty)]]
                for name, own in zip(describer.store_keys(key), arrays, strict=True):
                    target.put(name, own)
            described.add(descriptions)
        target.close()

    def _empty(self, source: Describer, key: str) -> list[dict[str, npt.NDArray[Any]]]:
        """Return local features and skin of nothing, and the body, in the shapes of a real photograph's records."""
        assert source.store is not None
        records = [source.store.get(name) for name in source.store_keys(key)[2:]]
        found = []
        for record in filter(None, records):
            whole = {"frame"} if "frame" in record else set(record)
            found.append({name: array if name in whole else array[:0] for name, array in record.items()})
        return found

    def _copy(self, source: Describer, target: FeatureStore, key: str, to: str) -> None:
        """Write the local records of one photograph under another's key, all of them under its own."""
        assert source.store is not None
        names = zip(source.store_keys(key), source.store_keys(to), strict=True)
        for number, (name, new) in enumerate(names):
            record = source.store.get(name)
            if record is not None and (number >= 2 or key == to):
                target.put(new, record)


def _content(row: int) -> bytes:
    return f"photograph {row} was never taken".encode()
