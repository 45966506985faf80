"""Made-up animals of other kinds than whales: spots, stripes, scars on a fin, and rosettes, which no tuning may see.

Each individual has a coat of its own for either flank, drawn from seeded noise; all individuals of a species have the
same statistics of pattern and colour, so that a photograph as a whole says little about who it is. Photographs differ
in pose, scale, bend, light with hard shadows, background, blur, noise, and in how much of the animal is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from engine.demo.coats import Coat, make_coat
from features.records import BoolArray, ByteArray, FloatArray
from scarmatch.settings import Settings, SettingsError

SPECIES = ("spots", "stripes", "scars", "rosettes")
#: The species that nothing is tuned or trained on.
HELD_BACK = "rosettes"
PARTS = ("test", "train")
#: Radians up to which an animal lies along the picture.
_LEVEL = 0.8
#: Water or grass around the animal, RGB in [0, 1].
_GROUNDS = {
    "spots": ((0.52, 0.47, 0.28), (0.36, 0.44, 0.22)),
    "stripes": ((0.60, 0.52, 0.33), (0.43, 0.38, 0.24)),
    "scars": ((0.22, 0.32, 0.38), (0.45, 0.52, 0.55)),
    "rosettes": ((0.26, 0.36, 0.20), (0.48, 0.42, 0.30)),
}


@dataclass(frozen=True)
class SpeciesSettings(Settings):
    """Options of a made-up species' catalogue.

    Attributes:
        species: "spots", "stripes", "scars" or "rosettes".
        part: "train" or "test": two parts share no individual.
        individuals: animals.
        photographs: of each animal; both flanks in turn.
        views: write ``catalog.csv`` with the flank that is seen; False leaves folders by individual alone.
        any_angle: the animal lies in the picture at any angle, as one without a standard pose; no flank is named then.
        seed: of everything random.
    """

    species: str = "spots"
    part: str = "test"
    individuals: int = 12
    photographs: int = 6
    views: bool = True
    any_angle: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.species not in SPECIES or self.part not in PARTS:
            raise SettingsError(f"species is one of {', '.join(SPECIES)}, part one of {', '.join(PARTS)}")
        if self.individuals < 1 or self.photographs < 1:
            raise SettingsError("individuals and photographs must be at least 1")


@dataclass(frozen=True)
class Scene:
    """How one photograph is taken; lengths are shares of the animal's, angles radians.

    Attributes:
        length: pixels of the animal.
        turn: of the animal in the picture.
        narrow: foreshortening along the body.
        lean: perspective: how much larger one end is.
        bend: of the back.
        roll: quarter turns around the body axis.
        light: direction of the light around the body.
        shadow: darkness of the hard shadows.
        exposure: brightness factor.
        tint: factors on red, green and blue.
        blur: standard deviation in pixels.
        noise: standard deviation in grey levels.
        shown: range along the body that is in the picture.
        hidden: height of what stands in front, as a share of the picture.
        quality: of the JPEG.
    """

    length: float
    turn: float
    narrow: float
    lean: float
    bend: float
    roll: float
    light: float
    shadow: float
    exposure: float
    tint: tuple[float, float, float]
    blur: float
    noise: float
    shown: tuple[float, float]
    hidden: float
    quality: int


@dataclass(frozen=True)
class Conditions:
    """Under which a species is photographed: ranges, and deviations of what is normally distributed.

    Attributes:
        length, narrow, shadow, exposure, blur, noise: ranges of what :class:`Scene` calls so.
        turn, lean, bend, roll, tint: deviations.
        partial: share of the photographs that show a part of the animal only.
        part: range of that part, as a share of its length.
        hidden: share of the photographs with something in front of it.
    """

    length: tuple[float, float] = (200, 340)
    narrow: tuple[float, float] = (0.72, 1.0)
    turn: float = 0.12
    lean: float = 0.16
    bend: float = 0.07
    roll: float = 0.13
    shadow: tuple[float, float] = (0.0, 0.55)
    exposure: tuple[float, float] = (0.7, 1.2)
    tint: float = 0.06
    blur: tuple[float, float] = (0.5, 1.5)
    noise: tuple[float, float] = (2.0, 8.0)
    partial: float = 0.3
    part: tuple[float, float] = (0.6, 0.75)
    hidden: float = 0.5


#: By day, from a vehicle or a boat, by somebody who waits for the right moment.
BY_DAY = Conditions()
#: By a camera that the animal sets off at dusk: whatever it does, in poor light, far off or half out of the picture.
BY_CAMERA_TRAP = Conditions(
    length=(150, 280),
    narrow=(0.55, 1.0),
    turn=0.2,
    lean=0.22,
    bend=0.1,
    roll=0.2,
    shadow=(0.15, 0.7),
    exposure=(0.45, 1.2),
    tint=0.1,
    blur=(0.7, 2.2),
    noise=(4.0, 13.0),
    partial=0.5,
    part=(0.45, 0.7),
    hidden=0.65,
)


def random_scene(rng: np.random.Generator, conditions: Conditions = BY_DAY) -> Scene:
    """Return one photograph's pose, light and camera, drawn at random."""
    c = conditions
    shown = (0.0, 1.0)
    if rng.random() < c.partial:
        start = float(rng.uniform(0.0, 0.35))
        shown = (start, min(1.0, start + float(rng.uniform(*c.part))))
    red, blue = rng.normal(1.0, c.tint, 2).tolist()
    return Scene(
        length=float(rng.uniform(*c.length)),
        turn=float(rng.normal(0, c.turn)),
        narrow=float(rng.uniform(*c.narrow)),
        lean=float(rng.normal(0, c.lean)),
        bend=float(rng.normal(0, c.bend)),
        roll=float(rng.normal(0, c.roll)),
        light=float(rng.uniform(-1.1, 1.1)),
        shadow=float(rng.uniform(*c.shadow)),
        exposure=float(rng.uniform(*c.exposure)),
        tint=(red, 1.0, blue),
        blur=float(rng.uniform(*c.blur)),
        noise=float(rng.uniform(*c.noise)),
        shown=shown,
        hidden=float(rng.uniform(0.1, 0.4)) if rng.random() < c.hidden else 0.0,
        quality=int(rng.integers(80, 95)),
    )


