"""What can be drawn on the picture of a pair, layer by layer: every function draws one of :data:`LAYERS` in place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from engine.report import drawing
from engine.report.drawing import Label, Panel
from engine.report.pair_layout import PairLayout
from engine.search.pair_evidence import PairEvidence, SkinPlaces
from features.records import ByteArray, FloatArray, LocalFeatures, Regions
from scarmatch.errors import ScarmatchError

LAYERS = ("photographs", "heat", "marks", "body", "skin", "keypoints", "matches", "inliers", "warp")
"""Every layer, in the order in which they are drawn. "photographs" is always there; "warp" adds two panels: the
candidate bent onto the query, and both laid over each other."""

_NUMBERED = 20  # more numbers than these hide the skin they point at


class LayerError(ScarmatchError, ValueError):
    """A layer was asked for that does not exist; the message names those that do."""


def check_layers(layers: Sequence[str]) -> frozenset[str]:
    names = [layers] if isinstance(layers, str) else list(layers)
    for layer in names:
        if layer not in LAYERS:
            raise LayerError(f"there is no layer {layer!r}; choose among {', '.join(LAYERS)}")
    return frozenset(names)


def draw_regions(canvas: ByteArray, panel: Panel, regions: Regions | None, wanted: frozenset[str]) -> None:
    """Draw the layers "marks" and "body" of one view where they are wanted and known."""
    if regions is None:
        return
    if "marks" in wanted:
        marks = drawing.upright(regions.marks, panel)
        drawing.blend(canvas[panel.window], drawing.MARK, 0.75 * np.clip(marks, 0, 1))
    if "body" in wanted:
        body = drawing.upright(regions.body, panel)
        for contour in drawing.outlines(body):
            shifted = contour + np.asarray(panel.origin, np.int32)
            cv2.polylines(canvas, [shifted], True, drawing.HALO, 3, cv2.LINE_AA)
            cv2.polylines(canvas, [shifted], True, drawing.OUTLINE, 1, cv2.LINE_AA)
        axis = drawing.body_axis(body)
        line = axis.line + np.asarray(panel.origin, np.float32)
        ends = axis.bars + np.asarray([*panel.origin, *panel.origin], np.float32)
        start, end = np.concatenate([line[:-1], ends[:, :2]]), np.concatenate([line[1:], ends[:, 2:]])
        drawing.draw_lines(canvas, start, end, [drawing.AXIS] * len(start), halo=True)


def draw_warp(canvas: ByteArray, evidence: PairEvidence, layout: PairLayout) -> None:
    """Draw the candidate bent onto the query, and the two laid over each other."""
    query, candidate, target, both = layout.panels
    bent = warped(evidence, target, candidate)
    canvas[target.window] = bent
    # What the model sends outside the candidate's photograph stays the query's.
    seen = warped_cover(evidence, target, candidate)[..., None]
    canvas[both.window] = np.where(seen, (canvas[query.window].astype(np.uint16) + bent + 1) // 2, canvas[query.window])


def draw_points(canvas: ByteArray, panel: Panel, features: LocalFeatures) -> None:
    """Draw a view's keypoints as rings, those on marks in the colour of marks."""
    points = panel.to_picture(features.canonical_xy)
    on_mark = features.marks > 0.5
    colours = [drawing.MARK if mark else drawing.POINT for mark in on_mark]
    drawing.draw_rings(canvas, points, colours, 2.6, halo=False)


def draw_skin(canvas: ByteArray, skin: SkinPlaces, layout: PairLayout) -> None:
    """Draw places of alike skin as small squares, each two of a pair in one colour and joined by a faint line."""
    start, end = layout.panels[0].to_picture(skin.xy0), layout.panels[1].to_picture(skin.xy1)
    colours = drawing.ramp(skin.similarity)
    over = canvas.copy()
    drawing.draw_lines(over, start, end, colours, halo=False)
    cv2.addWeighted(over, 0.35, canvas, 0.65, 0.0, dst=canvas)
    half = 3
    for points in (start, end):
        for (x, y), colour in zip(np.rint(points).astype(int).tolist(), colours.tolist(), strict=True):
            cv2.rectangle(canvas, (x - half, y - half), (x + half, y + half), colour, 1)


