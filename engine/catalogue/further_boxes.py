"""Further boxes of photographs, from other detectors or of parts of the body, for training with several crops.

A table names them: ``image_id`` and either ``x, y, width, height`` or ``box`` with the four numbers in one cell. A
photograph may have any number of rows. The box that the catalogue itself gives (or the whole photograph) stays the
first; training shows one of all of them at random each time.
"""

from __future__ import annotations

from pathlib import Path

from engine.catalogue.boxes import Box, box_values, parse_box
from engine.catalogue.catalog import Catalog
from engine.catalogue.columns import understand_columns
from engine.catalogue.problems import Problems
from engine.catalogue.tables import read_text_table


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
    problems = Problems(strict=True)
    table = read_text_table(file, problems)
    columns = understand_columns(table.columns, table.cells)
    used = {name: column for name, column in columns.used.items() if name.startswith("box")}
    if "image_id" not in table.columns or not used:
        message = f"the columns are {', '.join(table.columns) or 'none'}"
        hint = "a table of boxes has the columns image_id and x, y, width, height (or box)"
        problems.error(message, file=file, line=table.header_line, hint=hint)
    boxes_of: dict[str, list[Box]] = {}
    own = dict(zip(catalog.table["image_id"], catalog.table["box"], strict=True))
    for row, line in zip(table.rows, table.lines, strict=True):
        image_id = row["image_id"]
        if image_id not in own:
            message, hint = f"the catalogue has no photograph {image_id!r}", "use the catalogue's own image ids"
            problems.error(message, file=file, line=line, column="image_id", value=image_id, hint=hint)
        try:
            values = box_values({name: row[column] for name, column in used.items()})
            box = parse_box(values or [], None)
        except ValueError as error:
            problems.error(str(error), file=file, line=line, column=", ".join(used.values()))
        if box != own[image_id] and box not in boxes_of.setdefault(image_id, []):
            boxes_of[image_id].append(box)
    problems.log()
    return {image_id: tuple(boxes) for image_id, boxes in boxes_of.items() if boxes}
