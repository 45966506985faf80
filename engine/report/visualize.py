"""Pictures of a pair that let a person decide: photographs side by side, both head up, and layers asked for one by one.

View 0 (the query) stands on the left, view 1 (the candidate) on the right. Pictures are (H, W, 3) uint8 RGB arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from engine.report import drawing
from engine.report.contact_sheet import draw_contact_sheet
from engine.report.drawing import Label, Panel
from engine.report.image_files import encode_jpeg, save_jpeg, save_png
from engine.search.pair_evidence import PairEvidence, SkinPlaces
from features.records import ByteArray, FloatArray, LocalFeatures, Photo, Regions
from scarmatch.errors import ScarmatchError

__all__ = [
    "LAYERS",
    "LayerError",
    "PairLayout",
    "blink_frames",
    "draw_contact_sheet",
    "draw_details",
    "draw_keypoints",
    "draw_pair",
    "encode_jpeg",
    "inlier_order",
    "pair_layout",
    "save_jpeg",
    "save_png",
]

LAYERS = ("photographs", "heat", "marks", "body", "skin", "keypoints", "matches", "inliers", "warp")
"""Every layer, in the order in which they are drawn. "photographs" is always there; "warp" adds two panels: the
candidate bent onto the query, and both laid over each other."""

_GAP = 28
_LINE = 17
_FINE = 12
_COLOURED = frozenset({"matches", "inliers", "skin"})  # layers that need the legend of colours
_NUMBERED = 20  # more numbers than these hide the skin they point at


class LayerError(ScarmatchError, ValueError):
    """A layer was asked for that does not exist; the message names those that do."""


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
    footer = 8 + _LINE * (_caption_lines(evidence) + 1 + len(_reason_lines(evidence, width))) + 8
    return PairLayout(panels, tuple(cells), (width, header + height + footer), header)


def _caption_lines(evidence: PairEvidence) -> int:
    return min(max(len(evidence.caption0.splitlines()), len(evidence.caption1.splitlines())), 3)


def _reason_lines(evidence: PairEvidence, width: int) -> list[str]:
    lines = [line for reason in evidence.reasons[:4] for line in drawing.wrap(reason, width - 40, _FINE, 2)]
    return lines[:5]


def draw_pair(
    evidence: PairEvidence, layers: Sequence[str] = ("photographs", "inliers"), height: int = 480
) -> ByteArray:
    """Draw a pair side by side, both head up.

    Args:
        evidence: what is known of the pair.
        layers: any of :data:`LAYERS`. "inliers" draws the verified matches, coloured by confidence, the surest
            numbered and the others fainter; "matches" all of them, thin; "skin" the places whose skin is alike, as
            squares coloured by their cosine; "heat" and "skin" are drawn where the evidence holds them;
            "warp" adds the candidate bent onto the query by the verified model, and both half and half.
        height: height of the photographs in the picture, in pixels; title, captions and legend come on top.

    Returns:
        (H, W, 3) uint8 RGB; :func:`pair_layout` with the same arguments says where things lie.

    Raises:
        LayerError: a layer does not exist.
        ValueError: the height is under 32 pixels.
    """
    wanted = check_layers(layers)
    layout = pair_layout(evidence, height, warp="warp" in wanted)
    canvas = np.empty((layout.size[1], layout.size[0], 3), np.uint8)
    canvas[:] = drawing.BACKGROUND
    photos = (evidence.photo0, evidence.photo1)
    regions = (evidence.regions0, evidence.regions1)
    features = (evidence.features0, evidence.features1)
    for photo, panel in zip(photos, layout.panels, strict=False):
        canvas[panel.window] = drawing.upright(photo.rgb, panel)
    if "warp" in wanted:
        _draw_warp(canvas, evidence, layout)
    for region, heat, panel in zip(regions, (evidence.heat0, evidence.heat1), layout.panels, strict=False):
        if "heat" in wanted and heat is not None:
            drawing.lay_over(canvas[panel.window], drawing.heat_layer(drawing.upright(heat, panel)))
        _draw_regions(canvas, panel, region, wanted)
    if "skin" in wanted and evidence.skin is not None:
        _draw_skin(canvas, evidence.skin, layout)
    if "keypoints" in wanted:
        for view, panel in zip(features, layout.panels, strict=False):
            _draw_points(canvas, panel, view)
    if "matches" in wanted:
        _draw_matches(canvas, evidence, layout)
    labels = _captions(evidence, layout, wanted)
    if "inliers" in wanted:
        labels += _draw_inliers(canvas, evidence, layout)
    _draw_legend_bar(canvas, layout, evidence, wanted)
    return drawing.write(canvas, labels)


def check_layers(layers: Sequence[str]) -> frozenset[str]:
    asked = [layers] if isinstance(layers, str) else list(layers)
    for layer in asked:
        if layer not in LAYERS:
            raise LayerError(f"there is no layer {layer!r}; choose among {', '.join(LAYERS)}")
    return frozenset(asked)


def _draw_regions(canvas: ByteArray, panel: Panel, regions: Regions | None, wanted: frozenset[str]) -> None:
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


def _draw_warp(canvas: ByteArray, evidence: PairEvidence, layout: PairLayout) -> None:
    query, candidate, target, both = layout.panels
    bent = _warped(evidence, target, candidate)
    canvas[target.window] = bent
    # What the model sends outside the candidate's photograph stays the query's.
    seen = _warped_cover(evidence, target, candidate)[..., None]
    canvas[both.window] = np.where(seen, (canvas[query.window].astype(np.uint16) + bent + 1) // 2, canvas[query.window])


def _draw_points(canvas: ByteArray, panel: Panel, features: LocalFeatures) -> None:
    points = panel.to_picture(features.canonical_xy)
    on_mark = features.marks > 0.5
    colours = [drawing.MARK if mark else drawing.POINT for mark in on_mark]
    drawing.draw_rings(canvas, points, colours, 2.6, halo=False)


def _draw_skin(canvas: ByteArray, skin: SkinPlaces, layout: PairLayout) -> None:
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


def _draw_matches(canvas: ByteArray, evidence: PairEvidence, layout: PairLayout) -> None:
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


def _draw_inliers(canvas: ByteArray, evidence: PairEvidence, layout: PairLayout) -> list[Label]:
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


def _headline(evidence: PairEvidence) -> str:
    parts = [evidence.title] if evidence.title else []
    if evidence.probability is not None:
        parts.append(f"probability {evidence.probability:.3f}")
    return " · ".join(parts)


def _summary(evidence: PairEvidence) -> str:
    matches = len(evidence.correspondences)
    if not evidence.verification.ok:
        return f"{matches} matches, no geometric model"
    return f"{evidence.verification.n_inliers} inliers of {matches} matches ({evidence.verification.kind})"


def _legend(evidence: PairEvidence, wanted: frozenset[str]) -> list[str]:
    """Return what the layers of a picture show, in words."""
    words = [_summary(evidence)] if {"matches", "inliers", "warp"} & wanted else []
    known = [regions for regions in (evidence.regions0, evidence.regions1) if regions is not None]
    if "keypoints" in wanted:
        words.append("rings: keypoints" if "marks" in wanted else "rings: keypoints, orange on marks")
    if "marks" in wanted:
        words.append("orange: marks" if known else "no marks were computed")
    if "body" in wanted:
        words.append("lines: body, quarters" if known else "no body was computed")
    if "skin" in wanted:
        skin = evidence.skin
        words.append("no skin was compared" if skin is None else f"squares: {len(skin)} places of alike skin")
    if "heat" in wanted:
        warm = evidence.heat0 is not None or evidence.heat1 is not None
        words.append("glow: what makes the pictures alike" if warm else "no heat map was computed")
    return words


def _captions(evidence: PairEvidence, layout: PairLayout, wanted: frozenset[str]) -> list[Label]:
    labels = [Label(drawing.shorten(_headline(evidence), layout.size[0] - 28, 14), (14, 16), 14)]
    texts = [evidence.caption0, evidence.caption1]
    if "warp" in wanted:
        texts.append("candidate on the query\n" + (evidence.verification.kind if evidence.has_model else "no model"))
        texts.append("query and candidate\nhalf and half")
    x0, y0, _, height = layout.cells[0]
    top = y0 + height + 8 + _LINE // 2
    for text, (x, _, width, _) in zip(texts, layout.cells, strict=True):
        for row, line in enumerate(text.splitlines()[:3]):
            colour = drawing.INK if row == 0 else drawing.QUIET_INK
            place = (x + width / 2, top + row * _LINE)
            labels.append(Label(drawing.shorten(line, width, _FINE), place, _FINE, colour, "mm"))
    row = _caption_lines(evidence)
    legend_y = top + row * _LINE
    has_ramp = bool(_COLOURED & wanted)
    text = " · ".join(_legend(evidence, wanted))
    if has_ramp:
        labels.append(Label("confidence 0", (x0, legend_y), _FINE, drawing.QUIET_INK))
        labels.append(Label("1", (x0 + 146, legend_y), _FINE, drawing.QUIET_INK))
    where = x0 + 168 if has_ramp else x0
    room = layout.size[0] - where - 10
    labels.append(Label(drawing.shorten(text, room, _FINE), (where, legend_y), _FINE, drawing.QUIET_INK))
    for number, line in enumerate(_reason_lines(evidence, layout.size[0]), start=1):
        labels.append(Label(line, (x0, legend_y + number * _LINE), _FINE))
    return [label for label in labels if label.text]


def _draw_legend_bar(canvas: ByteArray, layout: PairLayout, evidence: PairEvidence, wanted: frozenset[str]) -> None:
    if not _COLOURED & wanted:
        return
    x0, y0, _, height = layout.cells[0]
    middle = y0 + height + 8 + _LINE // 2 + _caption_lines(evidence) * _LINE
    canvas[middle - 4 : middle + 5, x0 + 80 : x0 + 140] = drawing.ramp(np.linspace(0, 1, 60))


def _warped(evidence: PairEvidence, target: Panel, source: Panel) -> ByteArray:
    """Bend the candidate onto the query's panel; without a model it is only scaled to the same size."""
    if not evidence.has_model:
        return drawing.resize(drawing.upright(evidence.photo1.rgb, source), target.size)
    return _bend(drawing.upright(evidence.photo1.rgb, source), evidence, target, source, drawing.BACKGROUND)


