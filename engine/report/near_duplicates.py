"""Pairs of practically equal pictures of a catalogue: the same file, or thumbnails that correlate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from engine.catalogue.index import CatalogIndex, Progress
from features.photo import PhotoError, read_photo
from features.records import FloatArray

COPY_COLUMNS = ("correlation", "same_file", "same_individual", "image_id0", "image_id1", "individual0", "individual1")

#: Cosine of the global descriptors from which two photographs' thumbnails are compared.
_COSINE = 0.9
#: Correlation of the thumbnails from which two photographs count as the same picture.
_CORRELATION = 0.98
#: A photograph's thumbnail is compared with those of so many nearest ones.
_NEAREST = 5
#: Width and height of a thumbnail.
_THUMBNAIL = (24, 48)


def near_duplicates(index: CatalogIndex, progress: Progress | None = None) -> pd.DataFrame:
    """Return pairs of practically equal pictures: the same file, or thumbnails that correlate.

    Args:
        index: the photographs.
        progress: called with (pairs done, pairs in all).
    """
    table = index.catalog.table
    pairs = _alike(index.vectors, _COSINE)
    thumbnails: dict[int, FloatArray | None] = {}
    records = []
    for done, (i, j) in enumerate(pairs, start=1):
        for row in (i, j):
            if row not in thumbnails:
                thumbnails[row] = _thumbnail(index, row)
        one, other = thumbnails[i], thumbnails[j]
        same_file = bool(index.contents[i] == index.contents[j])
        correlation = 1.0 if same_file else 0.0 if one is None or other is None else float(np.mean(one * other))
        if correlation >= _CORRELATION:
            who = table["individual_id"].iloc[i], table["individual_id"].iloc[j]
            record = {"correlation": correlation, "same_file": same_file, "same_individual": who[0] == who[1]}
            record |= {"image_id0": table["image_id"].iloc[i], "image_id1": table["image_id"].iloc[j]}
            records.append({**record, "individual0": who[0], "individual1": who[1]})
        if progress is not None:
            progress(done, len(pairs))
    copies = pd.DataFrame(records, columns=list(COPY_COLUMNS))
    # A copy under another name is a mistake, a copy under the same name only a nuisance.
    order = ["same_individual", "correlation", "image_id0", "image_id1"]
    return copies.sort_values(order, ascending=[True, False, True, True], kind="stable").reset_index(drop=True)


def _alike(vectors: FloatArray, cosine: float) -> list[tuple[int, int]]:
    """Return pairs (i < j) of rows whose cosine reaches a bound: every row with its nearest few, a chunk at a time."""
    pairs: set[tuple[int, int]] = set()
    count = min(_NEAREST + 1, len(vectors))
    for start in range(0, len(vectors), 256):
        likeness = vectors[start : start + 256] @ vectors.T
        nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        for i, row in enumerate(nearest, start=start):
            pairs.update((min(i, int(j)), max(i, int(j))) for j in row if j != i and likeness[i - start, j] >= cosine)
    return sorted(pairs)


def _thumbnail(index: CatalogIndex, row: int) -> FloatArray | None:
    """Return a small grey picture of mean 0 and deviation 1; None if it cannot be read."""
    try:
        rgb = read_photo(Path(index.catalog.table["path"].iloc[row]), index.catalog.table["box"].iloc[row]).rgb
    except (PhotoError, OSError):
        return None
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    size = _THUMBNAIL if grey.shape[0] >= grey.shape[1] else _THUMBNAIL[::-1]
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = small if grey.shape[0] >= grey.shape[1] else small.T
    deviation = float(small.std())
    return (small - small.mean()) / deviation if deviation > 1e-6 else None
