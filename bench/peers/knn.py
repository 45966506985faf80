"""The vote of the nearest photographs, as published baselines of Happywhale have it.

Source: Katre and Jasapara, "Classifying Marine Mammals Using Convolutional Neural Networks" (2024), on Happywhale:
k = 50, cosine distance, majority, ties by inverse distance, "new individual" where the nearest photograph lies farther
than 0.62, a bound that was chosen for their embedding. The vote is :func:`engine.search.individuals.knn_head`; the
embedding is this project's shipped descriptor, so that rules are compared and not networks.

The method names individuals. For a list of photographs, those of the individual voted first come first, nearest before
farther; photographs of individuals without a vote follow by distance.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from bench.peers.cosine import seconds_to_describe
from bench.peers.questions import Answers, Question, Scores, Sheet
from engine.search.individuals import NEW_INDIVIDUAL, KnnSettings, knn_head
from features.global_descriptor.descriptor import GlobalSettings

SETTINGS = KnnSettings(neighbours=50, max_distance=0.62, top=50)


class NearestNeighbours:
    """k-NN vote of the shipped descriptor."""

    name: ClassVar[str] = "k-NN vote, k = 50"
    source: ClassVar[str] = "the vote of Katre and Jasapara (2024), over our descriptor"

    def __init__(self, descriptor: GlobalSettings) -> None:
        self._descriptor = descriptor

    def answer(self, sheet: Sheet) -> Answers:
        """Vote on every question."""
        seconds_photo = seconds_to_describe(self._descriptor, sheet.catalog)
        started = time.perf_counter()
        found = [self._vote(sheet, question) for question in sheet.questions]
        seconds = (time.perf_counter() - started) / max(len(found), 1)
        return Answers([s for s, _ in found], seconds_photo, seconds, np.array([new for _, new in found], bool))

    def _vote(self, sheet: Sheet, question: Question) -> tuple[Scores, bool]:
        vectors, names = sheet.index.vectors, sheet.individuals
        vector = vectors[question.query : question.query + 1]
        table = knn_head(["q"], vector, vectors, list(names), SETTINGS, lambda _: question.allowed)
        is_new = bool(len(table)) and table["individual_id"].iloc[0] == NEW_INDIVIDUAL
        voted = [name for name in table["individual_id"] if name != NEW_INDIVIDUAL]
        # Cosines lie within [-1, 1]: steps of three keep individuals apart.
        bonus = {name: 3.0 * (len(voted) - place) for place, name in enumerate(voted)}
        scores = np.asarray(vectors @ vector[0], np.float64)
        return scores + np.array([bonus.get(name, 0.0) for name in names]), is_new
