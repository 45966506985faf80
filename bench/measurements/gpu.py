"""Does a graphics card give the processor's numbers, and how fast? Every part that runs on one, on both.

Made-up photographs, so that nothing but this tree and its packages is needed: no catalogue, no network. Each part
describes or matches them on the processor and on the device, which is the graphics card where torch sees one and the
processor otherwise; then both are the processor, and nothing is said of graphics cards. Parity is the worst of all
photographs or pairs, beside what is tolerated; what is not within it is marked. Rates are of the best of three rounds
after one that warms up, of whole calls: pictures in memory, answers in memory.

The whole takes at most eight minutes: a part that would begin later is left out by name.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import refs_of
from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog
from engine.matching.exhaustive import DescriptorTable, mutual_nn_scores, quantise
from engine.matching.lightglue import LightGlueMatcher
from engine.workers import single_thread
from features.describe import Describer
from features.global_descriptor.descriptor import GlobalDescriptor
from features.global_descriptor.runtime import COSINE_TOLERANCE, choose_device
from features.keypoints.detectors import KeypointExtractor
from features.records import Frame, LocalFeatures, Photo, Regions
from features.skin.descriptors import SkinExtractor
from scarmatch import MatcherSettings

#: Seconds after which no further part begins: the longest takes less than two minutes on two slow cores.
_LAST_START = 360.0
_ROUNDS = 3
#: Share of keypoints that lie at the same place, to half a pixel of the photograph, and of equal matches.
_SAME_KEYPOINTS, _SAME_MATCHES = 0.95, 0.95
#: Least cosine of descriptors at the same place.
_SAME_DESCRIPTOR = 0.98
_PIXELS = 0.5


@dataclass(frozen=True)
class PartFigures:
    """One part on both.

    Attributes:
        parity: the worst agreement. tolerated: the least that is. what: agreement of what.
        cpu, device: a second of the processor (one thread) and of the device. unit: photographs or pairs.
    """

    parity: float
    tolerated: float
    what: str
    cpu: float
    device: float
    unit: str


@dataclass(frozen=True)
class GpuFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        device: "cpu" or "cuda". name: the graphics card's, empty where there is none.
        photographs: made up.
        parts: by name.
        left_out: parts that would have begun too late.
    """

    device: str
    name: str
    photographs: int
    parts: dict[str, PartFigures]
    left_out: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Material:
    """Photographs in memory, with what the parts ask for."""

    photos: Sequence[Photo]
    frames: Sequence[Frame]
    regions: Sequence[Regions]
    settings: MatcherSettings

    @property
    def together(self) -> list[tuple[Photo, Frame, Regions]]:
        return list(zip(self.photos, self.frames, self.regions, strict=True))


