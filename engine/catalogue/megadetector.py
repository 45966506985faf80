"""Boxes of animals as MegaDetector writes them: a JSON file with fractions of each picture.

Used: ``images`` with ``file`` and ``detections`` (``category``, ``conf``, ``bbox`` as x, y, width, height from 0 to 1)
and ``detection_categories``. A detection becomes a row if it is an animal of at least :data:`MIN_CONFIDENCE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.catalogue.builder import TableBuilder
from engine.catalogue.coco import looks_like_coco
from engine.catalogue.json_files import holds_words, read_json
from engine.catalogue.paths import photo_folder, stem_of
from features.photo import PhotoError, image_size

MIN_CONFIDENCE = 0.2
"""What MegaDetector's authors name as the usual threshold of its fifth version."""


def read_megadetector(path: Path, builder: TableBuilder) -> None:
    """Read a detector's file, or the one in a folder.

    The id of a row is the file's stem (the whole path where stems repeat), with ``-b1``, ``-b2`` … behind it where a
    picture shows several animals. Pictures without an animal are left out, and counted.
    """
    files = [path] if path.is_file() else find_megadetector(path)
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        builder.problems.error(f"the folder must hold exactly one detector's file; found: {found}", file=path)
        return
    file = files[0]
    data = read_json(file, builder.problems)
    if data is None:
        return
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list):
        builder.problems.error("is no detector's file: it needs the list images", file=file, column="images")
        return
    good = [image for image in images if isinstance(image, dict) and isinstance(image.get("file"), str)]
    if len(good) < len(images):
        builder.problems.error(f"{len(images) - len(good)} of the images name no file", file=file, column="images.file")
    names = [image["file"] for image in good]
    unique = len({stem_of(name) for name in names}) == len(names)
    folder = photo_folder(builder.root, names)
    animal = _animal_category(data)
    empty = 0
    for image in good:
        boxes = _boxes(image, animal, file, builder)
        if not boxes:
            empty += 1
            continue
        size = _size(image["file"], folder, file, builder)
        if size is None:
            continue
        name = stem_of(image["file"]) if unique else image["file"]
        for number, box in enumerate(boxes, start=1):
            image_id = f"{name}-b{number}" if len(boxes) > 1 else name
            values = {"image_id": image_id, "path": image["file"], "box": box}
            names_of = {"path": "images.file", "image_id": "images.file", "box": "images.detections.bbox"}
            builder.add(values, file, None, names_of, folder, photo_size=size)
    if empty:
        builder.problems.info(
            f"{empty:,} photographs without an animal of confidence {MIN_CONFIDENCE:g} or more are left out", file=file
        )


def find_megadetector(folder: Path) -> list[Path]:
    """Return the detector's files right in a folder."""
    return [file for file in sorted(folder.glob("*.json")) if looks_like_megadetector(file)]


def looks_like_megadetector(file: Path) -> bool:
    """Return whether a file holds the names that a detector's file must have, and is no COCO file."""
    return holds_words(file, ("images", "detections", "file")) and not looks_like_coco(file)


def _animal_category(data: dict[str, Any]) -> str:
    """Return the category of animals: the one that is named so, "1" where none is."""
    categories = data.get("detection_categories")
    for key, name in categories.items() if isinstance(categories, dict) else ():
        if str(name).strip().lower() == "animal":
            return str(key)
    return "1"


def _boxes(image: dict[str, Any], animal: str, file: Path, builder: TableBuilder) -> list[list[Any]]:
    detections = image.get("detections")
    if not isinstance(detections, list):
        failure = image.get("failure") or image.get("failures") or "no list of detections"
        builder.problems.warning(f"no detections: {failure}", file=file, column="images.file", value=image["file"])
        return []
    boxes = []
    for detection in detections:
        good = isinstance(detection, dict) and isinstance(detection.get("bbox"), list)
        confidence = detection.get("conf", 1.0) if good else None
        if not isinstance(confidence, int | float):
            where: dict[str, Any] = {"file": file, "column": "images.detections", "value": image["file"]}
            builder.problems.error("a detection has no bbox or no number conf", **where)
        elif str(detection.get("category", animal)) == animal and confidence >= MIN_CONFIDENCE:
            boxes.append(detection["bbox"])
    return boxes


def _size(name: str, folder: Path, file: Path, builder: TableBuilder) -> tuple[int, int] | None:
    """Return the upright size of a photograph, which fractions are fractions of."""
    try:
        return image_size(builder.resolve(name, folder))
    except PhotoError as error:
        message = f"{error.reason}; its boxes are fractions and need its size"
    except ValueError as error:
        message = str(error)
    builder.problems.error(message, file=file, column="images.file", value=name)
    return None
