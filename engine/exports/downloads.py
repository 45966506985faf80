"""Exports as files to download: for a page's buttons."""

from __future__ import annotations

import os
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


DOWNLOADS = {
    "csv": Download("catalogue.csv", "text/csv; charset=utf-8", False),
    "coco": Download("catalogue.json", "application/json", False),
    "happywhale": Download("happywhale.zip", "application/zip", True),
    "wildbook": Download("wildbook-bulk-import.zip", "application/zip", True),
    "folders": Download("by-individual.zip", "application/zip", True),
    "mark": Download("capture-histories-mark.zip", "application/zip", True),
    "secr": Download("capture-histories-secr.zip", "application/zip", True),
}
"""Every form of :data:`engine.exports.formats.EXPORTS`, as one file."""


def write_download(
    catalog: Catalog, form: str, file: Path, settings: ExportSettings | None = None, notes: tuple[str, ...] = ()
) -> None:
    """Write an export as one file; paths of photographs start from the catalogue's folder.

    An archive holds the export's files and photographs, and ``notes.txt``: what was left out, renamed or guessed.

    Args:
        catalog: with the names that are to be written.
        form: one of :data:`DOWNLOADS`.
        file: what is written.
        settings: options of the form.
        notes: what there is to say beforehand.

    Raises:
        ExportError: the form does not exist, or the catalogue cannot be written in it.
    """
    if form not in DOWNLOADS:
        raise ExportError(f"there is no download {form!r}; choose among {', '.join(DOWNLOADS)}")
    # An archive takes the photographs themselves through links, which need no disk; Windows seldom allows links.
    how = "copy" if os.name == "nt" else "link"
    chosen = (settings or ExportSettings()).replace(relative_to=str(catalog.root), photos=how)
    with tempfile.TemporaryDirectory(prefix="scarmatch-export-") as name:
        folder = Path(name) / "export"
        folder.mkdir()
        output = folder if EXPORTS[form].folder else folder / f"{Path(DOWNLOADS[form].name).stem}{EXPORTS[form].ending}"
        written = export_catalog(catalog, output, form, chosen)
        if not DOWNLOADS[form].archive:
            file.write_bytes(output.read_bytes())
            return
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            for part in sorted(folder.rglob("*")):
                if part.is_file():
                    # Photographs are compressed already.
                    archive.write(part, part.relative_to(folder), zipfile.ZIP_STORED if part.is_symlink() else None)
            archive.writestr("notes.txt", "".join(f"{note}\n" for note in (*notes, *written.notes)))
