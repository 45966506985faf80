"""The records that leave this package: plain arrays, with their shapes, units and conventions.

Conventions, everywhere in the project:

* Pixels are (x, y), x to the right and y down; sizes are (width, height); pixel centres lie at integer coordinates.
* Coordinates are float32 pixels of the **original** photograph: after the EXIF orientation, before any rotation or
  enlargement that a stage makes for itself.
* The **canonical frame** shows the animal head up: top views as they are published, laterals turned by a quarter so
  that the head points up (:class:`Frame` converts).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph in memory.

    Attributes:
        rgb: (H, W, 3) uint8, EXIF orientation applied, cropped to the animal's box where the catalogue gives one.
        valid: (H, W) bool, False where pixels are missing (pure white corners left by a rotation).
        sha256: hex digest of the file's bytes (of the raw pixels for an array that never was a file).
        path: where it was read from, None for an array.
    """

    rgb: ByteArray
    valid: BoolArray
    sha256: str
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass(frozen=True)
class Frame:
    """The turn between the original photograph and the canonical, head-up frame.

    Attributes:
        size: (width, height) of the original photograph in pixels.
        quarter_turns: number of counter-clockwise quarter turns (0..3, as in :func:`numpy.rot90`) that bring the
            original into the canonical frame.
        degrees: by how much it is turned counter-clockwise beyond them, from 0 to below 90. The canonical frame then
            holds the ellipse that fills the photograph: tight crops show animals, and their corners water. A frame for
            the corners too would show the animal smaller than in photographs that were not turned.
    """

    size: tuple[int, int]
    quarter_turns: int = 0
    degrees: float = 0.0

    @property
    def canonical_size(self) -> tuple[int, int]:
        """(width, height) of the canonical frame in pixels."""
        width, height = self._quarter_turned
        if not self.degrees:
            return (width, height)
        cosine, sine = self._direction
        return (
            max(1, round(np.hypot(width * cosine, height * sine))),
            max(1, round(np.hypot(width * sine, height * cosine))),
        )

    @property
    def _quarter_turned(self) -> tuple[int, int]:
        width, height = self.size
        return (height, width) if self.quarter_turns % 2 else (width, height)

    @property
    def _direction(self) -> tuple[float, float]:
        """Cosine and sine of the angle beyond the quarter turns, neither below 0."""
        angle = np.radians(self.degrees)
        return float(np.cos(angle)), float(np.sin(angle))

    @property
    def _rotation(self) -> npt.NDArray[np.float64]:
        """(2, 3), maps quarter-turned pixels to canonical ones: about the middle, counter-clockwise, y downwards."""
        cosine, sine = self._direction
        turn = np.array([[cosine, sine], [-sine, cosine]])
        middle, new = ((np.array(size) - 1) / 2 for size in (self._quarter_turned, self.canonical_size))
        return np.column_stack([turn, new - turn @ middle])

    def rotated(self, degrees: float) -> Frame:
        """Return the frame that is turned further, counter-clockwise."""
        quarters, rest = divmod(self.degrees + degrees, 90.0)
        return Frame(self.size, (self.quarter_turns + int(quarters)) % 4, float(rest))

    def to_canonical(self, xy: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) original pixels to canonical pixels (same scale, turned)."""
        points = self._quarter_turn(np.asarray(xy, dtype=np.float32).reshape(-1, 2))
        if not self.degrees:
            return points
        rotation = self._rotation
        return (points @ rotation[:, :2].T + rotation[:, 2]).astype(np.float32)

    def _quarter_turn(self, points: FloatArray) -> FloatArray:
        width, height = self.size
        x, y = points[:, 0], points[:, 1]
        match self.quarter_turns % 4:
            case 1:
                turned = (y, width - 1 - x)
            case 2:
                turned = (width - 1 - x, height - 1 - y)
            case 3:
                turned = (height - 1 - y, x)
            case _:
                turned = (x, y)
        return np.stack(turned, axis=1).astype(np.float32)

    def to_original(self, xy: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) canonical pixels back to original pixels; the inverse of :meth:`to_canonical`."""
        points = np.asarray(xy, dtype=np.float32).reshape(-1, 2)
        if self.degrees:
            rotation = self._rotation
            points = ((points - rotation[:, 2]) @ rotation[:, :2]).astype(np.float32)
        return Frame(self._quarter_turned, -self.quarter_turns % 4).to_canonical(points)

    def turn(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn an (H, W, ...) array of the original into the canonical frame.

        Quarter turns are a view, not a copy. At any other angle values are interpolated (those of a mask are not), and
        what lies outside the original is 0.
        """
        turned = np.rot90(image, self.quarter_turns)
        return turned if not self.degrees else _warped(turned, self._rotation, self.canonical_size)

    def turn_back(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn an (H, W, ...) array of the canonical frame into the original; the inverse of :meth:`turn`."""
        if self.degrees:
            turn, shift = np.split(self._rotation, [2], axis=1)
            image = _warped(image, np.column_stack([turn.T, -turn.T @ shift]), self._quarter_turned)
        return np.rot90(image, -self.quarter_turns)


def _warped(image: npt.NDArray[Any], matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Move an (H, W, ...) array by a (2, 3) map of pixels into one of a (width, height)."""
    import cv2

    mask = image.dtype == np.bool_
    values = np.ascontiguousarray(image).view(np.uint8) if mask else np.ascontiguousarray(image)
    moved = cv2.warpAffine(values, matrix, size, flags=cv2.INTER_NEAREST if mask else cv2.INTER_LINEAR)
    return moved.view(np.bool_) if mask else moved


@dataclass(frozen=True, eq=False)
class Regions:
    """Where the animal and its marks are, on the original photograph's pixel grid.

    Attributes:
        body: (H, W) float32 in [0, 1], share of certainty that a pixel shows visible skin (0 on missing pixels).
        marks: (H, W) float32 in [0, 1], how strongly a pixel stands out as a scar, scratch, notch or patch (0 off
            body).
        body_share: share of the valid pixels that belong to the body, in [0, 1].
        sharpness: how well fine structure on the body is resolved (unit-less, larger is sharper).
    """

    body: FloatArray
    marks: FloatArray
    body_share: float
    sharpness: float


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Keypoints and descriptors of one photograph.

    Attributes:
        xy: (N, 2) float32, original pixels.
        scores: (N,) float32 in [0, 1], the detector's confidence.
        descriptors: (N, D) float16 or float32, L2-normalised.
        marks: (N,) float32 in [0, 1], strength of the mark region under the keypoint.
        body: (N,) float32 in [0, 1], body certainty under the keypoint.
        frame: original size and quarter turn to the canonical frame.
        kind: name of the detector and descriptor, e.g. "aliked".
        body_xy: (N, 2) float32 (along, across) on the animal (:mod:`features.body_frame`), None where nobody asked.
    """

    xy: FloatArray
    scores: FloatArray
    descriptors: npt.NDArray[np.floating]
    marks: FloatArray
    body: FloatArray
    frame: Frame
    kind: str
    body_xy: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def canonical_xy(self) -> FloatArray:
        """(N, 2) float32 keypoints in canonical (head-up) pixels."""
        return self.frame.to_canonical(self.xy)

    @property
    def on_body(self) -> FloatArray:
        """(N, 2) float32 (along, across) on the animal; where its body was not looked for, on the crop instead.

        Along goes from 0 at the head end to 1 at the tail end, across from -1 (left) over 0 (middle) to 1 (right).
        """
        if self.body_xy is not None:
            return self.body_xy
        share = (self.canonical_xy + np.float32(0.5)) / np.array(self.frame.canonical_size, np.float32)
        return np.stack([share[:, 1], 2 * share[:, 0] - 1], 1).astype(np.float32)


@dataclass(frozen=True)
class PhotoRef:
    """Where a photograph lies and how it is to be read.

    Attributes:
        image_id: its name in the catalogue.
        path: the file.
        viewpoint: "top", "left", "right", another word, or None where unknown.
        box: (x, y, width, height) of the animal in the upright photograph, None for all of it.
    """

    image_id: str
    path: Path
    viewpoint: str | None = None
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Description:
    """What is kept of one photograph in memory while a catalogue is searched.

    Attributes:
        image_id: its name in the catalogue.
        key: content key (bytes, box, turn), under which its local features lie in the store.
        size: (width, height) in pixels, upright, after the box.
        vector: (D,) float32 global descriptor, L2-normalised.
        n_keypoints: number of keypoints.
        body_share: share of valid pixels that show the body.
        sharpness: see :class:`Regions`.
    """

    image_id: str
    key: str
    size: tuple[int, int]
    vector: FloatArray
    n_keypoints: int
    body_share: float
    sharpness: float

    @property
    def numbers(self) -> tuple[float, ...]:
        """Everything but names and vector, as a summary keeps it."""
        return (*map(float, self.size), float(self.n_keypoints), self.body_share, self.sharpness)


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be described: its name, file and the reason in words."""

    image_id: str
    path: Path
    reason: str
