"""The quantised descriptors of a large catalogue's keypoints, as the local score reads them.

A photograph's record in the store holds its keypoints as the matchers need them; reading it, applying the metric and
quantising takes five times as long as scoring it. What that makes of it, 32 KB, is kept here, and a score reads one
slice of a mapped file. Descriptors are the same to the bit, and so are scores.
"""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.matching.exhaustive import Codes
from features.described_files import short
from features.records import BoolArray
from features.store.segments import Digests, Places, Segment, append, read_segments

logger = logging.getLogger(__name__)

#: Folder of the store.
KEYPOINTS = "keypoints"
#: Photographs of one file at most, 268 MB: joining more would save nothing.
_MOST = 8192


class CodeFiles:
    """Codes by the digests of photographs, in a folder beside the store.

    Args:
        folder: where its segments lie, or will.
    """

    @classmethod
    def of(cls, store: Path, fingerprint: str) -> CodeFiles:
        """Open those of a store whose codes are known by a fingerprint."""
        return cls(store / KEYPOINTS / short(fingerprint))

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._damaged: set[int] = set()
        self._changed = self._when_changed()
        self._open(read_segments(self.folder))

    def _when_changed(self) -> int:
        with contextlib.suppress(OSError):
            return self.folder.stat().st_mtime_ns
        return 0

    def _open(self, segments: list[Segment]) -> None:
        self.segments = segments
        self._places = Places(segments)
        # Plain arrays: a slice of a numpy.memmap takes ten times as long.
        self._parts = [
            (np.array(segment.arrays["bounds"]), np.asarray(segment.arrays["codes"]), np.array(segment.arrays["crc32"]))
            for segment in self.segments
        ]

    def _grew(self) -> bool:
        """Look for what others wrote; say whether there may be anything new."""
        changed = self._when_changed()
        if changed == self._changed:
            return False
        self._changed = changed
        self._open(read_segments(self.folder))
        return True

    def missing(self, digests: Digests) -> BoolArray:
        """Return the (N,) mask of the photographs that no segment has."""
        return self._places.find(digests)[0] < 0

    def take(self, digests: Digests) -> list[Codes | None]:
        """Return the (n, D) codes of photographs; None for one that no segment has, or has as it was written.

        A damaged one is told of once.
        """
        number, place = self._places.find(digests)
        if (number < 0).any() and self._grew():
            number, place = self._places.find(digests)
        found = [
            None if segment < 0 else self._checked(segment, row)
            for segment, row in zip(number.tolist(), place.tolist(), strict=True)
        ]
        for segment in set(number[number >= 0].tolist()):
            self.segments[segment].release("codes")
        return found

    def _checked(self, segment: int, row: int) -> Codes | None:
        bounds, codes, crc = self._parts[segment]
        start, stop = int(bounds[row]), int(bounds[row + 1])
        if 0 <= start <= stop <= len(codes) and zlib.crc32(codes[start:stop].data) == int(crc[row]):
            return np.array(codes[start:stop])
        if segment not in self._damaged:
            self._damaged.add(segment)
            logger.warning(
                "keypoints in %s are damaged, and read from the store's records instead (`scarmatch store verify` "
                "takes the file out, and it is made anew)",
                self.segments[segment].path,
            )
        return None

    def add(self, digests: Digests, photographs: Sequence[Codes]) -> None:
        """Write further photographs' keypoints, (n, D) codes each, and join small segments.

        Raises:
            OSError: the folder cannot be written.
        """
        if not len(digests):
            return
        filled = [codes for codes in photographs if len(codes)] or [np.zeros((0, 1), np.int8)]
        arrays: dict[str, npt.NDArray[Any]] = {
            "digests": digests,
            "bounds": np.cumsum([0, *map(len, photographs)], dtype=np.int64),
            "codes": np.concatenate(filled),
            "crc32": np.array([zlib.crc32(np.ascontiguousarray(codes).data) for codes in photographs], np.uint32),
        }
        self._open(append(self.folder, arrays, _joined, _MOST))


def _joined(segments: Sequence[Segment]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one file of several: bounds follow each other, and who has no keypoint knows no length."""
    parts = [segment.arrays for segment in segments]
    codes = [part["codes"] for part in parts if len(part["codes"])] or [parts[0]["codes"]]
    lengths = np.concatenate([np.diff(part["bounds"]) for part in parts])
    return {
        "digests": np.concatenate([segment.digests for segment in segments]),
        "bounds": np.cumsum([0, *lengths], dtype=np.int64),
        "codes": np.concatenate(codes),
        "crc32": np.concatenate([part["crc32"] for part in parts]),
    }
