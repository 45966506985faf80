"""What is known of one pair for a person to see: photographs, matches, inliers, skin, and what it weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.catalogue.index import CatalogIndex, refs_of
from engine.matching.matched import MatchedPair
from engine.matching.measurements import SKIN
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairTask
from engine.records import Correspondences, Verification
from engine.workers import single_thread
from features.records import FloatArray, LocalFeatures, Photo, Regions

#: Matches that were computed beforehand, by the content keys of query and candidate: the query's key in the rotation in
#: which it was matched, the matches, and their verification.
Prefetched = Mapping[tuple[str, str], tuple[str, Correspondences, Verification]]


@dataclass(frozen=True)
class ScorePart:
    """What one kind of evidence added to a pair's score.

    Attributes:
        name: the kind of evidence, in words.
        amount: what it added, in the unit of :class:`ScoreParts`; negative where it spoke against the pair.
        said: its weightiest features with their values and amounts, in words.
    """

    name: str
    amount: float
    said: tuple[str, ...]


@dataclass(frozen=True)
class ScoreParts:
    """What every kind of evidence added to a pair's score.

    Attributes:
        parts: the weightiest first.
        unit: what the amounts are: "score", "log-odds" or "probability".
        baseline: the score of a pair of which nothing is known; baseline and parts add up to the score.
        method: where the amounts come from, in one sentence.
    """

    parts: tuple[ScorePart, ...]
    unit: str
    baseline: float
    method: str

    @property
    def total(self) -> float:
        """The pair's score."""
        return self.baseline + sum(part.amount for part in self.parts)


@dataclass(frozen=True, eq=False)
class SkinPlaces:
    """Places of two animals whose skin is alike and that one placement explains (:mod:`engine.matching.dense`).

    Attributes:
        xy0, xy1: (K, 2) float32 canonical pixels of the query and of the candidate, the most alike first.
        similarity: (K,) float32 cosines in [0, 1].
    """

    xy0: FloatArray
    xy1: FloatArray
    similarity: FloatArray

    def __len__(self) -> int:
        return len(self.similarity)

    @classmethod
    def of(cls, skin: MatchedPair) -> SkinPlaces:
        """Return the inliers of a pair matched by its skin."""
        rows = np.flatnonzero(skin.verification.inliers)  # best first, as matches are
        places = skin.matches.indices[rows]
        xy0, xy1 = skin.features0.canonical_xy[places[:, 0]], skin.features1.canonical_xy[places[:, 1]]
        return cls(xy0, xy1, skin.matches.confidence[rows])


@dataclass(frozen=True, eq=False)
class PairEvidence:
    """Everything a picture of one pair can show.

    Attributes:
        photo0, photo1: query and candidate.
        features0, features1: their keypoints (original pixels) with the frame that turns them head up.
        regions0, regions1: body and marks, None where they were not computed.
        correspondences: the pair's matches, best first.
        verification: the pair's geometric model and inliers over those matches.
        caption0, caption1: lines (separated by a newline) under the photographs: file, individual, date, viewpoint.
        title: headline of the pair, may be empty.
        probability: P(same individual) in [0, 1], None if unknown.
        reasons: what speaks for or against the pair, in words, the weightiest first.
        heat0, heat1: (H, W) float32 in [0, 1] on each photograph's own pixel grid, what makes the two alike to the
            global descriptor (:mod:`features.global_descriptor.heatmap`); None where it was not computed.
        parts: what the ranker's features added to the score, None where it was not asked for.
        skin: what the matching of skin found, None where it was not asked for.
    """

    photo0: Photo
    photo1: Photo
    features0: LocalFeatures
    features1: LocalFeatures
    regions0: Regions | None
    regions1: Regions | None
    correspondences: Correspondences
    verification: Verification
    caption0: str = ""
    caption1: str = ""
    title: str = ""
    probability: float | None = None
    reasons: tuple[str, ...] = ()
    heat0: FloatArray | None = None
    heat1: FloatArray | None = None
    parts: ScoreParts | None = None
    skin: SkinPlaces | None = None

    def __post_init__(self) -> None:
        for name, photo, features in (("0", self.photo0, self.features0), ("1", self.photo1, self.features1)):
            if photo.size != features.frame.size:
                raise ValueError(
                    f"photo{name} is {photo.size} pixels but its keypoints were found on {features.frame.size}: "
                    "describe the photograph again"
                )
        for name, photo, heat in (("0", self.photo0, self.heat0), ("1", self.photo1, self.heat1)):
            if heat is not None and heat.shape != photo.rgb.shape[:2]:
                raise ValueError(f"heat{name} is {heat.shape[::-1]} pixels but photo{name} is {photo.size}")
        if len(self.verification.inliers) != len(self.correspondences):
            raise ValueError(
                f"the verification covers {len(self.verification.inliers)} matches, "
                f"the correspondences are {len(self.correspondences)}: they belong to different pairs"
            )

    @property
    def matched_xy(self) -> tuple[FloatArray, FloatArray]:
        """The matched keypoints of both views, each (M, 2) float32 in canonical pixels."""
        pairs = np.asarray(self.correspondences.indices, dtype=np.intp).reshape(-1, 2)
        return self.features0.canonical_xy[pairs[:, 0]], self.features1.canonical_xy[pairs[:, 1]]

    @property
    def has_model(self) -> bool:
        """True if the verification found a model that can be drawn."""
        model = self.verification.model
        return bool(self.verification.ok and np.isfinite(model).all() and abs(np.linalg.det(model)) > 1e-12)