def measure(context: Context) -> GpuFigures:
    """Let processor and device do the same."""
    started, settings = time.monotonic(), MatcherSettings()
    for override in context.options.overrides:
        settings = settings.with_option(*override.split("=", 1))
    device = choose_device(context.options.device).type
    with tempfile.TemporaryDirectory(prefix="scarmatch-gpu-") as folder, single_thread():
        count = context.options.photographs
        made = SyntheticSettings(individuals=max(2, count // 3), photographs=count, seed=context.seed)
        material = _read(make_catalog(Path(folder) / "catalog", made), settings)
        parts: dict[str, PartFigures] = {}
        left_out = []
        for name, part in PARTS.items():
            if time.monotonic() - started > _LAST_START:
                left_out.append(name)
                continue
            context.say(name)
            parts[name] = part(material, device)
    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return GpuFigures(device, name, count, parts, tuple(left_out))


def _read(folder: Path, settings: MatcherSettings) -> _Material:
    describer, photos, frames, regions = Describer(settings.describe, None, "cpu"), [], [], []
    for ref in refs_of(Catalog.read(folder)):
        photo, frame = describer.read(ref)
        photos.append(photo)
        frames.append(frame)
        regions.append(describer.regions(photo, frame))
    return _Material(photos, frames, regions, settings)


def _both(make: Callable[[str], Callable[[], Any]], device: str, count: int) -> tuple[Any, Any, float, float]:
    """Return the answers of processor and device, and how many a second each does."""
    answers, rates = [], []
    for where in ("cpu", device):
        work = make(where)
        answers.append(work())
        least = min(_seconds(work, where) for _ in range(_ROUNDS))
        rates.append(count / least)
    return answers[0], answers[1], rates[0], rates[1]


def _seconds(work: Callable[[], Any], where: str) -> float:
    started = time.perf_counter()
    work()
    if where == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _global(material: _Material, device: str) -> PartFigures:
    def make(where: str) -> Callable[[], Any]:
        network = GlobalDescriptor.from_settings(material.settings.describe.descriptor, device=where)
        return lambda: network.describe(material.photos, material.frames, material.regions)

    first, second, cpu, other = _both(make, device, len(material.photos))
    worst = float((first * second).sum(axis=1).min())
    return PartFigures(worst, 1 - COSINE_TOLERANCE, "least cosine of a photograph's vectors", cpu, other, "photographs")


def _keypoints(material: _Material, device: str) -> PartFigures:
    what = f"least share of keypoints at the same place with a cosine above {_SAME_DESCRIPTOR}"
    settings = material.settings.describe.keypoints
    return _local(material, device, lambda where: KeypointExtractor(settings, device=where), what)


def _local(
    material: _Material, device: str, extractor_on: Callable[[str], KeypointExtractor | SkinExtractor], what: str
) -> PartFigures:
    """Compare what an extractor of local features finds on either device; ``what`` says what is counted."""

    def make(where: str) -> Callable[[], list[LocalFeatures]]:
        extractor = extractor_on(where)
        return lambda: [extractor.extract(*one) for one in material.together]

    first, second, cpu, other = _both(make, device, len(material.photos))
    worst = min(_same_keypoints(a, b) for a, b in zip(first, second, strict=True))
    return PartFigures(worst, _SAME_KEYPOINTS, what, cpu, other, "photographs")


def _same_keypoints(first: LocalFeatures, second: LocalFeatures) -> float:
    """Return the share of one photograph's keypoints that the other has too."""
    if not len(first) or not len(second):
        return float(len(first) == len(second))
    apart = np.abs(first.xy[:, None] - second.xy[None]).max(axis=2)
    nearest = apart.argmin(axis=1)
    cosine = (first.descriptors.astype(np.float32) * second.descriptors[nearest].astype(np.float32)).sum(axis=1)
    same = (apart[np.arange(len(first)), nearest] <= _PIXELS) & (cosine >= _SAME_DESCRIPTOR)
    return float(same.mean())


def _skin(material: _Material, device: str) -> PartFigures:
    what = f"least share of skin places with a cosine above {_SAME_DESCRIPTOR}"
    settings = material.settings.describe.skin
    return _local(material, device, lambda where: SkinExtractor(settings, device=where), what)


def _local_features(material: _Material) -> list[LocalFeatures]:
    extractor = KeypointExtractor(material.settings.describe.keypoints, device="cpu")
    return [extractor.extract(*one) for one in material.together]


def _lightglue(material: _Material, device: str) -> PartFigures:
    features, kind = _local_features(material), material.settings.describe.keypoints.kind
    pairs = [(features[k], features[(k + 1) % len(features)]) for k in range(len(features))]

    def make(where: str) -> Callable[[], Any]:
        matcher = LightGlueMatcher(kind, material.settings.lightglue, where)
        return lambda: matcher.match(pairs)

    first, second, cpu, other = _both(make, device, len(pairs))
    every = [
        ({tuple(p) for p in a.indices.tolist()}, {tuple(p) for p in b.indices.tolist()})
        for a, b in zip(first, second, strict=True)
    ]
    together, either = sum(len(a & b) for a, b in every), sum(len(a | b) for a, b in every)
    what = "share of matches that both have, of all pairs"
    return PartFigures(together / either if either else 1.0, _SAME_MATCHES, what, cpu, other, "pairs")


def _products(material: _Material, device: str) -> PartFigures:
    codes = [quantise(one.descriptors.astype(np.float32)) for one in _local_features(material)]
    table = DescriptorTable.of(codes * max(1, 400 // len(codes)))

    def make(where: str) -> Callable[[], Any]:
        return lambda: mutual_nn_scores(codes[0], table, None, None if where == "cpu" else where)

    first, second, cpu, other = _both(make, device, len(table))
    return PartFigures(float((first == second).mean()), 1.0, "share of scores equal to the bit", cpu, other, "pairs")


PARTS: dict[str, Callable[[_Material, str], PartFigures]] = {
    "global descriptor": _global,
    "keypoints": _keypoints,
    "skin descriptors": _skin,
    "LightGlue": _lightglue,
    "products of keypoint descriptors": _products,
}


def full(result: Result[GpuFigures]) -> str:
    """Return parity and rates of every part."""
    figures = result.figures
    rows = []
    for name, part in figures.parts.items():
        held = "" if part.parity >= part.tolerated else " **not held**"
        rates = [f"{rate:,.1f} {part.unit}" for rate in (part.cpu, part.device)]
        rows.append([name, f"{part.parity:.4f} of {part.tolerated:.4f}{held}", part.what, *rates])
    heads = ["part", "agreement, and the least tolerated", "of what", "a second on the processor (one thread)"]
    where = f"{figures.name} (cuda)" if figures.device == "cuda" else "device: cpu, so no figure of a graphics card"
    left = f" Left out, as time was up: {', '.join(figures.left_out)}." if figures.left_out else ""
    table = markdown.table([*heads, "a second on the device"], rows)
    return f"{where}; {figures.photographs} made-up photographs.{left}\n\n{table}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--photographs", type=int, default=24, help="made-up photographs (24)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="a graphics card if there is")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")


MEASUREMENT = Measurement(
    title="Graphics card beside the processor",
    figures=GpuFigures,
    measure=measure,
    full=full,
    add_options=add_options,
    catalog=False,
)
