"""Valid catalogues in every layout, made from one small truth: what the mutations of tables start from."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import random
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

Box = tuple[int, int, int, int]
SIZE = (400, 300)
"""(width, height) of every photograph."""


@dataclass(frozen=True)
class Truth:
    """What is true of one photograph; None where a document does not tell it.

    Attributes:
        image_id: its id.
        file: its path from the catalogue's folder, as it is on disk.
        individual, viewpoint, encounter, species: names.
        moment: date and time; a time of None is a day alone.
        box: the animal's box in pixels.
    """

    image_id: str
    file: str
    individual: str | None = None
    viewpoint: str | None = None
    encounter: str | None = None
    species: str | None = None
    date: dt.date | None = None
    time: dt.time | None = None
    box: Box | None = None


TRUTH = (
    Truth(
        "p1", "images/p1.png", "Ünal", "top", "e1", "beluga", dt.date(2017, 8, 17), dt.time(20, 38), (10, 20, 200, 100)
    ),
    Truth("p2", "images/p2.png", "Ünal", "left", "e1", "beluga", dt.date(2017, 8, 17), dt.time(20, 45), None),
    Truth("p3", "images/Zoë 3.png", "12", None, "e2", "beluga", dt.date(2018, 9, 3), None, (0, 5, 90, 200)),
    Truth("p4", "images/p4.png", "w-4", "right", None, "orca", None, None, None),
    Truth("p5", "images/p5.png", None, "top", "e3", None, dt.date(2019, 1, 31), dt.time(7, 5), (3, 4, 50, 60)),
)
LAYOUTS = ("csv", "challenge", "happywhale", "coco", "megadetector", "folders")


@dataclass
class Document:
    """A catalogue before it is written, open to mutations.

    Attributes:
        layout: one of :data:`LAYOUTS`.
        truth: what reading it must give.
        header, rows: of a delimited table.
        data: of a JSON document.
        delimiter, encoding, newline, before: how a table is written; ``before`` stands above the header.
        quote_all: every cell in quotes.
        folders: of the layout "folders", path of each photograph -> the file that is put there.
        damage: what is done to the bytes in the end.
        told: a mutation after which the document cannot be read right, so that something must be said.
        open_ended: nobody can say what the bytes mean now; any reading without a traceback will do.
    """

    layout: str
    truth: list[Truth]
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    data: Any = None
    delimiter: str = ","
    encoding: str = "utf-8"
    newline: str = "\n"
    before: str = ""
    quote_all: bool = False
    folders: dict[str, str] = field(default_factory=dict)
    damage: list[Any] = field(default_factory=list)
    told: bool = False
    open_ended: bool = False

    def column(self, name: str) -> int | None:
        """Return the position of a column by its first name, None if it has been taken away."""
        return self.header.index(name) if name in self.header else None

    def alter(self, row: int, **changes: Any) -> None:
        """Change what is true of a photograph."""
        self.truth[row] = replace(self.truth[row], **changes)

    def encoded(self) -> bytes:
        """Return the table's or the JSON document's bytes."""
        if self.data is not None:
            text = json.dumps(self.data)
        else:
            stream = io.StringIO(newline="")
            writer = csv.writer(
                stream,
                delimiter=self.delimiter,
                lineterminator=self.newline,
                quoting=csv.QUOTE_ALL if self.quote_all else csv.QUOTE_MINIMAL,
            )
            writer.writerows([self.header, *self.rows])
            text = self.before + stream.getvalue()
        data = text.encode(self.encoding, errors="surrogatepass" if self.encoding.startswith("utf") else "replace")
        for change in self.damage:
            data = change(data)
        return data


def make_photographs(folder: Path) -> None:
    """Write the photographs of the truth once; documents are then written beside them."""
    for number, item in enumerate(TRUTH):
        path = folder / item.file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE, (40 * number, 90, 120)).save(path)


def make_document(layout: str, chance: random.Random) -> Document:
    """Return a valid document of a layout."""
    document = Document(layout, list(TRUTH))
    if layout in ("csv", "challenge"):
        document.header = ["image_id", "path", "whale_id", "viewpoint", "timestamp", "encounter_id", "species"]
        document.header += ["x", "y", "w", "h"]
        document.rows = [_cells(item) for item in document.truth]
    elif layout == "happywhale":
        document.header = ["image", "species", "individual_id"]
        document.truth = [
            Truth(Path(item.file).name, item.file, item.individual, species=item.species) for item in document.truth
        ]
        document.rows = [[Path(t.file).name, t.species or "", t.individual or ""] for t in document.truth]
    elif layout == "coco":
        document.truth = [replace(item, image_id=Path(item.file).stem) for item in document.truth]
        document.data = _coco(document.truth)
    elif layout == "megadetector":
        document.truth = [Truth(Path(item.file).stem, item.file, box=(40, 30, 200, 150)) for item in document.truth]
        images = [
            {"file": item.file, "detections": [{"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}]}
            for item in document.truth
        ]
        document.data = {"images": images, "detection_categories": {"1": "animal", "2": "person"}, "info": {}}
    else:
        document.truth = [
            Truth(Path(item.file).stem, f"{item.individual}/{Path(item.file).name}", item.individual)
            for item in document.truth
            if item.individual
        ]
        document.folders = {new.file: old.file for new, old in zip(document.truth, TRUTH, strict=False)}
    if document.rows and chance.random() < 0.5:
        document.delimiter = chance.choice(",;\t|")
    return document


def write_document(document: Document, folder: Path) -> Path:
    """Write a document where only it and the photographs are, and return what is to be read."""
    for child in folder.iterdir():
        if child.name != "images":
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    images, train = folder / "images", folder / "train_images"
    if document.layout == "happywhale":
        train.symlink_to(images)
    if document.layout == "folders":
        home = folder / "by name"
        for place, source in document.folders.items():
            target = home / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if source:
                os.link(folder / source, target)
            else:
                target.write_bytes(b"x")
        return home
    names = {"challenge": "metadata.csv", "happywhale": "train.csv", "csv": "photos.csv"}
    file = folder / names.get(document.layout, "animals.json")
    file.write_bytes(document.encoded())
    return file


def moment_text(item: Truth) -> str:
    """Return date and time as the plain documents write them."""
    if item.date is None:
        return ""
    return f"{item.date} {item.time}" if item.time is not None else str(item.date)


def _cells(item: Truth) -> list[str]:
    box = [""] * 4 if item.box is None else [str(side) for side in item.box]
    names = [item.individual or "", item.viewpoint or "", moment_text(item), item.encounter or "", item.species or ""]
    return [item.image_id, item.file, *names, *box]


def _coco(truth: list[Truth]) -> dict[str, Any]:
    images, annotations = [], []
    species = {"beluga": 1, "orca": 2}
    for number, item in enumerate(truth, start=1):
        images.append({"id": number, "file_name": item.file, "width": SIZE[0], "height": SIZE[1]})
        annotation: dict[str, Any] = {"id": 10 + number, "image_id": number}
        known = {
            "bbox": list(item.box) if item.box else None,
            "name": item.individual,
            "viewpoint": item.viewpoint,
            "date": moment_text(item) or None,
            "encounter_id": item.encounter,
            "category_id": species.get(item.species or ""),
        }
        annotations.append(annotation | {name: value for name, value in known.items() if value is not None})
    categories = [{"id": number, "name": name} for name, number in species.items()]
    return {"images": images, "annotations": annotations, "categories": categories}
