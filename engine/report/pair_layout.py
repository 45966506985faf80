"""Where things lie in the picture of a pair: two upright photographs side by side, captions and reasons below."""

from __future__ import annotations

from dataclasses import dataclass

from engine.report import drawing
from engine.report.drawing import Panel
from engine.search.pair_evidence import PairEvidence

#: Height of a line of text, and of its letters, in pixels.
LINE, FINE = 17, 12
_GAP = 28


@dataclass(frozen=True)
class PairLayout:
    """Where things lie in a pair picture.

    Attributes:
        panels: the query's and the candidate's panel, and if asked for the warped candidate's and that of both.
        cells: (x, y, width, height) around each panel: the photograph's own margin.
        size: (width, height) of the whole picture.
        header: height of the strip above the photographs.
    """

    panels: tuple[Panel, ...]
    cells: tuple[tuple[int, int, int, int], ...]
    size: tuple[int, int]
    header: int


def pair_layout(evidence: PairEvidence, height: int = 480, *, warp: bool = False) -> PairLayout:
    """Lay out a pair picture whose photographs are `height` pixels tall (wide ones as wide as 1.4 times that).

    Raises:
        ValueError: the height is under 32 pixels.
    """
    if height < 32:
        raise ValueError(f"a pair picture needs photographs at least 32 pixels tall, {height} asked for")
    max_width = round(1.4 * height)
    frames = [evidence.features0.frame, evidence.features1.frame, *([evidence.features0.frame] * 2 if warp else [])]
    header = 30 if evidence.title or evidence.probability is not None else 10
    cells: list[tuple[int, int, int, int]] = []
    x = 14
    for frame in frames:
        width = max(drawing.fit(frame, height, max_width)[0] + 44, round(0.5 * height), 180)
        cells.append((x, header, width, height))
        x += width + _GAP
    panels = tuple(drawing.place(frame, cell, max_width) for frame, cell in zip(frames, cells, strict=True))
    width = x - _GAP + 14
    footer = 8 + LINE * (caption_lines(evidence) + 1 + len(reason_lines(evidence, width))) + 8
    return PairLayout(panels, tuple(cells), (width, header + height + footer), header)


def caption_lines(evidence: PairEvidence) -> int:
    """Return how many lines the captions take, 3 at most."""
    return min(max(len(evidence.caption0.splitlines()), len(evidence.caption1.splitlines())), 3)


def reason_lines(evidence: PairEvidence, width: int) -> list[str]:
    """Return the weightiest reasons, broken into lines that fit the picture."""
    lines = [line for reason in evidence.reasons[:4] for line in drawing.wrap(reason, width - 40, FINE, 2)]
    return lines[:5]
