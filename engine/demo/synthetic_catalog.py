"""A made-up catalogue of whales with known marks, in the challenge's own layout: tests and the demo need no download.

Thirty whales photographed from above and, in the first year, from a boat. Every whale carries its own scratches, rakes,
notches, pits and patches; some fade, some are added later. Body shape, light, pose, water and camera say next to
nothing about which whale it is, so a general-purpose image descriptor fails often while the marks decide.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np

from engine.demo.drawing import draw_whale, encode
from engine.demo.synthetic_geometry import Conditions, Drawing, Geometry, Mark, Whale, correspondences
from features.records import FloatArray
from scarmatch.settings import Settings, SettingsError

__all__ = [
    "Conditions",
    "Drawing",
    "Geometry",
    "Mark",
    "PlannedPhoto",
    "SyntheticSettings",
    "Whale",
    "correspondences",
    "draw_whale",
    "make_catalog",
    "make_whale",
    "nearby",
    "plan_catalog",
    "random_conditions",
]

COLUMNS = "image_id,path,height,width,viewpoint,date,timestamp,whale_id,encounter_id"


#: Share of photographs with a white corner, as crops that reach beyond their frame have.
_CORNER_SHARE = 0.1


@dataclass(frozen=True)
class SyntheticSettings(Settings):
    """Options of the made-up catalogue.

    Attributes:
        individuals: number of whales.
        photographs: number of photographs altogether (at least two of every whale).
        seed: the same seed gives the same bytes on one machine.
        years: years of the surveys, earliest first.
        lateral_share: share of photographs taken from a boat, all in the first year.
        calf_share: share of dark, small animals.
        marks: (fewest, most) marks of one whale over all years.
        contrast: factor on the marks' contrast; at 1 they stand out more than most real scars, so a matcher can win.
        length: median body length in pixels in the first year.
    """

    individuals: int = 30
    photographs: int = 300
    seed: int = 20220614
    years: tuple[int, ...] = (2017, 2018, 2019)
    lateral_share: float = 0.1
    calf_share: float = 0.12
    marks: tuple[int, int] = (16, 26)
    contrast: float = 1.0
    length: float = 590.0

    def __post_init__(self) -> None:
        """Refuse values that cannot be drawn."""
        if self.individuals < 1 or self.photographs < 2 * self.individuals:
            raise SettingsError(
                f"photographs={self.photographs} is too few: at least two of each of {self.individuals} individuals"
            )
        if not self.years or list(self.years) != sorted(set(self.years)):
            raise SettingsError(f"years={self.years!r} must be different years, earliest first")
        if not 0 < self.marks[0] <= self.marks[1]:
            raise SettingsError(f"marks={self.marks!r} must be (fewest, most), at least 1")
        if not 80 <= self.length <= 4000:
            raise SettingsError(f"length={self.length} must lie between 80 and 4000 pixels")


@dataclass(frozen=True, eq=False)
class PlannedPhoto:
    """One photograph before it is drawn: ``draw_whale(planned.whale, planned.conditions)`` draws it."""

    image_id: str
    whale: Whale
    conditions: Conditions
    timestamp: datetime
    encounter_id: str


# --- whales -----------------------------------------------------------------------------------------------------------


def make_whale(number: int, settings: SyntheticSettings | None = None) -> Whale:
    """Return whale ``number`` (0, 1, ...); it does not depend on how many others there are."""
    settings = settings or SyntheticSettings()
    rng = np.random.default_rng([settings.seed, 1, number])
    is_calf = bool(rng.random() < settings.calf_share)
    count = int(rng.integers(settings.marks[0], settings.marks[1] + 1))
    kinds = rng.choice(
        ["scratch", "arc", "rake", "pit", "notch", "patch"], size=count, p=[0.38, 0.18, 0.14, 0.12, 0.08, 0.10]
    )
    return Whale(
        individual_id=f"whale{number:03d}",
        marks=tuple(_make_mark(rng, i, str(kind), settings) for i, kind in enumerate(kinds)),
        girth=float(rng.uniform(0.112, 0.130)),
        tone=float(rng.uniform(0.46, 0.6) if is_calf else rng.uniform(0.86, 1.0)),
        ridge=float(rng.uniform(0.8, 1.2)),
        is_calf=is_calf,
    )


def _make_mark(rng: np.random.Generator, number: int, kind: str, settings: SyntheticSettings) -> Mark:
    """Return one mark at a random place, with its history over the years."""
    years = settings.years
    added = len(years) > 1 and rng.random() < 0.15
    first_year = int(rng.choice(years[1:])) if added else years[0]
    fading = float(rng.uniform(0.35, 0.6) if rng.random() < 0.15 else rng.uniform(0.9, 1.0))
    strength = settings.contrast * rng.uniform(18.0, 40.0)
    dark = rng.random() < {"scratch": 0.4, "arc": 0.4, "rake": 0.5, "pit": 1.0, "notch": 1.0, "patch": 0.5}[kind]
    centre = np.array([rng.uniform(0.18, 0.88), rng.uniform(-0.85, 0.85)])
    if kind == "notch":
        centre = np.array([rng.uniform(0.42, 0.85), rng.uniform(-0.03, 0.03)])
    elif kind == "pit" and rng.random() < 0.5:
        centre[1] = rng.uniform(-0.15, 0.15)
    lines, width = _shape(rng, kind, centre)
    factor = {"patch": 0.6, "pit": 1.5, "notch": 1.6}.get(kind, 1.0)
    sign = -1.0 if dark else 1.0
    return Mark(number, kind, lines, width, float(sign * strength * factor), first_year, fading)


def _shape(rng: np.random.Generator, kind: str, centre: np.ndarray) -> tuple[tuple[FloatArray, ...], float]:
    """Return the polylines in body coordinates and the width of a mark of one kind.

    ``across`` runs over a fifth of the body's length per quarter turn, so lengths across are five times larger.
    """
    direction = rng.uniform(0, math.pi)
    t = np.linspace(-0.5, 0.5, 17)
    if kind == "patch":
        turn = np.linspace(0, 2 * math.pi, 24, endpoint=False)
        wobble = 1 + 0.3 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.2 * np.sin(3 * turn + rng.uniform(0, 6))
        radius = rng.uniform(0.012, 0.03) * wobble
        blob = np.stack([np.cos(turn) * radius, np.sin(turn) * radius * 5], 1)
        return ((centre + blob).astype(np.float32),), 0.02
    if kind == "pit":
        return (centre.reshape(1, 2).astype(np.float32),), float(rng.uniform(0.008, 0.013))
    if kind == "notch":
        half = rng.uniform(0.025, 0.06)
        line = centre + np.stack([t * rng.uniform(-0.01, 0.01), t * 2 * half], 1)
        return (line.astype(np.float32),), float(rng.uniform(0.006, 0.010))
    size = rng.uniform(0.05, 0.16) if kind != "arc" else rng.uniform(0.06, 0.14)
    curve = rng.uniform(-0.08, 0.08) if kind != "arc" else rng.choice([-1, 1]) * rng.uniform(0.15, 0.4)
    path = np.stack([t * size, curve * size * (0.25 - t * t) * 4], 1)
    path[:, 1] += 0.0015 * np.sin(t * rng.uniform(5, 12) + rng.uniform(0, 6))
    turned = path @ np.array([[math.cos(direction), math.sin(direction)], [-math.sin(direction), math.cos(direction)]])
    strokes = int(rng.integers(3, 6)) if kind == "rake" else 1
    gap = rng.uniform(0.012, 0.02) * np.array([-math.sin(direction), math.cos(direction)])
    lines = [turned + gap * (i - (strokes - 1) / 2) + rng.normal(0, 0.002, 2) for i in range(strokes)]
    placed = tuple((centre + line * (1.0, 5.0)).astype(np.float32) for line in lines)
    return placed, float(rng.uniform(0.0018, 0.0042))


# --- photographs ------------------------------------------------------------------------------------------------------


def random_conditions(
    rng: np.random.Generator, viewpoint: str, year: int, settings: SyntheticSettings | None = None
) -> Conditions:
    """Return conditions of a new encounter: pose, light, water and camera drawn at random."""
    settings = settings or SyntheticSettings()
    age = year - settings.years[0]
    length = settings.length * 0.9**age * math.exp(rng.normal(0, 0.22))
    sunny = rng.random() < 0.7
    red, blue = rng.normal(1.0, 0.02, 2)
    base = Conditions(
        viewpoint=viewpoint,
        year=year,
        length=max(length, 70.0),
        stretch=float(rng.uniform(0.92, 1.08)),
        sun=(float(rng.uniform(-math.pi, math.pi)), float(rng.uniform(0.45, 1.0))),
        strength=float(rng.uniform(0.5, 1.0) if sunny else rng.uniform(0.0, 0.25)),
        exposure=float(rng.uniform(0.85, 1.05)),
        tint=(float(red), 1.0, float(blue)),
        water=float(rng.uniform(54, 78)),
        glints=float(rng.uniform(0.2, 1.0) if sunny else rng.uniform(0, 0.3)),
        blur=float(rng.uniform(0.5, 1.1)),
        noise=float(rng.uniform(1.5, 4.5)),
        margin=_margins(rng, 0.005, 0.035),
        quality=int(rng.integers(86, 97)),
        seed=int(rng.integers(2**31)),
    )
    if viewpoint == "top":
        cut = rng.random() < _CORNER_SHARE
        return base.replace(
            slope=float(rng.normal(0, 0.03)),
            bend=float(rng.normal(0, 0.025)),
            roll=float(rng.normal(0, 0.13)),
            level=float(rng.uniform(0.05, 0.36)),
            arch=float(rng.uniform(0.0, 0.06)),
            centre=float(rng.uniform(0.34, 0.6)),
            margin=_margins(rng, 0.01, 0.05),
            corner=(int(rng.integers(4)), float(rng.uniform(0.3, 0.9))) if cut else (-1, 0.0),
        )
    return base.replace(
        length=max(length * 1.5, 110.0),
        slope=float(rng.normal(0, 0.02)),
        roll=float(rng.uniform(0.1, 0.35)),
        level=float(rng.uniform(0.0, 0.25)),
        arch=float(rng.uniform(0.04, 0.085)),
        centre=float(rng.uniform(0.42, 0.56)),
    )


def _margins(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float, float]:
    """Return four random margins."""
    left, top, right, bottom = rng.uniform(low, high, 4).tolist()
    return left, top, right, bottom


def nearby(rng: np.random.Generator, c: Conditions) -> Conditions:
    """Return the conditions of another photograph seconds later: similar pose and light, new waves and noise."""
    azimuth = c.sun[0] + rng.normal(0, 0.25)
    return c.replace(
        length=c.length * math.exp(rng.normal(0, 0.04)),
        slope=c.slope + rng.normal(0, 0.012),
        bend=c.bend + (float(rng.normal(0, 0.012)) if c.viewpoint == "top" else 0.0),
        roll=c.roll + rng.normal(0, 0.05),
        level=float(np.clip(c.level + rng.normal(0, 0.05), 0.0, 0.45)),
        arch=float(np.clip(c.arch + rng.normal(0, 0.01), 0.0, 0.12)),
        centre=float(np.clip(c.centre + rng.normal(0, 0.03), 0.33, 0.63)),
        sun=(azimuth, c.sun[1]),
        glints=float(np.clip(c.glints + rng.normal(0, 0.15), 0, 1)),
        blur=c.blur * math.exp(rng.normal(0, 0.15)),
        corner=(-1, 0.0),
        seed=int(rng.integers(2**31)),
    )


def plan_catalog(settings: SyntheticSettings | None = None) -> list[PlannedPhoto]:
    """Decide every photograph of the catalogue, in the order of the table, without drawing any."""
    settings = settings or SyntheticSettings()
    rng = np.random.default_rng([settings.seed, 2])
    whales = [make_whale(i, settings) for i in range(settings.individuals)]
    lateral = min(round(settings.lateral_share * settings.photographs), settings.photographs - 2 * len(whales))
    shares = np.exp(rng.normal(0, 0.45, len(whales)))
    top = 2 + rng.multinomial(settings.photographs - lateral - 2 * len(whales), shares / shares.sum())
    sided = rng.permutation(len(whales))[: max(1, lateral // 2)]
    side = np.bincount(sided[np.arange(lateral) % len(sided)], minlength=len(whales))
    planned = [
        photo
        for number, whale in enumerate(whales)
        for photo in _plan_whale(whale, int(top[number]), int(side[number]), settings, [settings.seed, 3, number])
    ]
    order = rng.permutation(len(planned))  # identifiers must not give the whale away
    return [
        PlannedPhoto(f"made{i:04d}", p.whale, p.conditions, p.timestamp, p.encounter_id)
        for i, p in enumerate(planned[j] for j in order)
    ]


def _plan_whale(
    whale: Whale, n_top: int, n_side: int, settings: SyntheticSettings, seed: list[int]
) -> list[PlannedPhoto]:
    """Plan the encounters of one whale: years in turn, a few photographs each, boats in the first year."""
    rng = np.random.default_rng(seed)
    small = 0.72 if whale.is_calf else 1.0
    meetings: list[tuple[str, int, int]] = []
    left, turn = n_top, int(rng.integers(len(settings.years)))
    while left:
        size = min(left, int(rng.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15])))
        meetings.append(("top", settings.years[turn % len(settings.years)], size))
        left, turn = left - size, turn + 1
    if n_side:
        meetings.append((str(rng.choice(["left", "right"])), settings.years[0], n_side))
    planned = []
    for number, (view, year, size) in enumerate(meetings):
        month, day = (
            (8, int(rng.integers(1, 21))) if view != "top" else (int(rng.integers(6, 10)), int(rng.integers(1, 29)))
        )
        moment = datetime(year, month, day, 16) + timedelta(seconds=int(rng.integers(6 * 3600)))
        c = random_conditions(rng, view, year, settings)
        c = c.replace(length=c.length * small)
        for shot in range(size):
            if shot:
                c, moment = nearby(rng, c), moment + timedelta(seconds=int(rng.integers(1, 90)))
            planned.append(PlannedPhoto("", whale, c, moment, f"{whale.individual_id}-{number:03d}"))
    return planned


def make_catalog(output_dir: str | Path, settings: SyntheticSettings | None = None) -> Path:
    """Write the catalogue in the challenge's layout: ``metadata.csv`` and ``images/*.jpg``.

    Args:
        output_dir: folder to write to; made if it does not exist, files of an earlier run are overwritten.
        settings: options; the same ones give the same bytes on one machine.

    Returns:
        The folder.
    """
    root = Path(output_dir)
    (root / "images").mkdir(parents=True, exist_ok=True)
    # Sorted so that each whale's skin is painted once a year; every photograph has its own seed, so threads are safe.
    planned = sorted(plan_catalog(settings), key=lambda p: (p.whale.individual_id, p.conditions.year))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        rows = list(pool.map(partial(_write_photo, root), planned))
    (root / "metadata.csv").write_text("\n".join([COLUMNS, *sorted(rows)]) + "\n", encoding="utf-8")
    return root


def _write_photo(root: Path, photo: PlannedPhoto) -> str:
    """Draw one photograph, write it below ``root`` and return its row of the table."""
    drawing = draw_whale(photo.whale, photo.conditions)
    path = f"images/{photo.image_id}.jpg"
    (root / path).write_bytes(encode(drawing))
    width, height = drawing.size
    return (
        f"{photo.image_id},{path},{height},{width},{photo.conditions.viewpoint},{photo.timestamp:%Y-%m-%d},"
        f"{photo.timestamp:%Y-%m-%d %H:%M:%S},{photo.whale.individual_id},{photo.encounter_id}"
    )