def _warped_cover(evidence: PairEvidence, target: Panel, source: Panel) -> npt.NDArray[np.bool_]:
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


def blink_frames(evidence: PairEvidence, height: int = 480) -> tuple[ByteArray, ByteArray]:
    """Return the bare query and the candidate bent onto it, both of one size, to be shown in turn.

    Where the candidate shows nothing the second frame keeps the query, darkened. Without a model the candidate is only
    scaled to the query's size.
    """
    panels = pair_layout(evidence, height).panels
    query = np.ascontiguousarray(drawing.upright(evidence.photo0.rgb, panels[0]))
    bent = _warped(evidence, panels[0], panels[1])
    seen = _warped_cover(evidence, panels[0], panels[1])
    return query, np.where(seen[..., None], bent, query // 3)


def draw_keypoints(
    photo: Photo, features: LocalFeatures, regions: Regions | None = None, height: int = 480
) -> ByteArray:
    """Draw one photograph head up with its keypoints, marks and body outline; keypoints on marks are orange."""
    max_width = round(1.4 * height)
    size = drawing.fit(features.frame, height, max_width)
    panel = drawing.place(features.frame, (0, 0, *size), max_width)
    canvas = np.ascontiguousarray(drawing.upright(photo.rgb, panel)).copy()
    _draw_regions(canvas, panel, regions, frozenset({"marks", "body"}))
    _draw_points(canvas, panel, features)
    return canvas


def draw_details(evidence: PairEvidence, count: int = 8, side: int = 96, share: float = 0.12) -> ByteArray:
    """Draw the surest inliers enlarged, the query's patch above the candidate's, numbered as in :func:`draw_pair`.

    Args:
        evidence: the pair.
        count: at most this many inliers, at least one column is drawn.
        side: side of a patch in the picture, in pixels.
        share: side of a patch relative to the animal's size (the longer side of the canonical crop).
    """
    rows = inlier_order(evidence)[:count]
    columns = max(len(rows), 1)
    canvas = np.empty((2 * side + 38, columns * (side + 8) + 8, 3), np.uint8)
    canvas[:] = drawing.BACKGROUND
    views = ((evidence.photo0, evidence.features0), (evidence.photo1, evidence.features1))
    labels = []
    for column, row in enumerate(rows):
        x = 8 + column * (side + 8)
        for view, (photo, features) in enumerate(views):
            centre = evidence.matched_xy[view][row]
            y = 8 + view * (side + 4)
            canvas[y : y + side, x : x + side] = _patch(photo, features, centre, side, share)
        confidence = float(evidence.correspondences.confidence[row])
        text = f"{column + 1} · {confidence:.2f}"
        labels.append(Label(text, (x + side / 2, 2 * side + 25), _FINE, drawing.INK, "mm"))
    if not len(rows):
        labels.append(Label("no inliers", (8 + side / 2, side), _FINE, drawing.QUIET_INK, "mm"))
    return drawing.write(canvas, labels)


def _patch(photo: Photo, features: LocalFeatures, centre: FloatArray, side: int, share: float) -> ByteArray:
    image = np.ascontiguousarray(features.frame.turn(photo.rgb))
    scale = side / max(share * max(image.shape[:2]), 1.0)
    offset = (side - 1) / 2 - scale * np.asarray(centre, np.float64)
    matrix = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderValue=drawing.BACKGROUND)
