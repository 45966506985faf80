"""Pictures of a pair that let a person decide: photographs side by side, both head up, and layers asked for one by one.

View 0 (the query) stands on the left, view 1 (the candidate) on the right. Pictures are (H, W, 3) uint8 RGB arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engine.report import drawing
from engine.report.drawing import Label
from engine.report.pair_layers import (
    check_layers,
    draw_inliers,
    draw_matches,
    draw_points,
    draw_regions,
    draw_skin,
    draw_warp,
    inlier_order,
    warped,
    warped_cover,
)
from engine.report.pair_layout import FINE, LINE, PairLayout, caption_lines, pair_layout, reason_lines
from engine.search.pair_evidence import PairEvidence
from features.records import ByteArray, FloatArray, LocalFeatures, Photo

_COLOURED = frozenset({"matches", "inliers", "skin"})  # layers that need the legend of colours


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
        draw_warp(canvas, evidence, layout)
    for region, heat, panel in zip(regions, (evidence.heat0, evidence.heat1), layout.panels, strict=False):
        if "heat" in wanted and heat is not None:
            drawing.lay_over(canvas[panel.window], drawing.heat_layer(drawing.upright(heat, panel)))
        draw_regions(canvas, panel, region, wanted)
    if "skin" in wanted and evidence.skin is not None:
        draw_skin(canvas, evidence.skin, layout)
    if "keypoints" in wanted:
        for view, panel in zip(features, layout.panels, strict=False):
            draw_points(canvas, panel, view)
    if "matches" in wanted:
        draw_matches(canvas, evidence, layout)
    labels = _captions(evidence, layout, wanted)
    if "inliers" in wanted:
        labels += draw_inliers(canvas, evidence, layout)
    _draw_legend_bar(canvas, layout, evidence, wanted)
    return drawing.write(canvas, labels)


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
    regions_seen = [regions for regions in (evidence.regions0, evidence.regions1) if regions is not None]
    if "keypoints" in wanted:
        words.append("rings: keypoints" if "marks" in wanted else "rings: keypoints, orange on marks")
    if "marks" in wanted:
        words.append("orange: marks" if regions_seen else "no marks were computed")
    if "body" in wanted:
        words.append("lines: body, quarters" if regions_seen else "no body was computed")
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
    top = y0 + height + 8 + LINE // 2
    for text, (x, _, width, _) in zip(texts, layout.cells, strict=True):
        for row, line in enumerate(text.splitlines()[:3]):
            colour = drawing.INK if row == 0 else drawing.QUIET_INK
            place = (x + width / 2, top + row * LINE)
            labels.append(Label(drawing.shorten(line, width, FINE), place, FINE, colour, "mm"))
    row = caption_lines(evidence)
    legend_y = top + row * LINE
    has_ramp = bool(_COLOURED & wanted)
    text = " · ".join(_legend(evidence, wanted))
    if has_ramp:
        labels.append(Label("confidence 0", (x0, legend_y), FINE, drawing.QUIET_INK))
        labels.append(Label("1", (x0 + 146, legend_y), FINE, drawing.QUIET_INK))
    where = x0 + 168 if has_ramp else x0
    room = layout.size[0] - where - 10
    labels.append(Label(drawing.shorten(text, room, FINE), (where, legend_y), FINE, drawing.QUIET_INK))
    for number, line in enumerate(reason_lines(evidence, layout.size[0]), start=1):
        labels.append(Label(line, (x0, legend_y + number * LINE), FINE))
    return [label for label in labels if label.text]


def _draw_legend_bar(canvas: ByteArray, layout: PairLayout, evidence: PairEvidence, wanted: frozenset[str]) -> None:
    if not _COLOURED & wanted:
        return
    x0, y0, _, height = layout.cells[0]
    middle = y0 + height + 8 + LINE // 2 + caption_lines(evidence) * LINE
    canvas[middle - 4 : middle + 5, x0 + 80 : x0 + 140] = drawing.ramp(np.linspace(0, 1, 60))


def blink_frames(evidence: PairEvidence, height: int = 480) -> tuple[ByteArray, ByteArray]:
    """Return the bare query and the candidate bent onto it, both of one size, to be shown in turn.

    Where the candidate shows nothing the second frame keeps the query, darkened. Without a model the candidate is only
    scaled to the query's size.
    """
    panels = pair_layout(evidence, height).panels
    query = np.ascontiguousarray(drawing.upright(evidence.photo0.rgb, panels[0]))
    bent = warped(evidence, panels[0], panels[1])
    seen = warped_cover(evidence, panels[0], panels[1])
    return query, np.where(seen[..., None], bent, query // 3)


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
        labels.append(Label(text, (x + side / 2, 2 * side + 25), FINE, drawing.INK, "mm"))
    if not len(rows):
        labels.append(Label("no inliers", (8 + side / 2, side), FINE, drawing.QUIET_INK, "mm"))
    return drawing.write(canvas, labels)


def _patch(photo: Photo, features: LocalFeatures, centre: FloatArray, side: int, share: float) -> ByteArray:
    image = np.ascontiguousarray(features.frame.turn(photo.rgb))
    scale = side / max(share * max(image.shape[:2]), 1.0)
    offset = (side - 1) / 2 - scale * np.asarray(centre, np.float64)
    matrix = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderValue=drawing.BACKGROUND)
