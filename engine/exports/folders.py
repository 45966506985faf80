"""Photographs in folders by individual, as many programs and people keep them."""

from __future__ import annotations

from pathlib import Path

from engine.catalogue.catalog import Catalog
from engine.exports.names import file_names, folder_name, renamed, unique_names
from engine.exports.placing import new_folder, place, those_there
from engine.exports.records import ExportSettings, Written, photographs


def write_folders(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write ``OUTPUT/INDIVIDUAL/PHOTOGRAPH``; photographs without a name lie right in the output.

    A photograph that shows several animals lies with each of them, whole. The layout is read back as ``folders``.
    """
    table, missing = those_there(catalog.table)
    folders = unique_names(table["individual_id"].dropna(), folder_name)
    owners = [folders.get(individual, "") for individual in table["individual_id"]]
    names = file_names(zip(owners, table["path"], strict=True))
    with new_folder(output) as part:
        photos = [(path, part / folder / name) for (folder, path), name in names.items()]
        place(photos, settings.photos)
    notes = [*missing, *renamed(folders, "individuals")]
    boxes = int(table["box"].notna().sum())
    if boxes:
        notes.append(f"{photographs(boxes)} with a box: folders hold whole photographs, the boxes are not in them")
    return Written((output,), tuple(notes))
