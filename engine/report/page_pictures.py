"""The report's pictures: made once each, small, and kept inside the page or in a folder beside it."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.report.drawing import MARK, body_axis, heat_layer, outlines, resize, simplify
from engine.report.image_files import encode_jpeg
from engine.report.match_run import MatchRun
from engine.report.pair_layers import inlier_order
from engine.report.pair_picture import blink_frames
from engine.report.wording import known, text_of
from engine.search.pair_evidence import PairEvidence, ScoreParts, SkinPlaces
from features.photo import canonical_frame
from features.records import ByteArray, FloatArray, Photo, Regions

LARGE = 720
THUMBNAIL = 300
_MARKS_HEIGHT = 200
_HEAT_HEIGHT = 64  # a heat map has some 24 rows: the browser smooths them as well as a larger picture would
_LOGGER = logging.getLogger(__name__)


class PictureBook:
    """Collects encoded pictures under names made from their content, so that the same picture is kept once.

    A reference is "#name" for a picture inside the page and "pictures/name.jpg" for one in the folder.
    """

    def __init__(self, folder: Path | None) -> None:
        """Keep pictures in `folder`, or in memory for the page itself when it is None."""
        self.folder = folder
        self.inside: dict[str, str] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def add(self, data: bytes, kind: str) -> str:
        """Keep an encoded picture ("jpeg" or "png") and return its reference."""
        name = hashlib.sha256(data).hexdigest()[:20]
        if self.folder is None:
            self.inside.setdefault(name, f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}")
            return f"#{name}"
        file = self.folder / f"{name}.{'jpg' if kind == 'jpeg' else kind}"
        if not file.exists():
            file.write_bytes(data)
        return f"{self.folder.name}/{file.name}"

    def photograph(self, upright: ByteArray, height: int, quality: int = 82) -> dict[str, Any]:
        """Keep an upright photograph, at most `height` tall and three times as wide; returns ref, width and height."""
        scale = min(height / upright.shape[0], 3 * height / upright.shape[1], 1.0)
        size = (max(round(upright.shape[1] * scale), 1), max(round(upright.shape[0] * scale), 1))
        reference = self.add(encode_jpeg(resize(upright, size), quality), "jpeg")
        return {"ref": reference, "width": size[0], "height": size[1]}


class Problems:
    """What could not be shown, each once, for the page to say so."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """Return the action's result, or None with a note if it fails."""
        try:
            return action()
        except Exception as error:  # readers and features are the caller's: no failure of one picture may stop the page
            _LOGGER.warning("%s: %s", what, error)
            self.found[text_of(what)] = text_of(f"{type(error).__name__}: {error}")
            return None


def read_upright(run: MatchRun, row: dict[str, Any]) -> ByteArray:
    """Read a table row's photograph, cut out its box and turn it head up."""
    rgb = np.asarray(run.read(str(row["path"])))
    if rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"not an RGB photograph: array of shape {rgb.shape}")
    box = row.get("box")
    if isinstance(box, (tuple, list)):
        x, y, width, height = (int(value) for value in box)
        rgb = rgb[max(y, 0) : y + height, max(x, 0) : x + width]
    viewpoint = row.get("viewpoint")
    frame = canonical_frame((rgb.shape[1], rgb.shape[0]), viewpoint if known(viewpoint) else None)
    return np.ascontiguousarray(frame.turn(rgb))


