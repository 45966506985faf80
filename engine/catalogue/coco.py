"""COCO files as LILA and Wildbook publish them: one row per annotated animal.

Used of ``images``: id, file_name, width, height, date_captured (or datetime, date), "NA" where not known. Of
``annotations``: image_id, bbox (x, y, width, height), viewpoint, and the individual: ``name`` ("____" = not known),
``individual_id`` or the first of ``individual_ids`` (the latter two looked up in a table ``individuals`` or
``names`` of the file, if it has one). The species is the category's name. Field names checked against the readers that
exist for LILA's Beluga ID 2022 and the other Wildbook sets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.catalogue.builder import TableBuilder
from engine.catalogue.fields import text_of
from engine.catalogue.json_files import holds_words, read_json
from engine.catalogue.paths import exists, stem_of, written_path
from engine.catalogue.problems import Problems

_DATES = ("date_captured", "datetime", "date")
_VIEWPOINTS = ("viewpoint", "orientation")
_INDIVIDUALS = ("name", "individual_id", "individual_ids", "identity", "individual", "animal_id")
_USED = {
    "images": {"id", "file_name", "width", "height", "encounter_id", *_DATES},
    "annotations": {
        *("id", "image_id", "bbox", "theta", "encounter_id", "category_id"),
        *_DATES,
        *_VIEWPOINTS,
        *_INDIVIDUALS,
    },
}


def read_coco(path: Path, builder: TableBuilder) -> None:
    """Read a COCO file, or every one in a folder.

    The id of a photograph is the file's stem, with the annotation's id behind it (``stem-a17``) where a picture shows
    several animals or a stem occurs twice. A picture without annotations becomes one row without individual.
    """
    files = [path] if path.is_file() else find_coco(path)
    if not files:
        builder.problems.error("no COCO file found", file=path, hint="looked in the folder and in annotations/")
    if path.is_file() and path.parent.name == "annotations":
        builder.root = path.parent.parent.absolute()
    loaded = [(file, _load(file, builder.problems)) for file in files]
    stems = Counter(stem_of(_name(image)) for _, data in loaded for image in data["images"])
    for file, data in loaded:
        _read_one(file, data, builder, stems)


def find_coco(folder: Path) -> list[Path]:
    """Return the COCO JSON files in a folder or its ``annotations`` (also below one folder named ``*.coco``)."""
    places = [folder, folder / "annotations"]
    places += [child / "annotations" for child in sorted(folder.glob("*.coco")) if child.is_dir()]
    files = [file for place in places if place.is_dir() for file in sorted(place.glob("*.json"))]
    return [file for file in files if looks_like_coco(file)]


def looks_like_coco(file: Path) -> bool:
    """Return whether a file holds the names of COCO's two lists."""
    return holds_words(file, ("images", "annotations"))


def _load(file: Path, problems: Problems) -> dict[str, Any]:
    empty: dict[str, Any] = {"images": [], "annotations": []}
    data = read_json(file, problems)
    if data is None:
        return empty
    if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in empty):
        keys = ", ".join(map(ascii, list(data)[:20])) if isinstance(data, dict) else type(data).__name__
        problems.error(f"is no COCO file: it needs the lists images and annotations; found: {keys}", file=file)
        return empty
    for key in empty:
        kept = [entry for entry in data[key] if isinstance(entry, dict)]
        if len(kept) < len(data[key]):
            problems.error(f"{len(data[key]) - len(kept)} entries of '{key}' are no objects", file=file, column=key)
        unused = sorted({name for entry in kept for name in entry} - _USED[key])
        if unused:
            problems.info(f"fields of '{key}' that are not used: {', '.join(map(_plain, unused))}", file=file)
        data[key] = kept
    return data


