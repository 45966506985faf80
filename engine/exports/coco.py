"""The catalogue as a COCO file, as LILA and Wildbook publish theirs; read back as ``coco``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.catalogue.catalog import Catalog
from engine.catalogue.encounters import is_known
from engine.exports.plain_csv import path_from, save_text, when_written
from engine.exports.records import ExportSettings, Written, photographs
from features.photo import PhotoError, image_size
from scarmatch import __version__


def write_coco(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write one image per file and one annotation per animal.

    An annotation has the field ``image_name`` beside COCO's own: the catalogue's id of the photograph. Where a
    photograph has no box, its whole extent is one (the file's header is read where the size is not known).
    """
    folder = Path(settings.relative_to or output.absolute().parent)
    images: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    species = list(dict.fromkeys(name for name in catalog.table["species"] if name is not None))
    category = {name: number for number, name in enumerate([*species, *([] if species else ["animal"])], start=1)}
    unread = 0
    for row in catalog.table.to_dict("records"):
        path = str(row["path"])
        if path not in images:
            size = _size(row)
            unread += size is None
            images[path] = {
                "id": len(images) + 1,
                "file_name": path_from(folder, path),
                **({} if size is None else {"width": size[0], "height": size[1]}),
                "date_captured": when_written(row) or "NA",
            }
        image = images[path]
        whole = [0, 0, image["width"], image["height"]] if "width" in image else None
        box = list(row["box"]) if row["box"] is not None else whole
        known = {
            "name": row["individual_id"],
            "viewpoint": row["viewpoint"],
            "encounter_id": row["encounter_id"],
        }
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "image_name": row["image_id"],
                **({"category_id": category[row["species"] or next(iter(category))]} if _one(row, species) else {}),
                **({} if box is None else {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}),
                **{name: value for name, value in known.items() if is_known(value)},
            }
        )
    data = {
        "info": {"description": "a catalogue of individuals", "version": f"scarmatch {__version__}"},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }
    save_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", output)
    notes = []
    if unread:
        notes.append(f"{photographs(unread)} without a size, and so without a box: the file cannot be read")
    return Written((output,), tuple(notes))


def _one(row: dict[Any, Any], species: list[str]) -> bool:
    """Return whether an animal's category is known: its own, or the only one where no species is given at all."""
    return row["species"] is not None or not species


def _size(row: dict[Any, Any]) -> tuple[int, int] | None:
    if row["photo_size"] is not None:
        width, height = row["photo_size"]
        return int(width), int(height)
    if row["box"] is None and is_known(row["width"]) and is_known(row["height"]):
        return int(row["width"]), int(row["height"])
    try:
        return image_size(Path(row["path"]))
    except PhotoError:
        return None