def draw_matches(canvas: ByteArray, evidence: PairEvidence, layout: PairLayout) -> None:
    """Draw all matches, thin and faint, coloured by confidence."""
    xy0, xy1 = evidence.matched_xy
    start, end = layout.panels[0].to_picture(xy0), layout.panels[1].to_picture(xy1)
    _draw_faint(canvas, start, end, drawing.ramp(evidence.correspondences.confidence))


def _draw_faint(canvas: ByteArray, start: FloatArray, end: FloatArray, colours: ByteArray) -> None:
    """Draw many matches so that the skin shows through."""
    over = canvas.copy()
    drawing.draw_lines(over, start, end, colours, halo=False)
    drawing.draw_rings(over, start, colours, 2.0, halo=False)
    drawing.draw_rings(over, end, colours, 2.0, halo=False)
    cv2.addWeighted(over, 0.7, canvas, 0.3, 0.0, dst=canvas)


def inlier_order(evidence: PairEvidence) -> npt.NDArray[np.intp]:
    """Return the rows of the inliers among the correspondences, the surest first; number 1 is the first of them."""
    rows = np.flatnonzero(evidence.verification.inliers)
    if not evidence.verification.ok:
        return rows[:0]
    confidence = np.nan_to_num(np.asarray(evidence.correspondences.confidence, np.float64)[rows])
    return rows[np.argsort(-confidence, kind="stable")]


def draw_inliers(canvas: ByteArray, evidence: PairEvidence, layout: PairLayout) -> list[Label]:
    """Draw the verified matches, the surest strong and numbered; return the numbers."""
    rows = inlier_order(evidence)
    xy0, xy1 = evidence.matched_xy
    start, end = layout.panels[0].to_picture(xy0[rows]), layout.panels[1].to_picture(xy1[rows])
    colours = drawing.ramp(evidence.correspondences.confidence[rows])
    if len(rows) > _NUMBERED:
        _draw_faint(canvas, start[_NUMBERED:], end[_NUMBERED:], colours[_NUMBERED:])
    sure = slice(_NUMBERED)
    drawing.draw_lines(canvas, start[sure], end[sure], colours[sure], halo=True)
    drawing.draw_rings(canvas, start[sure], colours[sure], 3.2)
    drawing.draw_rings(canvas, end[sure], colours[sure], 3.2)
    size = 11 if layout.panels[0].size[1] < 700 else 14
    places = []
    for points, cell, away in ((start, layout.cells[0], -1), (end, layout.cells[1], 1)):
        x, y, width, height = cell
        places.append(drawing.place_numbers(points, away, size, (x, y, x + width, y + height), _NUMBERED))
    labels = []
    for number, (place0, place1) in enumerate(zip(*places, strict=True), start=1):
        if place0 is None or place1 is None:
            continue  # a number on one side only would send the eye looking for nothing
        labels += [Label(str(number), place, size, drawing.INK, "mm", halo=True) for place in (place0, place1)]
    return labels


def warped(evidence: PairEvidence, target: Panel, source: Panel) -> ByteArray:
    """Bend the candidate onto the query's panel; without a model it is only scaled to the same size."""
    if not evidence.has_model:
        return drawing.resize(drawing.upright(evidence.photo1.rgb, source), target.size)
    return _bend(drawing.upright(evidence.photo1.rgb, source), evidence, target, source, drawing.BACKGROUND)


def warped_cover(evidence: PairEvidence, target: Panel, source: Panel) -> npt.NDArray[np.bool_]:
    """Return where on the query's panel the bent candidate shows anything."""
    if not evidence.has_model:
        return np.ones(target.size[::-1], bool)
    full = np.full(source.size[::-1], 255, np.uint8)
    return np.asarray(_bend(full, evidence, target, source, (0,)) > 127)


def _bend(image: ByteArray, evidence: PairEvidence, target: Panel, source: Panel, border: tuple[int, ...]) -> ByteArray:
    here = Panel(target.frame, target.scale, (0, 0), target.size)
    there = Panel(source.frame, source.scale, (0, 0), source.size)
    back = there.matrix @ evidence.verification.model @ np.linalg.inv(here.matrix)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, back, target.size, flags=flags, borderValue=border)