def pair_data(evidence: PairEvidence, book: PictureBook) -> dict[str, Any]:
    """Return the layers of a pair as plain values: the page draws them, sharp at any size, when they are asked for.

    Matches are rows of x0, y0, x1, y1 (canonical pixels, one decimal) and confidence in per cent, the inliers first and
    the surest of them first. Keypoints are one flat list of x, y in tenths of a pixel, those on marks first.
    """
    xy0, xy1 = evidence.matched_xy
    order = inlier_order(evidence)
    others = np.setdiff1d(np.arange(len(evidence.correspondences)), order)
    rows = np.concatenate([order, others]).astype(int)
    matches = np.column_stack([xy0[rows], xy1[rows], evidence.correspondences.confidence[rows] * 100.0])
    warp = None
    if evidence.has_model:
        height = min(LARGE, max(evidence.features0.frame.canonical_size[1], 64))
        warp = book.add(encode_jpeg(blink_frames(evidence, height)[1], 80), "jpeg")
    heats = [
        None if heat is None else _heat_picture(np.ascontiguousarray(features.frame.turn(heat)), book)
        for heat, features in ((evidence.heat0, evidence.features0), (evidence.heat1, evidence.features1))
    ]
    return {
        "views": [
            _view(evidence.photo0, evidence.features0, evidence.regions0, book),
            _view(evidence.photo1, evidence.features1, evidence.regions1, book),
        ],
        "heat": None if None in heats else heats,
        "skin": None if evidence.skin is None else _skin(evidence.skin),
        "matches": _rounded(matches),
        "inliers": len(order),
        "model": evidence.verification.kind if evidence.verification.ok else "",
        "warp": warp,
        "reasons": [text_of(reason) for reason in evidence.reasons],
    }


def _skin(skin: SkinPlaces) -> list[list[float]]:
    """Return places of alike skin as rows of x0, y0, x1, y1 (canonical pixels) and cosine in per cent."""
    return _rounded(np.column_stack([skin.xy0, skin.xy1, skin.similarity * 100.0]))


def _view(photo: Photo, features: Any, regions: Regions | None, book: PictureBook) -> dict[str, Any]:
    upright = np.ascontiguousarray(features.frame.turn(photo.rgb))
    on_mark = features.marks > 0.5
    points = np.concatenate([features.canonical_xy[on_mark], features.canonical_xy[~on_mark]])
    view = {
        "picture": book.photograph(upright, LARGE)["ref"],
        "size": list(features.frame.canonical_size),
        "points": np.round(points * 10).astype(int).ravel().tolist(),
        "on_mark": int(on_mark.sum()),
    }
    if regions is not None:
        marks = np.ascontiguousarray(features.frame.turn(regions.marks))
        body = np.ascontiguousarray(features.frame.turn(regions.body))
        view["marks"] = _marks_picture(marks, book)
        slack = 0.002 * max(body.shape)
        view["body"] = [simplify(contour, slack).ravel().tolist() for contour in outlines(body) if len(contour) > 2]
        axis = body_axis(body)
        view["axis"] = [axis.line.round(1).ravel().tolist(), axis.bars.round(1).tolist()]
    return view


def _marks_picture(marks: FloatArray, book: PictureBook) -> str:
    """Keep the mark map as one colour with opacity in sixteen steps, which compresses to a few kilobytes."""
    small = _small(marks, _MARKS_HEIGHT)
    rgba = np.empty((*small.shape, 4), np.uint8)
    rgba[..., :3] = MARK
    rgba[..., 3] = np.round(small * 15) * 13
    return _keep_png(rgba, book)


def _heat_picture(heat: FloatArray, book: PictureBook) -> str:
    """Keep a heat map as a small picture in sixteen steps."""
    return _keep_png(heat_layer((np.round(_small(heat, _HEAT_HEIGHT) * 15) / 15).astype(np.float32)), book)


def _small(values: FloatArray, height: int) -> FloatArray:
    scale = min(height / max(values.shape), 1.0)
    size = (max(round(values.shape[1] * scale), 1), max(round(values.shape[0] * scale), 1))
    return np.clip(np.nan_to_num(resize(values, size)), 0.0, 1.0)


def _keep_png(rgba: ByteArray, book: PictureBook) -> str:
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG", optimize=True)
    return book.add(buffer.getvalue(), "png")


def parts_data(parts: ScoreParts) -> dict[str, Any]:
    """Return what the features added to a score as plain values: rows of name, amount, features in words."""
    return {
        "rows": [[part.name, round(part.amount, 3), [text_of(said) for said in part.said]] for part in parts.parts],
        "baseline": round(parts.baseline, 3),
        "total": round(parts.total, 3),
        "unit": parts.unit,
    }


def _rounded(table: np.ndarray) -> list[list[float]]:
    return np.round(np.nan_to_num(table.astype(np.float64)), 1).tolist()
