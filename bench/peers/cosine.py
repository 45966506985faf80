"""The time of a global descriptor, and the rule of ranking by its cosine, for the peers that do nothing else."""

from __future__ import annotations

import time

import numpy as np

from bench.descriptor import describe_catalog
from bench.peers.questions import Answers, Scores, Sheet
from engine.catalogue.catalog import Catalog
from features.global_descriptor.descriptor import GlobalDescriptor
from features.records import FloatArray

_SAMPLE = 32


def answer_by_cosine(sheet: Sheet, vectors: FloatArray, seconds_photo: float) -> Answers:
    """Score every question by the cosine of (N, D) unit vectors."""
    started = time.perf_counter()
    scores: list[Scores] = [np.asarray(vectors @ vectors[q.query], np.float64) for q in sheet.questions]
    return Answers(scores, seconds_photo, (time.perf_counter() - started) / max(len(scores), 1))


def seconds_to_describe(descriptor: GlobalDescriptor, catalog: Catalog) -> float:
    """Return the seconds that a descriptor takes for one photograph, on some of a catalogue's."""
    sample = catalog.take(range(min(_SAMPLE, len(catalog))))
    describe_catalog(descriptor, sample.take(range(min(2, len(sample)))))  # the first call prepares the network
    started = time.perf_counter()
    describe_catalog(descriptor, sample)
    return (time.perf_counter() - started) / max(len(sample), 1)
