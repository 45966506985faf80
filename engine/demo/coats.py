"""Coats of made-up animals: the pattern of one flank, and the outline of the body that carries it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from features.records import FloatArray

#: (rows, columns) of a coat's texture: columns run from head to tail.
SHAPE = (300, 600)
#: Outline of a body: half of its height along it, as shares of the greatest.
_BODY_ALONG = (0.0, 0.04, 0.12, 0.25, 0.45, 0.65, 0.85, 0.95, 1.0)
_BODY_HEIGHT = (0.35, 0.62, 0.85, 0.97, 1.0, 0.96, 0.9, 0.72, 0.4)


@dataclass(frozen=True, eq=False)
class Coat:
    """One flank of one individual.

    Attributes:
        species: of the animal.
        texture: (rows, columns, 3) float32 RGB in [0, 1]; columns from head to tail, rows from back to belly.
        height: half of the body's greatest height as a share of its length.
        round: True for a body, False for a flat fin.
        notches: (place along the trailing edge, depth, width) of the nicks in a fin.
    """

    species: str
    texture: FloatArray
    height: float
    round: bool = True
    notches: tuple[tuple[float, float, float], ...] = ()

    def cover(self, along: FloatArray, across: FloatArray) -> FloatArray:
        """Return how much of the animal is at places of the body, in [0, 1]."""
        if self.round:
            reach = np.interp(along, _BODY_ALONG, _BODY_HEIGHT).astype(np.float32)
            inside = np.clip((reach - np.abs(across)) * 25.0, 0.0, 1.0)
            ends = np.clip(np.minimum(along, 1.0 - along) * 60.0, 0.0, 1.0)
            return (inside * ends).astype(np.float32)
        # A fin: swept back, its tip behind its base, its trailing edge nicked.
        up = np.clip((1.0 - across) / 2, 0.0, 1.0)
        leading = 0.45 * up**1.4
        trailing = 1.0 - 0.25 * np.sin(math.pi * up) - 0.12 * up
        for place, depth, width in self.notches:
            trailing = trailing - depth * np.exp(-(((up - place) / width) ** 2))
        inside = np.minimum(along - leading, trailing - along) * 45.0
        return (np.clip(inside, 0.0, 1.0) * np.clip((1.0 - np.abs(across)) * 25.0, 0.0, 1.0)).astype(np.float32)


def make_coat(species: str, rng: np.random.Generator) -> Coat:
    """Return the coat of one flank of a new individual."""
    return _MAKERS[species](rng)


def _spots(rng: np.random.Generator) -> Coat:
    """Return a sandy coat with dark spots of several sizes, each of its own shape."""
    mask = np.zeros(SHAPE, np.float32)
    for x, y in _scattered(rng, 24.0):
        size = float(rng.uniform(4.0, 9.5))
        stretch, turn = float(rng.uniform(0.6, 1.5)), float(rng.uniform(0, 180))
        cv2.ellipse(
            mask, (int(x), int(y)), (int(size * stretch) + 1, int(size) + 1), turn, 0, 360, 1.0, -1, cv2.LINE_AA
        )
    mask = _ragged(mask, rng)
    return Coat("spots", _dyed(mask, (0.72, 0.58, 0.38), (0.24, 0.17, 0.10), rng), 0.27)


def _stripes(rng: np.random.Generator) -> Coat:
    """Return a pale coat with dark stripes that bend, taper and fork."""
    rows, columns = SHAPE
    x, y = np.meshgrid(np.linspace(0, 1, columns, dtype=np.float32), np.linspace(-0.25, 0.25, rows, dtype=np.float32))
    bend = 0.06 * _smooth(rng, 5) + 0.035 * _smooth(rng, 12)
    wave = np.sin(2 * math.pi * 15.0 * (x + 0.35 * y * (x - 0.4) + bend))
    mask = np.clip(4.0 * (wave - 0.1 + 0.35 * _smooth(rng, 16)), 0.0, 1.0)
    return Coat("stripes", _dyed(mask, (0.80, 0.75, 0.66), (0.14, 0.12, 0.11), rng), 0.27)


def _scars(rng: np.random.Generator) -> Coat:
    """Return a grey fin with pale scratches, rakes and blotches, and nicks in its trailing edge."""
    mask = np.zeros(SHAPE, np.float32)
    rows, columns = SHAPE
    for _ in range(int(rng.integers(9, 15))):
        start, angle = rng.uniform((0.15, 0.1), (0.85, 0.9)) * (columns, rows), float(rng.uniform(0, math.pi))
        reach, curve = float(rng.uniform(25, 120)), float(rng.normal(0, 0.5))
        strokes = int(rng.choice([1, 1, 1, 3, 4]))
        steps = np.linspace(0, 1, 12)
        heading = angle + curve * steps
        path = start + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1), 0) * reach / 12
        for stroke in range(strokes):
            shifted = path + stroke * 7.0 * np.array([-math.sin(angle), math.cos(angle)])
            strength = float(rng.uniform(0.35, 0.9))
            cv2.polylines(mask, [shifted.astype(np.int32)], False, strength, int(rng.integers(1, 4)), cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 5))):
        x, y = (rng.uniform((0.2, 0.15), (0.8, 0.85)) * (columns, rows)).astype(int).tolist()
        cv2.ellipse(
            mask,
            (x, y),
            (int(rng.integers(5, 16)), int(rng.integers(4, 10))),
            float(rng.uniform(0, 180)),
            0,
            360,
            0.5,
            -1,
        )
    notches = tuple(
        (float(rng.uniform(0.1, 0.85)), float(rng.uniform(0.02, 0.07)), float(rng.uniform(0.015, 0.04)))
        for _ in range(int(rng.integers(1, 4)))
    )
    texture = _dyed(_ragged(mask, rng, 0.6), (0.30, 0.32, 0.35), (0.68, 0.69, 0.70), rng)
    return Coat("scars", texture, 0.42, round=False, notches=notches)


def _rosettes(rng: np.random.Generator) -> Coat:
    """Return a yellow coat with broken rings around darker centres."""
    mask = np.zeros(SHAPE, np.float32)
    for x, y in _scattered(rng, 34.0):
        size, turn = float(rng.uniform(9.0, 14.0)), float(rng.uniform(0, 360))
        for gap in np.sort(rng.uniform(0, 360, int(rng.integers(2, 5)))):
            arc = float(rng.uniform(45, 110))
            axes = (int(size * rng.uniform(0.85, 1.25)), int(size))
            cv2.ellipse(mask, (int(x), int(y)), axes, turn, gap, gap + arc, 1.0, int(rng.integers(4, 7)), cv2.LINE_AA)
        cv2.circle(mask, (int(x), int(y)), int(size * 0.6), 0.3, -1, cv2.LINE_AA)
    return Coat("rosettes", _dyed(_ragged(mask, rng), (0.76, 0.60, 0.34), (0.16, 0.12, 0.08), rng), 0.27)


_MAKERS: Mapping[str, Callable[[np.random.Generator], Coat]] = {
    "spots": _spots,
    "stripes": _stripes,
    "scars": _scars,
    "rosettes": _rosettes,
}


def _scattered(rng: np.random.Generator, distance: float) -> FloatArray:
    """Return (N, 2) pixels (x, y) that keep about a distance from each other: a grid that was shaken."""
    rows, columns = SHAPE
    y, x = np.mgrid[0 : rows + distance : distance, 0 : columns + distance : distance]
    x = x + (np.arange(len(x)) % 2)[:, None] * distance / 2
    places = np.stack([x.ravel(), y.ravel()], 1) + rng.uniform(-0.42, 0.42, (x.size, 2)) * distance
    return places[rng.random(len(places)) < 0.85].astype(np.float32)


def _smooth(rng: np.random.Generator, cells: int) -> FloatArray:
    """Return smooth noise of deviation about 1 on the coat, with so many blobs along it."""
    coarse = rng.normal(size=(max(2, cells // 2), cells)).astype(np.float32)
    return cv2.resize(coarse, SHAPE[::-1], interpolation=cv2.INTER_CUBIC)


def _ragged(mask: FloatArray, rng: np.random.Generator, strength: float = 1.0) -> FloatArray:
    """Return a mask with edges as hair has them: every place is moved a little."""
    rows, columns = SHAPE
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    shift = 2.5 * strength
    moved = (x + shift * _smooth(rng, 60)).astype(np.float32), (y + shift * _smooth(rng, 60)).astype(np.float32)
    return cv2.remap(mask, *moved, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _dyed(
    mask: FloatArray, ground: tuple[float, ...], marks: tuple[float, ...], rng: np.random.Generator
) -> FloatArray:
    """Return (rows, columns, 3) colours of a mask: paler to the belly, uneven as fur and skin are."""
    low, high = np.asarray(ground, np.float32), np.asarray(marks, np.float32)
    colour = low + (high - low) * np.clip(mask, 0, 1)[:, :, None]
    belly = np.linspace(-0.06, 0.1, SHAPE[0], dtype=np.float32)[:, None]
    uneven = 1.0 + belly + 0.04 * _smooth(rng, 9) + 0.03 * rng.normal(size=SHAPE).astype(np.float32)
    return (colour * uneven[:, :, None]).astype(np.float32)
