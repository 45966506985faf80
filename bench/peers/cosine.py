"""Ranking by the cosine of a global descriptor alone: the shipped one, and one that has seen ImageNet only.

Source of the latter: the benchmark of "Where's Whale-do?" (DrivenData, 2022,
https://www.drivendata.co/blog/belugas-benchmark/): the cosine of features of an ImageNet network (ResNet-34) at 224 x
224 pixels. Photographs are stretched to the square. No ResNet-34 can be had without a download; in its place stands the
ImageNet network that this project's dependencies bring: EfficientNet-Lite0, of better accuracy on ImageNet, with this
project's pooling. Photographs are head up and not mirrored.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from bench.measurements.descriptor import describe
from bench.peers.questions import Answers, Scores, Sheet
from engine.catalogue.catalog import Catalog
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.records import FloatArray

IMAGENET = GlobalSettings(model="efficientnet_lite0", input_size=(224, 224), mirror=False)
_SAMPLE = 32


class ImagenetCosine:
    """Cosine of ImageNet features."""

    name: ClassVar[str] = "ImageNet cosine, 224 × 224"
    source: ClassVar[str] = "the organisers' benchmark rule (EfficientNet-Lite0 for ResNet-34)"

    def answer(self, sheet: Sheet) -> Answers:
        """Describe the photographs afresh and rank them; one that cannot be read any more is like none."""
        descriptor = GlobalDescriptor(IMAGENET)
        started = time.perf_counter()
        found, ids = describe(descriptor, sheet.catalog)
        seconds = (time.perf_counter() - started) / max(len(ids), 1)
        vectors = np.zeros((len(sheet.catalog), descriptor.dim), np.float32)
        vectors[[sheet.catalog.position(name) for name in ids]] = found
        return answer_by_cosine(sheet, vectors, seconds)


class OwnCosine:
    """The shipped descriptor alone."""

    name: ClassVar[str] = "scarmatch: cosine alone"
    source: ClassVar[str] = "the shipped descriptor"

    def __init__(self, descriptor: GlobalSettings) -> None:
        self._descriptor = descriptor

    def answer(self, sheet: Sheet) -> Answers:
        """Rank by the vectors of the index."""
        return answer_by_cosine(sheet, sheet.index.vectors, seconds_to_describe(self._descriptor, sheet.catalog))


def answer_by_cosine(sheet: Sheet, vectors: FloatArray, seconds_photo: float) -> Answers:
    """Score every question by the cosine of (N, D) unit vectors."""
    started = time.perf_counter()
    scores: list[Scores] = [np.asarray(vectors @ vectors[q.query], np.float64) for q in sheet.questions]
    return Answers(scores, seconds_photo, (time.perf_counter() - started) / max(len(scores), 1))


def seconds_to_describe(settings: GlobalSettings, catalog: Catalog) -> float:
    """Return the seconds that a descriptor takes for one photograph, on some of a catalogue's."""
    descriptor, sample = GlobalDescriptor(settings), catalog.take(range(min(_SAMPLE, len(catalog))))
    describe(descriptor, sample.take(range(min(2, len(sample)))))  # the first call prepares the network
    started = time.perf_counter()
    describe(descriptor, sample)
    return (time.perf_counter() - started) / max(len(sample), 1)
