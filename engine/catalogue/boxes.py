"""What a box means: four numbers in pixels of the upright photograph, however a table writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from engine.catalogue.fields import MAX_SIDE, text_of

Box = tuple[int, int, int, int]
"""(x, y, width, height) in whole pixels of the upright photograph."""

BOX_FIELDS = ("box", "box_x", "box_y", "box_w", "box_h", "box_x2", "box_y2")
"""Fields of which :func:`box_values` makes a box."""

_ADVICE = "give x, y, width, height in pixels"


def parse_box(values: Sequence[object], size: tuple[int, int] | None) -> Box:
    """Turn x, y, width, height (pixels, fractions of one allowed) into the smallest whole-pixel box that covers it.

    Args:
        values: the four numbers, or their spellings.
        size: (width, height) of the photograph, to which the box is clipped; None if not known (then it is only
            clipped at the left and upper edge).

    Raises:
        ValueError: not four numbers, fractions of the picture instead of pixels, no area, or nothing of the box lies on
            the photograph.
    """
    try:
        x, y, width, height = (float(text_of(v)) for v in values)
    except (TypeError, ValueError):
        raise ValueError(f"{_short(values)} is not a box; {_ADVICE}") from None
    numbers = (x, y, width, height)
    if not all(math.isfinite(v) and abs(v) <= MAX_SIDE for v in numbers) or width <= 0 or height <= 0:
        raise ValueError(f"box {_short(values)} has no area; {_ADVICE}")
    if looks_like_fractions(numbers):
        raise ValueError(
            f"box {_short(values)} looks like fractions of the picture; {_ADVICE} (multiply by its width and height)"
        )
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = math.ceil(x + width), math.ceil(y + height)
    if size is not None:
        right, bottom = min(right, size[0]), min(bottom, size[1])
    if right <= left or bottom <= top:
        raise ValueError(f"box {_short(values)} lies outside the photograph")
    return left, top, right - left, bottom - top


def looks_like_fractions(values: Sequence[float]) -> bool:
    """Return whether x, y, width and height are all at most 1: a box of one pixel at most, or fractions."""
    return all(-1 <= value <= 1 for value in values)


def from_fractions(values: Sequence[object], size: tuple[int, int]) -> Box:
    """Turn x, y, width, height as fractions of a picture into whole pixels.

    Args:
        values: the four fractions.
        size: (width, height) of the upright photograph.

    Raises:
        ValueError: not four fractions, or no area.
    """
    try:
        x, y, width, height = (float(text_of(v)) for v in values)
    except (TypeError, ValueError):
        raise ValueError(f"{_short(values)} is not a box; give x, y, width, height as fractions") from None
    # a detector's own rounding may step over the edge by a little
    if not all(-0.01 <= v <= 1.01 for v in (x, y, width, height)) or width <= 0 or height <= 0:
        raise ValueError(f"box {_short(values)} is no part of the picture; give x, y, width, height as fractions")
    left, top = max(0, math.floor(x * size[0])), max(0, math.floor(y * size[1]))
    right, bottom = min(size[0], math.ceil((x + width) * size[0])), min(size[1], math.ceil((y + height) * size[1]))
    if right <= left or bottom <= top:
        raise ValueError(f"box {_short(values)} lies outside the photograph")
    return left, top, right - left, bottom - top


def box_values(values: Mapping[str, object]) -> list[object] | None:
    """Return x, y, width, height of a table's row as they are written, None where the row gives no box.

    Args:
        values: of the fields :data:`BOX_FIELDS`, those that the row has. Corners (x2, y2) become width and height.
    """
    corner = [text_of(values.get(name)) for name in ("box_x", "box_y")]
    size = [text_of(values.get(name)) for name in ("box_w", "box_h")]
    opposite = [text_of(values.get(name)) for name in ("box_x2", "box_y2")]
    if any(size) or (any(corner) and not any(opposite)):
        return [*corner, *size]
    if any(corner) or any(opposite):
        try:
            (x, y), (x2, y2) = (map(float, corner), map(float, opposite))
        except ValueError:
            return [*corner, *opposite, "corners"]  # five values are no box, and the message shows them
        return [x, y, x2 - x, y2 - y]
    given = values.get("box")
    if isinstance(given, list | tuple):
        return list(given)
    text = text_of(given)
    return list(re.findall(r"[^\s,;\[\]()]+", text)) if text else None


def are_positions_on_earth(xs: Sequence[object], ys: Sequence[object]) -> bool:
    """Return whether columns x and y hold longitudes and latitudes (in either order) rather than pixels.

    They do where every value is an angle and one of them is negative or has three decimals or more; pixels are neither.
    """
    numbers: list[float] = []
    telling = False
    for value in (*xs, *ys):
        text = text_of(value)
        if not text:
            continue
        try:
            number = float(text)
        except ValueError:
            return False
        numbers.append(number)
        telling |= number < 0 or re.search(r"\.\d{3,}$", text) is not None
    angles = bool(numbers) and all(abs(number) <= 180 for number in numbers)
    return telling and angles and max(map(abs, numbers)) > 1


def _short(values: Sequence[object]) -> str:
    text = str(list(values)) if isinstance(values, list | tuple) else repr(values)
    return text if len(text) <= 80 else f"{text[:77]}..."
