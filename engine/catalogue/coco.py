"""COCO files as LILA and Wildbook publish them: one row per annotated animal.

Used of ``images``: id, file_name, width, height, date_captured (or datetime, date), "NA" where not known. Of
``annotations``: image_id, bbox (x, y, width, height), viewpoint, and the individual: ``name`` ("____" = not known),
``individual_id`` or the first of ``individual_ids`` (the latter two looked up in a table ``individuals`` or
``names`` of the file, if it has one). The species is the category's name. Field names checked against the readers that
exist for LILA's Beluga ID 2022 and the other Wildbook sets.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

from engine.catalogue.problems import Problems
from engine.catalogue.tables import TableBuilder


def read_coco(path: Path, builder: TableBuilder) -> None:
    """Read a COCO file, or every one in a folder.

    The id of a photograph is the file's stem, with the annotation's id behind it (``stem-a17``) where a picture shows
    several animals or a stem occurs twice. A picture without annotations becomes one row without individual.
    """
    from engine.catalogue.formats import find_coco

    files = [path] if path.is_file() else find_coco(path)
    if not files:
        builder.problems.error("no COCO file found", file=path, hint="looked in the folder and in annotations/")
    if path.is_file() and path.parent.name == "annotations":
        builder.root = path.parent.parent.absolute()
    loaded = [(file, _load(file, builder.problems)) for file in files]
    stems = Counter(Path(str(image.get("file_name", ""))).stem for _, data in loaded for image in data["images"])
    for file, data in loaded:
        _read_one(file, data, builder, stems)


def _load(file: Path, problems: Problems) -> dict[str, Any]:
    empty: dict[str, Any] = {"images": [], "annotations": []}
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        line = getattr(error, "lineno", None)
        problems.error(f"is no readable JSON: {getattr(error, 'msg', error)}", file=file, line=line)
        return empty
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in empty):
        keys = ", ".join(data) if isinstance(data, dict) else type(data).__name__
        problems.error(f"is no COCO file: it needs the lists images and annotations; found: {keys}", file=file)
        return empty
    for key in empty:
        kept = [entry for entry in data[key] if isinstance(entry, dict)]
        if len(kept) < len(data[key]):
            problems.error(f"{len(data[key]) - len(kept)} entries of '{key}' are no objects", file=file, column=key)
        data[key] = kept
    return data


def _read_one(file: Path, data: dict[str, Any], builder: TableBuilder, stems: Counter[str]) -> None:
    species = _lookup(data, "categories")
    individuals = _lookup(data, "individuals") | _lookup(data, "names")
    by_image: dict[Any, list[dict[str, Any]]] = {image.get("id"): [] for image in data["images"]}
    if len(by_image) < len(data["images"]):
        builder.problems.error("two images share an id", file=file, column="images.id")
    for annotation in data["annotations"]:
        if annotation.get("image_id") not in by_image:
            message = f"annotation {annotation.get('id')} belongs to no image"
            builder.problems.error(message, file=file, column="annotations.image_id", value=annotation.get("image_id"))
        else:
            by_image[annotation["image_id"]].append(annotation)
    folder = _image_folder(file, data, builder.root)
    turned = 0
    for image in data["images"]:
        name = str(image.get("file_name") or "")
        stem = Path(name).stem
        date = image.get("date_captured") or image.get("datetime") or image.get("date")
        annotations = by_image[image.get("id")]
        for annotation in annotations or [{}]:
            several = len(annotations) > 1 or stems[stem] > 1
            suffix = f"-a{annotation['id']}" if "id" in annotation else f"-i{image.get('id')}"
            turned += _turned(annotation)
            values = {
                "image_id": stem + suffix if several and stem else stem,
                "path": name,
                "width": image.get("width"),
                "height": image.get("height"),
                "date": annotation.get("date_captured") or annotation.get("datetime") or annotation.get("date") or date,
                "viewpoint": annotation.get("viewpoint"),
                "encounter_id": annotation.get("encounter_id") or image.get("encounter_id"),
                "individual_id": _individual(annotation, individuals),
                "species": species.get(annotation.get("category_id")),
                "box": annotation.get("bbox") or None,
            }
            columns = {"path": "images.file_name", "image_id": "images.file_name", "box": "annotations.bbox"}
            builder.add(values, file, None, columns, folder)
    if turned:
        builder.problems.warning(
            f"{turned} boxes are turned (theta); the upright boxes around the same centre are taken",
            file=file,
            column="annotations.theta",
        )


def _lookup(data: dict[str, Any], key: str) -> dict[Any, str]:
    entries = data.get(key)
    if not isinstance(entries, list):
        return {}
    return {e["id"]: str(e["name"]) for e in entries if isinstance(e, dict) and "id" in e and e.get("name") is not None}


def _individual(annotation: dict[str, Any], individuals: dict[Any, str]) -> str | None:
    ids = annotation.get("individual_ids")
    first = ids[0] if isinstance(ids, list) and ids else None
    for value in (annotation.get("name"), annotation.get("individual_id"), first):
        if value is not None and value != "":
            return individuals.get(value, str(value))
    return None


def _turned(annotation: dict[str, Any]) -> bool:
    theta = annotation.get("theta")
    return isinstance(theta, int | float) and math.isfinite(theta) and abs(theta) > 1e-6


def _image_folder(file: Path, data: dict[str, Any], root: Path) -> Path:
    """Return the folder that file names start from: Wildbook's images/<set>, images/, or the one of the JSON file."""
    name = str(data["images"][0].get("file_name") or "") if data["images"] else ""
    subset = file.stem.removeprefix("instances_")
    home = file.absolute().parent
    tops = [home, home.parent] if home.name == "annotations" else [home]
    for top in tops:
        for place in (top, top / "images", top / "images" / subset, top / subset):
            if name and (place / name).is_file() and place.is_relative_to(root):
                return place
    return tops[-1] / "images" if (tops[-1] / "images").is_dir() else tops[-1]
