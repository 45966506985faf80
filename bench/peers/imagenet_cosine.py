"""The organisers' benchmark: cosine similarity of a network that has seen ImageNet only.

Source: the benchmark of "Where's Whale-do?" (DrivenData, 2022, https://www.drivendata.co/blog/belugas-benchmark/):
the cosine of features of an ImageNet network (ResNet-34) at 224 x 224 pixels. Photographs are stretched to the square.
No ResNet-34 can be had without a download; in its place stands the ImageNet network that this project's dependencies
bring: EfficientNet-Lite0, of better accuracy on ImageNet, with this project's pooling. Photographs are head up and not
mirrored.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from bench.descriptor import describe_catalog
from bench.peers.cosine import answer_by_cosine
from bench.peers.questions import Answers, Sheet
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings

SETTINGS = GlobalSettings(model="efficientnet_lite0", input_size=(224, 224), mirror=False)


class ImagenetCosine:
    """Cosine of ImageNet features."""

    name: ClassVar[str] = "ImageNet cosine, 224 × 224"
    source: ClassVar[str] = "the organisers' benchmark rule (EfficientNet-Lite0 for ResNet-34)"

    def answer(self, sheet: Sheet) -> Answers:
        """Describe the photographs afresh and rank them."""
        descriptor = GlobalDescriptor(SETTINGS)
        started = time.perf_counter()
        found, ids = describe_catalog(descriptor, sheet.catalog)
        seconds = (time.perf_counter() - started) / max(len(ids), 1)
        row_of = {name: row for row, name in enumerate(ids)}
        vectors = np.zeros((len(sheet.catalog), descriptor.dim), np.float32)
        for row, image_id in enumerate(sheet.catalog.ids):
            if image_id in row_of:
                vectors[row] = found[row_of[image_id]]
        return answer_by_cosine(sheet, vectors, seconds)
