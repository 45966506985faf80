"""Every form that a catalogue is exported in: the one registry, and the one function."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from engine.catalogue.catalog import Catalog
from engine.exports.coco import write_coco
from engine.exports.folders import write_folders
from engine.exports.happywhale import write_happywhale
from engine.exports.mark_recapture import write_mark, write_secr
from engine.exports.plain_csv import write_plain_csv
from engine.exports.records import ExportError, ExportSettings, Writer, Written
from engine.exports.wildbook import write_wildbook


class Export(NamedTuple):
    """One form: what it is, whether the output is a folder, the file's ending otherwise, and who writes it."""

    text: str
    folder: bool
    ending: str
    write: Writer


EXPORTS = {
    "csv": Export("one table, a row for each animal", False, ".csv", write_plain_csv),
    "coco": Export("a COCO file, as LILA and Wildbook publish theirs", False, ".json", write_coco),
    "happywhale": Export("train.csv with the photographs, as Happywhale's set", True, "", write_happywhale),
    "wildbook": Export("sheets and photographs for Wildbook's bulk import", True, "", write_wildbook),
    "folders": Export("photographs in one folder for each individual", True, "", write_folders),
    "mark": Export("capture histories for MARK", False, ".inp", write_mark),
    "secr": Export("capture histories for secr and openCR", False, ".csv", write_secr),
}


def export_catalog(catalog: Catalog, output: Path | str, form: str, settings: ExportSettings | None = None) -> Written:
    """Write a catalogue in another form.

    Args:
        catalog: with the names that are to be written (:func:`engine.exports.today.catalogue_today` gives today's).
        output: a file, or a folder that is not there or empty, as the form asks.
        form: one of :data:`EXPORTS`.
        settings: options of the forms.

    Returns:
        The files, and notes of all that was left out, renamed or guessed.

    Raises:
        ExportError: there is no such form, the catalogue cannot be written in it, or the output is in the way.
    """
    path = Path(output)
    if form not in EXPORTS:
        raise ExportError(f"there is no form {form!r}; choose among {', '.join(EXPORTS)}")
    export = EXPORTS[form]
    if not len(catalog):
        raise ExportError(f"{catalog.root}: the catalogue holds no photographs to export")
    if not export.folder:
        if path.suffix.lower() != export.ending:
            raise ExportError(f"{path}: a file of the form {form!r} ends in {export.ending}; name it so")
        if path.is_dir():
            raise ExportError(f"{path} is a folder; name a file that ends in {export.ending}")
        if not path.absolute().parent.is_dir():
            raise ExportError(f"the folder {path.absolute().parent} does not exist: make it first")
    return export.write(catalog, path, settings or ExportSettings())