def _read_one(file: Path, data: dict[str, Any], builder: TableBuilder, stems: Counter[str]) -> None:
    problems = builder.problems
    species = _lookup(file, data, ("categories",), problems)
    individuals = _lookup(file, data, ("individuals", "names"), problems)
    by_image: dict[str, list[dict[str, Any]]] = {}
    for image in data["images"]:
        key = _id(image.get("id"), file, "images.id", problems)
        if key in by_image:
            problems.error("two images share an id", file=file, column="images.id", value=key)
        by_image[key] = []
    for annotation in data["annotations"]:
        key = _id(annotation.get("image_id"), file, "annotations.image_id", problems)
        if key not in by_image:
            message = f"annotation {_plain(annotation.get('id'))} belongs to no image"
            problems.error(message, file=file, column="annotations.image_id", value=key)
        else:
            by_image[key].append(annotation)
    folder = _image_folder(file, [_name(image) for image in data["images"]], builder.root)
    turned = 0
    for image in data["images"]:
        name = _name(image)
        stem = stem_of(name)
        annotations = by_image[_id(image.get("id"), file, "images.id", Problems(strict=False))]
        for annotation in annotations or [{}]:
            several = len(annotations) > 1 or stems[stem] > 1
            suffix = f"-a{_plain(annotation['id'])}" if "id" in annotation else f"-i{_plain(image.get('id'))}"
            turned += _turned(annotation)
            try:
                individual = _individual(annotation, individuals)
            except ValueError as error:
                problems.error(str(error), file=file, column="annotations.individual_id", value=annotation.get("id"))
                individual = None
            values = {
                "image_id": stem + suffix if several and stem else stem,
                "path": name,
                "width": image.get("width"),
                "height": image.get("height"),
                "date": _first(_DATES, annotation, image),
                "viewpoint": _first(_VIEWPOINTS, annotation),
                "encounter_id": _first(("encounter_id",), annotation, image),
                "individual_id": individual,
                "species": _species(annotation, species, file, problems),
                "box": annotation.get("bbox") or None,
            }
            columns = {"path": "images.file_name", "image_id": "images.file_name", "box": "annotations.bbox"}
            builder.add(values, file, None, columns, folder)
    if turned:
        problems.warning(
            f"{turned} boxes are turned (theta); the upright boxes around the same centre are taken",
            file=file,
            column="annotations.theta",
        )


def _id(value: object, file: Path, column: str, problems: Problems) -> str:
    """Return an id as text, alike for 3, 3.0 and "3"; what can be none is a problem and equals nothing else."""
    try:
        return text_of(value)
    except ValueError as error:
        problems.error(str(error), file=file, column=column)
        return f"\0{value!r}"


def _name(image: dict[str, Any]) -> str:
    """Return an image's file name as it stands, "" where it is none."""
    name = image.get("file_name")
    return name if isinstance(name, str) else ""


def _plain(value: object) -> str:
    """Return a value as text that can be part of an id or a message, whatever it is."""
    try:
        return text_of(value)
    except ValueError:
        return ascii(value)[:40]


def _first(names: Iterable[str], *entries: dict[str, Any]) -> Any:
    """Return the first value that says something, of the first entry that has one."""
    return next((entry[name] for entry in entries for name in names if entry.get(name) not in (None, "", 0)), None)


def _lookup(file: Path, data: dict[str, Any], keys: Iterable[str], problems: Problems) -> dict[str, str]:
    """Return id -> name of lists of objects that have both."""
    names: dict[str, str] = {}
    for key in keys:
        entries = data.get(key)
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and "id" in entry and entry.get("name") is not None:
                try:
                    names[_id(entry["id"], file, f"{key}.id", problems)] = text_of(entry["name"])
                except ValueError as error:
                    problems.error(str(error), file=file, column=f"{key}.name")
    return names


def _species(annotation: dict[str, Any], names: dict[str, str], file: Path, problems: Problems) -> str | None:
    if annotation.get("category_id") is None:
        return None
    return names.get(_id(annotation["category_id"], file, "annotations.category_id", problems))


def _individual(annotation: dict[str, Any], names: dict[str, str]) -> str | None:
    """Return the individual's name; ValueError where its place holds something that is none."""
    for field_name in _INDIVIDUALS:
        value = annotation.get(field_name)
        if field_name == "individual_ids" and isinstance(value, list):
            value = value[0] if value else None
        text = text_of(value)
        if text:
            return names.get(text, text)
    return None


def _turned(annotation: dict[str, Any]) -> bool:
    theta = annotation.get("theta")
    return isinstance(theta, int | float) and math.isfinite(theta) and abs(theta) > 1e-6


def _image_folder(file: Path, names: list[str], root: Path) -> Path:
    """Return the folder that file names start from: Wildbook's images/<set>, images/, or the one of the JSON file.

    It is found from any photograph that exists.
    """
    subset = file.stem.removeprefix("instances_")
    home = file.absolute().parent
    tops = [home, home.parent] if home.name == "annotations" else [home]
    places = [place for top in tops for place in (top, top / "images", top / "images" / subset, top / subset)]
    places = [place for place in places if place.is_dir() and place.is_relative_to(root)]
    for name in map(written_path, names):
        for place in places:
            if name and "\0" not in name and exists(place / name):
                return place
    return tops[-1] / "images" if (tops[-1] / "images").is_dir() else tops[-1]