def caption(*parts: object) -> str:
    """Join what is known of a photograph into caption lines: the first part alone, the others on a second line."""
    texts = [str(part) for part in parts if part is not None and str(part) not in ("", "nan", "NaT", "None", "<NA>")]
    return "\n".join([*texts[:1], *([" · ".join(texts[1:])] if texts[1:] else [])])


def read_pair_evidence(
    query_id: str,
    image_id: str,
    queries: CatalogIndex,
    catalog: CatalogIndex,
    pool: PairPool,
    prefetched: Prefetched | None = None,
) -> PairEvidence:
    """Return everything that a picture of one pair can show.

    Args:
        query_id, image_id: the photographs.
        queries, catalog: where they lie.
        pool: matches what was not prefetched, in this process.
        prefetched: what was.

    Raises:
        KeyError: one of the two ids is not in its catalogue.
    """
    worker = pool.worker
    keys, photos, captions = [], [], []
    for index, name in ((queries, query_id), (catalog, image_id)):
        row = index.catalog.position(name)
        ref = refs_of(index.catalog.take([row]))[0]
        photo, _ = worker.describer.read(ref)
        keys.append(index.descriptions[row].key)
        photos.append(photo)
        captions.append(_caption_of(ref.path.name, index.catalog.table.iloc[row]))
    task = PairTask(keys[0], (keys[1],))
    with single_thread():
        if prefetched is not None and (keys[0], keys[1]) in prefetched:
            rotated, matches, verification = prefetched[keys[0], keys[1]]
            pair = MatchedPair(worker.keypoints(rotated), worker.keypoints(keys[1]), matches, verification)
        else:
            best = worker.match(worker.best_matcher, task)[0]
            rotated, pair = best.query, best.pair
        # The skin of the same rotation: both are drawn into one picture.
        skin = worker.match(SKIN, PairTask(rotated, task.candidates))[0].pair
    # The body is sought along the frame, so that the frames are those of the features.
    frames = pair.features0.frame, pair.features1.frame
    regions = [worker.describer.regions(photo, frame) for photo, frame in zip(photos, frames, strict=True)]
    return PairEvidence(
        photo0=photos[0],
        photo1=photos[1],
        features0=pair.features0,
        features1=pair.features1,
        regions0=regions[0],
        regions1=regions[1],
        correspondences=pair.matches,
        verification=pair.verification,
        caption0=captions[0],
        caption1=captions[1],
        skin=SkinPlaces.of(skin),
    )


def _caption_of(file: str, row: pd.Series) -> str:
    date = row["date"].date() if pd.notna(row["date"]) else None
    return caption(file, row["individual_id"], date, row["viewpoint"])
