"""What the training of the dense skin descriptors sees: photographs in memory, and pairs of them that agree."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from features.global_descriptor.network_input import body_picture, network_picture
from features.photo import PhotoError, canonical_frame, read_photo
from features.records import ByteArray
from features.regions import find_regions
from features.training.data import box_of

log = logging.getLogger(__name__)
Points = npt.NDArray[np.float32]
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class SkinPhotos:
    """Photographs in memory, head up, all of one size.

    Attributes:
        table: (N rows) of the catalogue, RangeIndex.
        grey, body: (N, H, W) uint8 lightness and certainty of body times 255.
    """

    table: pd.DataFrame
    grey: ByteArray
    body: ByteArray

    @classmethod
    def read(cls, table: pd.DataFrame, size: tuple[int, int], progress: Progress | None = None) -> SkinPhotos:
        """Read the photographs of a catalogue's table; one that cannot be read is left out and named in the log."""
        kept, greys, bodies = [], [], []
        for number, (_, row) in enumerate(table.iterrows()):
            try:
                photo = read_photo(row["path"], box_of(row.get("box")))
            except PhotoError as error:
                log.warning("left out photograph %s: %s", row["image_id"], error)
                continue
            frame = canonical_frame(photo.size, row["viewpoint"])
            regions = find_regions(photo, frame)
            greys.append(cv2.cvtColor(network_picture(photo, frame, size), cv2.COLOR_RGB2GRAY))
            bodies.append(body_picture(regions, frame, size))
            kept.append(number)
            if progress is not None and number % 50 == 49:
                progress({"stage": "reading", "done": number + 1, "total": len(table)})
        shape = (0, size[1], size[0])
        empty = np.zeros(shape, np.uint8)
        return cls(
            table.iloc[kept].reset_index(drop=True),
            np.asarray(greys, np.uint8).reshape(-1, *shape[1:]) if greys else empty,
            np.asarray(bodies, np.uint8).reshape(-1, *shape[1:]) if bodies else empty,
        )

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True, eq=False)
class KnownPair:
    """Two photographs of one individual (row numbers) and (K, 2) points that agree, in pixels of the input."""

    first: int
    second: int
    points0: Points
    points1: Points
