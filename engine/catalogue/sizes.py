"""What a table says of a photograph's size and of the animal's box, held against the file."""

from __future__ import annotations

from engine.catalogue.boxes import Box
from engine.catalogue.problems import Problem

Size = tuple[int, int]
"""(width, height) in pixels."""


def compare_sizes(
    stated: Size | None, found: Size, box: Box | None, *, file: str | None = None, line: int | None = None
) -> list[Problem]:
    """Return what is wrong with a stated size or a box.

    Args:
        stated: size of the whole photograph as the table has it, None where it says nothing.
        found: size of the upright photograph.
        box: the animal's box in it.
        file, line: where table or photograph stand, for the messages.
    """
    problems: list[Problem] = []
    if stated is not None and stated != found:
        message = f"the table says {stated[0]} x {stated[1]} pixels, the file has {found[0]} x {found[1]}"
        if stated == found[::-1]:
            message += "; EXIF turns it by a quarter"
        if box is not None:
            message += ", so the box may cut out another piece than was meant"
        hint = "sizes and boxes are those of the upright photograph"
        value = f"{stated[0]} x {stated[1]}"
        problems.append(Problem("warning", message, file, line, "width, height", value, hint))
    if box is not None:
        x, y, width, height = box
        photograph = f"the photograph of {found[0]} x {found[1]} pixels"
        if x >= found[0] or y >= found[1]:
            problems.append(Problem("error", f"the box lies outside {photograph}", file, line, "box", str(box)))
        elif x + width > found[0] + 1 or y + height > found[1] + 1:
            message = f"the box reaches beyond {photograph} and is cut there"
            problems.append(Problem("warning", message, file, line, "box", str(box)))
    return problems
