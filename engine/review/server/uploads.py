"""Uploaded photographs: opened as every photograph is before anything is kept, named by us and never by the sender."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.review.decisions import ReviewError
from features.photo import read_photo
from features.photo_formats import is_photo

if TYPE_CHECKING:
    from engine.review.server.hall import Hall


def take_upload(stream: BinaryIO, name: str, date: str, viewpoint: str, hall: Hall) -> pd.DataFrame:
    """Keep an uploaded photograph in the review's folder and return its row as a catalogue's table.

    Args:
        stream: its bytes.
        name: what the sender calls it; only its letters and ending count.
        date, viewpoint: what is known of it, "" if nothing.
        hall: where it goes.

    Raises:
        ReviewError: its ending is no photograph's, or its bytes were uploaded before.
        PhotoError: it cannot be opened as a photograph.
        CatalogError: the date cannot be read.
    """
    ending = Path(name).suffix.lower()
    if not is_photo(Path(f"photograph{ending}")):
        raise ReviewError(f"{name!r} is no photograph by its ending: send a JPEG, PNG, TIFF, WebP or another of those")
    hall.uploads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=hall.uploads) as folder:
        part = Path(folder) / f"upload{ending}"
        with part.open("wb") as file:
            shutil.copyfileobj(stream, file)
        read_photo(part)  # whole: what cannot be decoded is refused here, and not by the process that matches
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        letters = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name.replace("\\", "/")).stem).strip("-")[:60] or "photograph"
        target = hall.uploads / f"{letters}-{digest[:8]}{ending}"
        for kept in hall.uploads.glob(f"*-{digest[:8]}.*"):
            raise ReviewError(f"this photograph was uploaded before: it is {kept.stem!r}")
        row = Catalog.from_photos([part], viewpoint or None, date or None).table.assign(
            image_id=target.stem, path=str(target.absolute())
        )
        part.replace(target)
    return row
