"""Further boxes of photographs, from other detectors or of parts of the body, for training with several crops.

A table names them: ``image_id`` and either ``x, y, width, height`` or ``box`` with the four numbers in one cell. A
photograph may have any number of rows. The box that the catalogue itself gives (or the whole photograph) stays the
first; training shows one of all of them at random each time.
"""

from __future__ import annotations

import ast
import csv
from pathlib import Path

from engine.catalogue.catalog import Catalog
from engine.catalogue.fields import parse_box
from engine.catalogue.problems import CatalogError, Problem

Box = tuple[int, int, int, int]
_CORNER = ("x", "y", "width", "height")


def read_boxes(path: Path | str, catalog: Catalog) -> dict[str, tuple[Box, ...]]:
    """Read a CSV of further boxes.

    Args:
        path: the file.
        catalog: whose photographs they belong to; boxes are pixels of the whole, upright photograph.

    Returns:
        image id -> its boxes in the file's order, without repeats and without the catalogue's own box.

    Raises:
        CatalogError: the file cannot be read, lacks columns, names a photograph that the catalogue does not have, or
            holds something that is no box; the message names the line.
    """
    file = Path(path)
    found: dict[str, list[Box]] = {}
    own = dict(zip(catalog.table["image_id"], catalog.table["box"], strict=True))
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            columns = rows.fieldnames or []
            if "image_id" not in columns or ("box" not in columns and not set(_CORNER) <= set(columns)):
                hint = "a table of boxes has the columns image_id and x, y, width, height (or box)"
                raise CatalogError(
                    Problem("error", f"the columns are {', '.join(columns) or 'none'}", str(file), hint=hint)
                )
            for row in rows:
                image_id, box = row["image_id"], _box(row, file, rows.line_num)
                if image_id not in own:
                    message, hint = f"the catalogue has no photograph {image_id!r}", "use the catalogue's own image ids"
                    raise CatalogError(Problem("error", message, str(file), rows.line_num, "image_id", image_id, hint))
                if box != own[image_id] and box not in found.setdefault(image_id, []):
                    found[image_id].append(box)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(Problem("error", f"it cannot be read: {error}", str(file))) from error
    return {image_id: tuple(boxes) for image_id, boxes in found.items() if boxes}


def _box(row: dict[str, str], file: Path, line: int) -> Box:
    given = row.get("box")
    try:
        values = list(ast.literal_eval(given)) if given else [row.get(name) for name in _CORNER]
        return parse_box(values, None)
    except (ValueError, TypeError, SyntaxError) as error:
        where = "box" if given else "x, y, width, height"
        raise CatalogError(Problem("error", str(error), str(file), line, where, given)) from error
