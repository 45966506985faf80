"""Photographs as a browser shows them: upright or as the animal is turned head up, in three sizes, made once each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from engine.catalogue.encounters import is_known
from engine.report.drawing import resize
from engine.report.image_files import encode_jpeg
from features.photo import PhotoError, canonical_frame, image_size, read_photo
from features.records import ByteArray

#: Longest height in pixels of each size; a picture is at most three times as wide.
SIZES = {"small": 300, "large": 1400}


class Photographs:
    """Makes pictures of photographs and keeps them in a folder.

    Args:
        folder: where they are kept; it may be emptied at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def file(self, row: Mapping[str, Any], size: str, whole: bool) -> Path:
        """Return the JPEG of a photograph, made if need be.

        Args:
            row: of the catalogue's table: path, box and viewpoint count.
            size: one of :data:`SIZES`.
            whole: the whole photograph as it was taken, instead of the animal's box turned head up.

        Raises:
            PhotoError: the photograph cannot be read.
            OSError: it is not there any more.
        """
        path = Path(row["path"])
        box = row["box"] if isinstance(row["box"], tuple) and not whole else None
        view = str(row["viewpoint"]) if is_known(row["viewpoint"]) and not whole else None
        stamp = path.stat()
        asked = [str(path), stamp.st_mtime_ns, stamp.st_size, box, view, size, whole]
        name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
        file = self.folder / f"photograph-{name}.jpg"
        if not file.is_file():
            part = file.with_suffix(f".{id(asked)}.part")
            part.write_bytes(encode_jpeg(_shown(path, box, view, SIZES[size]), 78 if size == "small" else 88))
            part.replace(file)
        return file


def _shown(path: Path, box: tuple[int, int, int, int] | None, view: str | None, height: int) -> ByteArray:
    rgb = read_photo(path, box).rgb
    upright = np.ascontiguousarray(canonical_frame((rgb.shape[1], rgb.shape[0]), view).turn(rgb))
    scale = min(height / upright.shape[0], 3 * height / upright.shape[1], 1.0)
    return resize(upright, (max(round(upright.shape[1] * scale), 1), max(round(upright.shape[0] * scale), 1)))


@lru_cache(maxsize=65536)
def _stored_size(path: str) -> tuple[int, int]:
    try:
        return image_size(path)
    except PhotoError:
        return (300, 300)  # what stands in for the photograph


def shown_size(row: Mapping[str, Any], whole: bool = False) -> tuple[int, int]:
    """Return (width, height) of a photograph as it is shown: the animal head up, or the whole as it was taken."""
    box = row["box"] if isinstance(row["box"], tuple) and not whole else None
    size = (int(box[2]), int(box[3])) if box is not None else _stored_size(str(row["path"]))
    view = str(row["viewpoint"]) if is_known(row["viewpoint"]) and not whole else None
    return canonical_frame(size, view).canonical_size
