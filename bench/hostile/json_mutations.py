"""What other programs do to JSON documents and people to folders; see :mod:`bench.hostile.table_mutations`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from bench.hostile.byte_mutations import Mutation, noise, other_encoding
from bench.hostile.table_documents import Document

ODD_VALUES: tuple[Any, ...] = (
    *(
        [3],
        {"a": 1},
        [[]],
        True,
        1e30,
        -1e30,
        float("nan"),
        float("inf"),
        10**30,
        "\ud800",
        "a\0b",
        "",
        None,
        0,
        -1,
        3.5,
    ),
    *("x" * 3000, "[1]", "NA", [0.1, 0.1, 0.5, 0.5], [1, 2, 3], [-5, -5, 3, 3], ["a", 1, 2, 3]),
)


# --- JSON ------------------------------------------------------------------------------------------------------------


def entries_of(document: Document) -> Iterator[dict[str, Any]]:
    """Every object of a JSON document, the outermost first."""
    todo = [document.data]
    while todo:
        item = todo.pop(0)
        if isinstance(item, dict):
            yield item
            todo += item.values()
        elif isinstance(item, list):
            todo += item


def json_ids_as_other_types(document: Document, chance: random.Random) -> None:
    kind = chance.choice([str, float])
    for entry in entries_of(document):
        for name in ("id", "image_id", "category_id"):
            if isinstance(entry.get(name), int) and chance.random() < 0.5:
                entry[name] = kind(entry[name])
    if document.layout == "coco":
        for entry in document.data["annotations"]:
            entry.pop("id", None)


def json_names_from_windows(document: Document, chance: random.Random) -> None:
    for entry in entries_of(document):
        for name in ("file_name", "file"):
            if isinstance(entry.get(name), str):
                entry[name] = entry[name].replace("/", "\\")


def json_odd_value(document: Document, chance: random.Random) -> None:
    entry = chance.choice(list(entries_of(document)))
    if entry:
        entry[chance.choice(list(entry))] = json.loads(json.dumps(chance.choice(ODD_VALUES)))
    document.open_ended = True


def json_field_lost(document: Document, chance: random.Random) -> None:
    entry = chance.choice(list(entries_of(document)))
    if entry:
        del entry[chance.choice(list(entry))]
    document.open_ended = True


def json_further_field(document: Document, chance: random.Random) -> None:
    for entry in entries_of(document):
        entry["area"] = 3.5


def json_boxes_in_fractions(document: Document, chance: random.Random) -> None:
    if document.layout == "coco":
        document.data["annotations"][0]["bbox"] = [0.1, 0.05, 0.8, 0.9]
        document.told = True


def json_boxes_in_pixels(document: Document, chance: random.Random) -> None:
    if document.layout == "megadetector":
        document.data["images"][0]["detections"][0]["bbox"] = [40, 30, 200, 150]
        document.told = True


def json_list_twice(document: Document, chance: random.Random) -> None:
    document.damage.append(lambda data: data[:-1] + b', "images": []}')
    document.encoding = "utf-8"
    document.told = True


# --- folders ---------------------------------------------------------------------------------------------------------


def folder_of_another_name(document: Document, chance: random.Random) -> None:
    """Rename an animal's folder; what it is called then is its name, in one spelling."""
    row = chance.randrange(len(document.truth))
    names = {
        "Old  Tom": "Old Tom",
        "12.0": "12",
        "unknown": None,
        "🐋": "🐋",
        "e\u0301": "\u00e9",
        "a,b": "a,b",
        "=x": "=x",
    }
    name = chance.choice(list(names))
    item = document.truth[row]
    new = f"{name}/{PurePosixPath(item.file).name}"
    if new not in document.folders:
        document.folders[new] = document.folders.pop(item.file)
        document.alter(row, file=new, individual=names[name])


def unreadable_photographs(document: Document, chance: random.Random) -> None:
    document.folders[f"{document.truth[0].individual}/{chance.choice(['a.CR2', 'b.nef', 'c.jxl'])}"] = ""


def further_files(document: Document, chance: random.Random) -> None:
    for name in ("notes.txt", ".hidden.png", "._a.png", "Thumbs.db"):
        document.folders[f"{document.truth[0].individual}/{name}"] = ""


def deeper_photographs(document: Document, chance: random.Random) -> None:
    document.folders[f"{document.truth[0].individual}/2017/x.png"] = "images/p1.png"


#: In the order in which several are done to one document: what needs the document whole goes first.
JSON: tuple[Mutation, ...] = (
    *(other_encoding, json_ids_as_other_types, json_names_from_windows, json_boxes_in_fractions, json_boxes_in_pixels),
    *(json_further_field, json_odd_value, json_odd_value, json_field_lost, json_list_twice, noise),
)
FOLDERS: tuple[Mutation, ...] = (folder_of_another_name, unreadable_photographs, further_files, deeper_photographs)