def draw_animal(coat: Coat, scene: Scene, flank: str, rng: np.random.Generator) -> ByteArray:
    """Draw one photograph, cut to the animal as a detector's box would be.

    Args:
        coat: of the flank that is seen.
        scene: pose, light and camera.
        flank: "left" (head at the left) or "right".
        rng: of everything that is not told: ground, shadows, noise.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    along, across = _body_coordinates(coat, scene, flank)
    height, width = along.shape
    skin, cover = _lit_skin(coat, scene, along, across, rng)
    picture = skin * cover[:, :, None] + _ground(coat.species, (height, width), rng) * (1.0 - cover[:, :, None])
    picture = _with_front(picture, coat.species, scene, rng)
    picture = picture * (255.0 * scene.exposure * np.asarray(scene.tint, np.float32))
    picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), scene.blur)
    picture += rng.normal(0, scene.noise, picture.shape).astype(np.float32)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    rows, columns = _box((cover > 0.5) & (along >= scene.shown[0]) & (along <= scene.shown[1]), rng)
    return np.ascontiguousarray(picture[rows, columns])


def make_species(folder: Path | str, settings: SpeciesSettings | None = None) -> Path:
    """Write a catalogue: ``photographs/INDIVIDUAL/*.jpg``, and ``catalog.csv`` if views are wanted.

    Args:
        folder: to write to; made if it does not exist.
        settings: options; the same ones give the same bytes on one machine.

    Returns:
        What to read: ``folder``, or ``folder/photographs`` without views.
    """
    settings = settings or SpeciesSettings()
    root, rows = Path(folder), []
    conditions = BY_CAMERA_TRAP if settings.species == HELD_BACK else BY_DAY
    for number in range(settings.individuals):
        name = f"{settings.species}-{settings.part}-{number:03d}"
        place = root / "photographs" / name
        place.mkdir(parents=True, exist_ok=True)
        for shot in range(settings.photographs):
            flank = ("left", "right")[shot % 2]
            seed = _seed(settings, number, 2 + shot)
            rng = np.random.default_rng(seed)
            coat = coat_of(settings, number, flank)
            scene = random_scene(rng, conditions)
            if settings.any_angle:
                scene = replace(scene, turn=float(rng.uniform(-math.pi, math.pi)))
            picture = draw_animal(coat, scene, flank, rng)
            image = f"{name}-{shot}"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, scene.quality])[1].tobytes()
            (place / f"{image}.jpg").write_bytes(data)
            rows.append(f"photographs/{name}/{image}.jpg,{name},{'' if settings.any_angle else flank}")
    if not settings.views:
        return root / "photographs"
    (root / "catalog.csv").write_text("\n".join(["image,individual,viewpoint", *rows]) + "\n", encoding="utf-8")
    return root


def coat_of(settings: SpeciesSettings, number: int, flank: str) -> Coat:
    """Return the coat of one flank of an individual, by its number."""
    return _coat(settings.species, tuple(_seed(settings, number, int(flank == "right"))))


@lru_cache(maxsize=4)
def _coat(species: str, seed: tuple[int, ...]) -> Coat:
    return make_coat(species, np.random.default_rng(list(seed)))


def _seed(settings: SpeciesSettings, number: int, what: int) -> list[int]:
    return [settings.seed, SPECIES.index(settings.species), PARTS.index(settings.part), number, what]


# --- pose -------------------------------------------------------------------------------------------------------------


def _body_coordinates(coat: Coat, scene: Scene, flank: str) -> tuple[FloatArray, FloatArray]:
    """Return (H, W) maps of the place along (0 head, 1 tail) and across (-1 back, 1 belly) under every pixel."""
    tall = coat.height * scene.length
    width, height = int(1.3 * scene.length * scene.narrow) + 20, int(2.1 * tall + 0.3 * scene.length) + 20
    if abs(scene.turn) > _LEVEL:  # it may stand on end
        width = height = max(width, height)
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = (columns - (width - 1) / 2) / scene.length, (rows - (height - 1) / 2) / scene.length
    cos, sin = math.cos(scene.turn), math.sin(scene.turn)
    x, y = (cos * x + sin * y) / scene.narrow, cos * y - sin * x
    larger = 1.0 + scene.lean * x
    x, y = x / larger, y / larger - scene.bend * (4.0 * x * x - 0.3)
    along = x + 0.5 if flank == "left" else 0.5 - x
    return along.astype(np.float32), (y / coat.height).astype(np.float32)


def _box(seen: BoolArray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return rows and columns of the body that is shown, with margins as a careless hand leaves them."""
    bounds = []
    for axis in (1, 0):
        inside = np.flatnonzero(seen.any(axis=axis))
        size = seen.shape[1 - axis]
        if not len(inside):
            bounds.append(slice(0, size))
            continue
        reach = inside[-1] - inside[0] + 1
        low, high = (rng.uniform(-0.02, 0.08, 2) * reach).astype(int).tolist()
        bounds.append(slice(max(int(inside[0]) - low, 0), min(int(inside[-1]) + 1 + high, size)))
    return bounds[0], bounds[1]


# --- light and surroundings -------------------------------------------------------------------------------------------


def _lit_skin(
    coat: Coat, scene: Scene, along: FloatArray, across: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return (H, W, 3) skin in the light, in [0, 1], and (H, W) how much of a pixel is the animal."""
    # A body is round: what lies near its outline is seen at a slant, and the roll brings other skin into view.
    angle = np.arcsin(np.clip(across, -1.0, 1.0)) if coat.round else across * (math.pi / 2)
    skin_across = angle / (math.pi / 2) + scene.roll * coat.round
    rows, columns = coat.texture.shape[:2]
    wobble = smooth_noise(along.shape, 0.25, rng) * 0.012
    map_x = (along + wobble) * (columns - 1)
    map_y = (skin_across * 0.42 + 0.5 + wobble) * (rows - 1)
    small = cv2.GaussianBlur(coat.texture, (0, 0), max(0.3, 0.45 * columns / scene.length))
    skin = cv2.remap(
        small, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    lit = 0.55 + 0.5 * np.cos(angle - scene.light) if coat.round else 0.85 + 0.2 * math.sin(scene.light) * across
    shade = smooth_noise(along.shape, 0.12, rng)
    lit = lit * (1.0 - scene.shadow * np.clip(6.0 * shade - 0.6, 0.0, 1.0))
    cover = coat.cover(along, across)
    return (skin * lit[:, :, None]).astype(np.float32), cover.astype(np.float32)


def _ground(species: str, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """Return (H, W, 3) what is behind the animal: two colours in patches, with fine texture."""
    low, high = (np.asarray(colour, np.float32) for colour in _GROUNDS[species])
    share = np.clip(0.5 + smooth_noise(shape, 0.2, rng), 0.0, 1.0)[:, :, None]
    fine = 1.0 + 0.35 * smooth_noise(shape, 0.02, rng)[:, :, None]
    return (low + (high - low) * share) * fine


def _with_front(picture: FloatArray, species: str, scene: Scene, rng: np.random.Generator) -> FloatArray:
    """Return the picture with grass, leaves or waves in front of its lower part."""
    if not scene.hidden:
        return picture
    height, width = picture.shape[:2]
    edge = 1.0 - scene.hidden * (1.0 + 0.7 * rng.standard_normal((width,)).astype(np.float32))
    edge = cv2.GaussianBlur(edge[None], (0, 0), 2.0 if species != "scars" else 12.0)[0]
    front = (np.arange(height, dtype=np.float32)[:, None] / height > edge[None]).astype(np.float32)
    front = cv2.GaussianBlur(front, (0, 0), 0.7)[:, :, None]
    return picture * (1.0 - front) + 1.1 * _ground(species, (height, width), rng) * front


def smooth_noise(shape: tuple[int, int], size: float, rng: np.random.Generator) -> FloatArray:
    """Return (H, W) noise of mean 0 and deviation about 0.35 whose blobs are ``size`` of the longer side large."""
    reach = max(size * max(shape), 1.0)
    small = (max(2, round(2 * shape[0] / reach)), max(2, round(2 * shape[1] / reach)))
    coarse = rng.normal(0, 0.45, small).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
