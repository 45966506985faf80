"""HotSpotter: SIFT against the whole catalogue, scored by how much nearer a match is than the next best.

Source: Crall, Stewart, Berger-Wolf, Rubenstein and Sundaresan, "HotSpotter - Patterned species instance recognition"
(WACV 2013), its one-against-many rule: every keypoint of the query finds its k nearest among the keypoints of all
photographs at once (randomised k-d trees), and adds to each of them the distance to the next neighbour beyond minus its
own (LNBNN, after McCann and Lowe, 2012). Candidates are then re-ranked by a spatial check: each match proposes a
similarity (place, size and turn of its two keypoints); inliers lie within 1 % of the candidate's diagonal, agree in
size within a factor of 2 and in turn within 90 degrees; fewer than 4 inliers count for nothing.

Differences: OpenCV's SIFT instead of Hessian-affine regions, descriptors rooted (Arandjelović and Zisserman, 2012),
at most 300 keypoints a photograph, no homography after the similarity, photographs instead of names. As there,
photographs are brought to one area (450² pixels) first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from bench.peers.questions import Answers, Question, Scores, Sheet
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import refs_of
from features.photo import PhotoError, canonical_frame, read_photo
from features.records import FloatArray
from scarmatch.settings import Settings


@dataclass(frozen=True)
class HotSpotterSettings(Settings):
    """Options, with the values of the paper where it has them.

    Attributes:
        area_side: photographs are resized to the area of a square of this side, in pixels.
        max_keypoints: strongest keypoints kept of a photograph.
        neighbours: k, the neighbours of a keypoint that earn a score.
        searched: neighbours looked up, so that enough are left once photographs that do not count are taken out.
        checks: leaves visited in the trees.
        verified: candidates that the spatial check sees.
        inlier_distance: share of the candidate's diagonal.
        max_scale: largest ratio of sizes.
        max_turn: largest difference of directions, in degrees.
        min_inliers: fewer count for nothing.
    """

    area_side: int = 450
    max_keypoints: int = 300
    neighbours: int = 4
    searched: int = 64
    checks: int = 256
    verified: int = 50
    inlier_distance: float = 0.01
    max_scale: float = 2.0
    max_turn: float = 90.0
    min_inliers: int = 4


@dataclass(frozen=True, eq=False)
class Sift:
    """Keypoints of one photograph, head up.

    Attributes:
        xy: (K, 2) float32 pixels of the resized photograph. size: (K,) diameters in pixels. turn: (K,) radians.
        descriptors: (K, 128) float32, rooted, of length 1.
        diagonal: of the resized photograph, in pixels.
    """

    xy: FloatArray
    size: FloatArray
    turn: FloatArray
    descriptors: FloatArray
    diagonal: float

    def __len__(self) -> int:
        return len(self.xy)


_NOTHING = Sift(
    np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.float32), 1.0
)


class HotSpotter:
    """LNBNN over SIFT with a spatial check."""

    name: ClassVar[str] = "HotSpotter's rule"
    source: ClassVar[str] = "SIFT, LNBNN against the whole catalogue, spatial check (WACV 2013)"

    def __init__(self, settings: HotSpotterSettings | None = None, seed: int = 0) -> None:
        self._settings = settings or HotSpotterSettings()
        self._seed = seed

    def answer(self, sheet: Sheet) -> Answers:
        """Describe the photographs, plant the trees, and answer."""
        started = time.perf_counter()
        described = describe(sheet.catalog, self._settings)
        seconds_photo = (time.perf_counter() - started) / max(len(described), 1)
        cv2.setRNGSeed(self._seed)  # of the trees
        search = Search(described, self._settings)
        started = time.perf_counter()
        scores = [search.ask(question) for question in sheet.questions]
        return Answers(scores, seconds_photo, (time.perf_counter() - started) / max(len(scores), 1))


def describe(catalog: Catalog, settings: HotSpotterSettings) -> list[Sift]:
    """Return the keypoints of every photograph; none for one that cannot be read."""
    detector = cv2.SIFT.create(nfeatures=settings.max_keypoints)
    found = []
    for ref in refs_of(catalog):
        try:
            photo = read_photo(ref.path, ref.box)
        except PhotoError:
            found.append(_NOTHING)
            continue
        frame = canonical_frame(photo.size, ref.viewpoint)
        grey = cv2.cvtColor(np.ascontiguousarray(frame.turn(photo.rgb)), cv2.COLOR_RGB2GRAY)
        valid = np.ascontiguousarray(frame.turn(photo.valid)).astype(np.uint8)
        found.append(sift(grey, valid, settings, detector))
    return found


def sift(
    grey: npt.NDArray[np.uint8], valid: npt.NDArray[np.uint8], settings: HotSpotterSettings, detector: cv2.SIFT
) -> Sift:
    """Return the keypoints of an (H, W) photograph where its (H, W) mask is not 0."""
    height, width = grey.shape
    factor = settings.area_side / (height * width) ** 0.5
    size = (max(16, round(width * factor)), max(16, round(height * factor)))
    picture = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    mask = cv2.resize(valid, size, interpolation=cv2.INTER_NEAREST)
    points, descriptors = detector.detectAndCompute(picture, mask)
    if not points:
        return _NOTHING
    # nfeatures keeps ties of the weakest: cut to the number, strongest first.
    order = np.argsort([-p.response for p in points], kind="stable")[: settings.max_keypoints]
    points = [points[i] for i in order]
    rooted = np.sqrt(descriptors[order] / np.maximum(descriptors[order].sum(axis=1, keepdims=True), 1e-12))
    return Sift(
        np.array([p.pt for p in points], np.float32),
        np.array([p.size for p in points], np.float32),
        np.radians(np.array([p.angle for p in points], np.float32)),
        rooted.astype(np.float32),
        float(np.hypot(*size)),
    )


class Search:
    """All keypoints of a catalogue in one index."""

    def __init__(self, described: list[Sift], settings: HotSpotterSettings) -> None:
        self._described, self._settings = described, settings
        counts = [len(one) for one in described]
        self._photo_of = np.repeat(np.arange(len(described)), counts)
        self._local = np.concatenate([np.arange(count) for count in counts]) if counts else np.zeros(0, int)
        self._all = np.concatenate([one.descriptors for one in described]) if counts else np.zeros((0, 128), np.float32)
        self._trees = cv2.flann.Index(self._all, {"algorithm": 1, "trees": 4}) if len(self._all) > 1 else None
        self._last: tuple[int, npt.NDArray[np.intp], FloatArray] | None = None

    def ask(self, question: Question) -> Scores:
        """Return (N,) scores of the photographs: verified ones first, then the rest by their LNBNN sums."""
        s, query = self._settings, self._described[question.query]
        scores = np.zeros(len(self._described))
        if self._trees is None or not len(query):
            return scores
        keypoint, hit, weight = self._lnbnn(question)
        photos = self._photo_of[hit]
        np.add.at(scores, photos, weight)
        best = np.argsort(-scores, kind="stable")[: s.verified]
        verified = {}
        for photo in best[scores[best] > 0]:
            rows = np.flatnonzero(photos == photo)
            inliers = spatial_inliers(query, keypoint[rows], self._described[photo], self._local[hit[rows]], s)
            if inliers.sum() >= s.min_inliers:
                verified[int(photo)] = float(weight[rows][inliers].sum())
        # What was not verified keeps its order below everything that was.
        top = scores.max() if scores.max() > 0 else 1.0
        scores = scores / top - 1.0
        for photo, score in verified.items():
            scores[photo] = 1.0 + score
        return scores

    def _lnbnn(self, question: Question) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Scores]:
        """Return, for every scored match, the query's keypoint, the catalogue's keypoint and its weight."""
        indices, distances = self._neighbours(question.query)
        keypoints: list[int] = []
        hits: list[int] = []
        weights: list[float] = []
        k = self._settings.neighbours
        for number, (row, distance) in enumerate(zip(indices, distances, strict=True)):
            good = np.flatnonzero((row >= 0) & question.allowed[self._photo_of[np.maximum(row, 0)]])[: k + 1]
            if len(good) < 2:
                continue
            # The last neighbour is what matches have to beat.
            for place in good[:-1]:
                keypoints.append(number)
                hits.append(int(row[place]))
                weights.append(float(distance[good[-1]] - distance[place]))
        return np.array(keypoints, np.intp), np.array(hits, np.intp), np.array(weights, np.float64)

    def _neighbours(self, query: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Return (K, searched) rows and distances, nearest first; those of the last query are kept."""
        if self._last is None or self._last[0] != query:
            wanted = min(self._settings.searched, len(self._all))
            params = {"checks": self._settings.checks}
            assert self._trees is not None
            rows, squares = self._trees.knnSearch(self._described[query].descriptors, wanted, params=params)
            self._last = (query, rows.astype(np.intp), np.sqrt(np.maximum(squares, 0.0)))
        return self._last[1], self._last[2]


