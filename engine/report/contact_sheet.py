"""Many small photographs on one sheet, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.report import drawing
from engine.report.drawing import Label
from features.records import ByteArray


def draw_contact_sheet(
    photographs: Sequence[tuple[ByteArray | None, str]], columns: int = 8, height: int = 160, width: int = 120
) -> ByteArray:
    """Draw many upright photographs in a grid, each with caption lines under it.

    Args:
        photographs: (upright RGB or None for one that cannot be read, caption with newlines).
        columns: photographs in a row.
        height: height of a cell's photograph in pixels.
        width: width of a cell.
    """
    rows = max(-(-len(photographs) // columns), 1)
    lines = min(max((len(text.splitlines()) for _, text in photographs), default=0), 3)
    step = (width + 8, height + 8 + lines * 15)
    canvas = np.empty((rows * step[1] + 8, columns * step[0] + 8, 3), np.uint8)
    canvas[:] = drawing.BACKGROUND
    labels = []
    for index, (rgb, text) in enumerate(photographs):
        x, y = 8 + (index % columns) * step[0], 8 + (index // columns) * step[1]
        middle = x + width / 2
        if rgb is None or 0 in rgb.shape:
            labels.append(Label("cannot be read", (middle, y + height / 2), 11, drawing.QUIET_INK, "mm"))
        else:
            scale = min(width / rgb.shape[1], height / rgb.shape[0])
            size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
            left, top = x + (width - size[0]) // 2, y + (height - size[1]) // 2
            canvas[top : top + size[1], left : left + size[0]] = drawing.resize(rgb, size)
        for row, line in enumerate(text.splitlines()[:lines]):
            place = (middle, y + height + 8 + row * 15)
            labels.append(Label(drawing.shorten(line, width, 11), place, 11, drawing.INK, "mm"))
    return drawing.write(canvas, labels)
