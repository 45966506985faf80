"""Exports as the content of a download: for a page's buttons, which write no files."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from engine.catalogue.catalog import Catalog
from engine.exports.formats import EXPORTS, export_catalog
from engine.exports.records import ExportError, ExportSettings


class Download(NamedTuple):
    """A file to download: its name, its media type, and whether it is an archive of several files and the notes."""

    name: str
    kind: str
    archive: bool


#: Forms that hold no photographs.
DOWNLOADS = {
    "csv": Download("catalogue.csv", "text/csv; charset=utf-8", False),
    "coco": Download("catalogue.json", "application/json", False),
    "mark": Download("capture-histories-mark.zip", "application/zip", True),
    "secr": Download("capture-histories-secr.zip", "application/zip", True),
}


def export_content(catalog: Catalog, form: str, settings: ExportSettings | None = None) -> bytes:
    """Return what an export would write; paths of photographs start from the catalogue's folder.

    An archive holds the export's files, and ``notes.txt``: what was left out, renamed or guessed.

    Args:
        catalog: with the names that are to be written.
        form: one of :data:`DOWNLOADS`.
        settings: options of the form.

    Raises:
        ExportError: the form holds photographs or does not exist, or the catalogue cannot be written in it.
    """
    if form not in DOWNLOADS:
        raise ExportError(f"there is no download {form!r}; choose among {', '.join(DOWNLOADS)}")
    chosen = (settings or ExportSettings()).replace(relative_to=str(catalog.root))
    with tempfile.TemporaryDirectory(prefix="scarmatch-export-") as folder:
        name = f"{Path(DOWNLOADS[form].name).stem}{EXPORTS[form].ending}"
        written = export_catalog(catalog, Path(folder) / name, form, chosen)
        if not DOWNLOADS[form].archive:
            return written.files[0].read_bytes()
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in written.files:
                archive.write(file, file.name)
            archive.writestr("notes.txt", "".join(f"{note}\n" for note in written.notes))
        return content.getvalue()