def spatial_inliers(
    query: Sift,
    query_points: npt.NDArray[np.intp],
    candidate: Sift,
    candidate_points: npt.NDArray[np.intp],
    settings: HotSpotterSettings,
) -> npt.NDArray[np.bool_]:
    """Return which of M matches agree with the best of the M similarities that they propose.

    Args:
        query, candidate: the keypoints of both photographs.
        query_points, candidate_points: (M,) the keypoint of each match.
        settings: the limits.
    """
    a, b = query.xy[query_points].astype(float), candidate.xy[candidate_points].astype(float)
    scale = candidate.size[candidate_points] / np.maximum(query.size[query_points], 1e-6)
    turn = candidate.turn[candidate_points] - query.turn[query_points]
    # A similarity is a complex factor and a step: b = factor * a + step.
    factor = scale * np.exp(1j * turn)
    flat_a, flat_b = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    step = flat_b - factor * flat_a
    gap = np.abs(factor[:, None] * flat_a[None, :] + step[:, None] - flat_b[None, :])
    ratio = np.abs(np.log(scale[None, :] / scale[:, None]))
    between = np.abs(np.angle(np.exp(1j * (turn[None, :] - turn[:, None]))))
    fits = gap <= settings.inlier_distance * candidate.diagonal
    fits &= (ratio <= np.log(settings.max_scale)) & (between <= np.radians(settings.max_turn))
    return np.asarray(fits[np.argmax(fits.sum(axis=1))], bool) if len(a) else np.zeros(0, bool)
