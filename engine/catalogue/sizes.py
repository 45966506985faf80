"""What a table says of a photograph's size and of the animal's box, held against the file."""

from __future__ import annotations

from engine.catalogue.boxes import Box
from engine.catalogue.problems import Problem

Size = tuple[int, int]
"""(width, height) in pixels."""


def compare_sizes(
    stated: Size | None, actual: Size, box: Box | None, *, file: str | None = None, line: int | None = None
) -> list[Problem]:
    """Return what is wrong with a stated size or a box.

    Args:
        stated: size of the whole photograph as the table has it, None where it says nothing.
        actual: size of the upright photograph.
        box: the animal's box in it.
        file, line: where table or photograph stand, for the messages.
    """
    problems: list[Problem] = []
    if stated is not None and stated != actual:
        message = f"the table says {stated[0]} x {stated[1]} pixels, the file has {actual[0]} x {actual[1]}"
        if stated == actual[::-1]:
            message += "; EXIF turns it by a quarter"
        if box is not None:
            message += ", so the box may cut out another piece than was meant"
        hint = "sizes and boxes are those of the upright photograph"
        value = f"{stated[0]} x {stated[1]}"
        problems.append(Problem("warning", message, file, line, "width, height", value, hint))
    if box is not None:
        x, y, width, height = box
        photograph = f"the photograph of {actual[0]} x {actual[1]} pixels"
        if x >= actual[0] or y >= actual[1]:
            problems.append(Problem("error", f"the box lies outside {photograph}", file, line, "box", str(box)))
        elif x + width > actual[0] + 1 or y + height > actual[1] + 1:
            message = f"the box reaches beyond {photograph} and is cut there"
            problems.append(Problem("warning", message, file, line, "box", str(box)))
    return problems
