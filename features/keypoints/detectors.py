"""Keypoints and their descriptors: ALIKED, DISK, XFeat and SIFT behind one contract.

The detector sees the whole photograph, turned head up, brought to one length and with its local contrast flattened
(marks are fainter than the light that falls on them); nothing is erased before detection. Only afterwards are keypoints
kept to the visible body and weighted by the mark region they lie in. Coordinates leave in original pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from features.records import FloatArray, Frame, LocalFeatures, Photo, Regions
from features.regions import flatten
from features.weights import file_sha256, weight_file
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    import torch

#: Raised for a kind whenever its same settings would give other numbers: part of every cache key.
CODE_VERSIONS = {"aliked": 1, "disk": 1, "xfeat": 1, "sift": 2}

#: Rows of keypoints -> their (N, D) descriptors.
Describe = Callable[[npt.NDArray[np.int_]], FloatArray]
#: (N, 2) pixels of the input, (N,) scores, and how to describe those that are kept.
RawFeatures = tuple[FloatArray, FloatArray, Describe]
Detector = Callable[[npt.NDArray[np.float32], int], RawFeatures]


#: Radius of the flattening, relative to the long side of the input.
_FLATTEN_SIGMA = 0.02
#: Body certainty under a keypoint below which it is dropped.
_BODY_THRESHOLD = 0.5
#: Distance from the body's outline, relative to the longer side, inside which keypoints are dropped: the outline looks
#: alike on every animal.
_MARGIN = 0.012
#: How much a mark under a keypoint counts when the best are chosen.
_MARK_WEIGHT = 1.0


@dataclass(frozen=True)
class KeypointSettings(Settings):
    """Options of the keypoint stage.

    Attributes:
        kind: "aliked", "disk", "xfeat" or "sift".
        model: ALIKED's variant: "aliked-n16", "aliked-n16rot", "aliked-n32" or "aliked-t16" (other kinds ignore it).
        max_keypoints: keypoints kept per photograph, the best first.
        long_side: length in pixels to which the canonical crop is brought before detection (small crops are enlarged).
        max_pixels: upper bound for width x height after that, so that a square photograph costs no more than others.
        source: "flattened" (local contrast flattened) or "photograph" (as it is).
    """

    kind: str = "aliked"
    model: str = "aliked-n16"
    max_keypoints: int = 512
    long_side: int = 576
    max_pixels: int = 200_000
    source: str = "flattened"

    def __post_init__(self) -> None:
        if self.kind not in _DETECTORS:
            raise SettingsError(f"kind={self.kind!r} is no keypoint type; known: {', '.join(sorted(_DETECTORS))}")
        if self.source not in ("flattened", "photograph"):
            raise SettingsError(f"source={self.source!r}: use 'flattened' or 'photograph'")
        if self.max_keypoints < 1 or self.long_side < 32:
            raise SettingsError("max_keypoints must be at least 1 and long_side at least 32")


class KeypointExtractor:
    """Detects and describes keypoints; one instance holds one network."""

    def __init__(self, settings: KeypointSettings | None = None, device: str | None = None) -> None:
        self.settings = settings or KeypointSettings()
        self._device = device

    @cached_property
    def _detect(self) -> Detector:
        # Loaded on first use: whoever asks for a fingerprint only needs no network.
        return _DETECTORS[self.settings.kind](self.settings, self._device)

    @property
    def kind(self) -> str:
        """Name under which matchers and rankers know these features."""
        return self.settings.kind

    def fingerprint(self) -> str:
        """Settings, weights and code version in one string: part of the cache key."""
        names = {"aliked": self.settings.model, "disk": "disk", "xfeat": "xfeat"}
        name = names.get(self.settings.kind)
        digest = file_sha256(weight_file(name))[:16] if name else f"cv{cv2.__version__}"
        return f"{self.settings.fingerprint()}-{digest}-{CODE_VERSIONS[self.settings.kind]}"

    def extract(self, photo: Photo, frame: Frame, regions: Regions | None = None) -> LocalFeatures:
        """Detect, describe and filter the keypoints of one photograph.

        Args:
            photo: the photograph.
            frame: its turn to the canonical frame.
            regions: body and mark regions on the photograph's grid; without them nothing is filtered.

        Returns:
            Local features, best first; empty (never an error) where the photograph is too small or blank.
        """
        image, scale = self._canonical_input(photo, frame)
        limit = self.settings.max_keypoints
        # More are sought than kept, since water and outline take their share before the filter.
        xy, scores, describe = self._detect(image, 2 * limit if regions is not None else limit)
        # Pixel centres are at integers, so a resize by s maps x to (x + 0.5) s - 0.5.
        canonical = (xy + 0.5) / np.asarray(scale, np.float32) - 0.5
        original = frame.to_original(canonical)
        keep, body, marks = self._weigh(original, photo, regions)
        weight = scores * (1.0 + _MARK_WEIGHT * marks)
        order = np.argsort(-weight[keep], kind="stable")[:limit]
        chosen = np.flatnonzero(keep)[order]
        return LocalFeatures(
            xy=np.ascontiguousarray(original[chosen], np.float32),
            scores=np.ascontiguousarray(scores[chosen], np.float32),
            descriptors=np.ascontiguousarray(describe(chosen), np.float16),
            marks=np.ascontiguousarray(marks[chosen], np.float32),
            body=np.ascontiguousarray(body[chosen], np.float32),
            frame=frame,
            kind=self.kind,
        )

    def _canonical_input(self, photo: Photo, frame: Frame) -> tuple[npt.NDArray[np.float32], tuple[float, float]]:
        """Return the (h, w, 3) float32 input in [0, 1] and its scale (x, y) against the canonical photograph."""
        rgb = np.ascontiguousarray(frame.turn(photo.rgb))
        valid = np.ascontiguousarray(frame.turn(photo.valid))
        height, width = valid.shape
        factor = self.settings.long_side / max(height, width)
        factor = min(factor, (self.settings.max_pixels / (height * width)) ** 0.5)
        new = (max(1, round(width * factor)), max(1, round(height * factor)))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        scale = (new[0] / width, new[1] / height)
        if self.settings.source == "photograph":
            image = cv2.resize(rgb, new, interpolation=how).astype(np.float32) / 255.0
            return image, scale
        grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), new, interpolation=how)
        mask = cv2.resize(valid.astype(np.uint8), new, interpolation=cv2.INTER_NEAREST) > 0
        sigma = max(2.0, _FLATTEN_SIGMA * max(new))
        flat = np.clip(flatten(grey, mask, sigma), 0.0, 1.0)
        return np.repeat(flat[:, :, None], 3, axis=2), scale

    def _weigh(
        self, xy: FloatArray, photo: Photo, regions: Regions | None
    ) -> tuple[npt.NDArray[np.bool_], FloatArray, FloatArray]:
        """Return which keypoints stay, and the body and mark values under them."""
        width, height = photo.size
        inside = (xy[:, 0] >= 0) & (xy[:, 1] >= 0) & (xy[:, 0] <= width - 1) & (xy[:, 1] <= height - 1)
        if regions is None:
            return inside, np.ones(len(xy), np.float32), np.zeros(len(xy), np.float32)
        column = np.clip(np.rint(xy[:, 0]).astype(int), 0, width - 1)
        row = np.clip(np.rint(xy[:, 1]).astype(int), 0, height - 1)
        body = regions.body[row, column]
        marks = regions.marks[row, column]
        keep = inside & photo.valid[row, column]
        depth = cv2.distanceTransform((regions.body >= _BODY_THRESHOLD).astype(np.uint8), cv2.DIST_L2, 3)
        keep &= depth[row, column] > _MARGIN * max(width, height)
        return keep, body.astype(np.float32), marks.astype(np.float32)


def _as_batch(image: npt.NDArray[np.float32], device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(device)


def _empty(dimension: int) -> RawFeatures:
    return _plain(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, dimension), np.float32))


def _plain(xy: FloatArray, scores: npt.NDArray[np.floating], descriptors: FloatArray) -> RawFeatures:
    """Return what a detector found that describes every keypoint anyway."""
    return xy, scores.astype(np.float32), lambda rows: descriptors[rows]


def _pick_device(device: str | None) -> str:
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def _load_state(name: str) -> dict[str, Any]:
    import torch

    state: dict[str, Any] = torch.load(weight_file(name), map_location="cpu", weights_only=True)
    return state


def _aliked(settings: KeypointSettings, device: str | None) -> Detector:
    """ALIKED (Zhao et al. 2023): top-k of the score map's maxima, 128-D descriptors."""
    import torch
    from kornia.feature import ALIKED

    # torch
    from features.keypoints.aliked import SparseAliked

    where = _pick_device(device)
    network = ALIKED(settings.model, max_num_keypoints=2 * settings.max_keypoints, detection_threshold=-1)
    missing, unexpected = network.load_state_dict(_load_state(settings.model), strict=False)
    # The sampling grid is a constant that the published files leave out; anything else missing is an error.
    if set(missing) - {"dkd.hw_grid"} or unexpected:
        raise SettingsError(f"the weights of {settings.model} do not fit: missing {missing}, unexpected {unexpected}")
    sparse = SparseAliked(network.to(where))

    def detect(image: npt.NDArray[np.float32], limit: int) -> RawFeatures:
        if min(image.shape[:2]) < 8:
            return _empty(128)
        points, scores, maps = sparse.detect(_as_batch(image, where), limit)

        def describe(rows: npt.NDArray[np.int_]) -> FloatArray:
            found: FloatArray = sparse.describe(maps, points[torch.from_numpy(rows)]).float().cpu().numpy()
            return found

        return points.float().cpu().numpy(), scores.float().cpu().numpy(), describe

    return detect


def _disk(settings: KeypointSettings, device: str | None) -> Detector:
    """DISK (Tyszkiewicz et al. 2020), the variant trained with depth: 128-D descriptors."""
    import torch
    from kornia.feature import DISK

    where = _pick_device(device)
    network = DISK()
    network.load_state_dict(_load_state("disk")["extractor"], strict=True)
    network.eval().to(where)

    @torch.inference_mode()
    def detect(image: npt.NDArray[np.float32], limit: int) -> RawFeatures:
        height, width = image.shape[:2]
        if min(height, width) < 16:
            return _empty(128)
        # The U-Net halves four times: its sides must be multiples of 16.
        padded = cv2.copyMakeBorder(image, 0, -height % 16, 0, -width % 16, cv2.BORDER_REPLICATE)
        found = network(_as_batch(padded, where), n=limit)[0]
        xy = found.keypoints.float().cpu().numpy()
        inside = (xy[:, 0] < width) & (xy[:, 1] < height)
        # Detection scores are logits of unbounded range; their logistic orders them the same within [0, 1].
        scores = 1.0 / (1.0 + np.exp(-found.detection_scores.float().cpu().numpy() / 10.0))
        return _plain(xy[inside], scores[inside], found.descriptors.float().cpu().numpy()[inside])

    return detect


def _xfeat(settings: KeypointSettings, device: str | None) -> Detector:
    """XFeat (Potje et al. 2024): light and fast, 64-D descriptors."""
    import torch
    from kornia.feature import XFeat

    where = _pick_device(device)
    network = XFeat(top_k=2 * settings.max_keypoints)
    network.net.load_state_dict(_load_state("xfeat"), strict=True)
    network.eval().to(where)

    @torch.inference_mode()
    def detect(image: npt.NDArray[np.float32], limit: int) -> RawFeatures:
        height, width = image.shape[:2]
        if min(height, width) < 32:
            return _empty(64)
        # XFeat resizes to multiples of 32 by itself and then reports half-pixel shifted positions: pad instead.
        padded = cv2.copyMakeBorder(image, 0, -height % 32, 0, -width % 32, cv2.BORDER_REPLICATE)
        found = network.detectAndCompute(_as_batch(padded, where), top_k=limit)[0]
        xy = found["keypoints"].float().cpu().numpy()
        inside = (xy[:, 0] < width) & (xy[:, 1] < height)
        scores = np.clip(found["scores"].float().cpu().numpy(), 0.0, 1.0)
        return _plain(xy[inside], scores[inside], found["descriptors"].float().cpu().numpy()[inside])

    return detect


def _sift(settings: KeypointSettings, device: str | None) -> Detector:
    """SIFT (Lowe 2004) with the square-root normalisation of Arandjelovic and Zisserman (2012): 128-D."""
    detector: Any = cv2.SIFT_create(  # type: ignore[attr-defined, unused-ignore]
        nfeatures=2 * settings.max_keypoints, contrastThreshold=0.02, enable_precise_upscale=True
    )

    def detect(image: npt.NDArray[np.float32], limit: int) -> RawFeatures:
        if min(image.shape[:2]) < 8:
            return _empty(128)
        grey = cv2.cvtColor((image * 255.0).round().astype(np.uint8), cv2.COLOR_RGB2GRAY)
        points, descriptors = detector.detectAndCompute(grey, None)
        if descriptors is None or not len(points):
            return _empty(128)
        response = np.array([point.response for point in points], np.float32)
        order = np.argsort(-response, kind="stable")[:limit]
        rooted = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
        rooted /= np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-9)
        xy = np.array([point.pt for point in points], np.float32)
        return _plain(xy[order], np.minimum(response[order] * 10.0, 1.0), rooted[order].astype(np.float32))

    return detect


_DETECTORS: dict[str, Callable[[KeypointSettings, str | None], Detector]] = {
    "aliked": _aliked,
    "disk": _disk,
    "xfeat": _xfeat,
    "sift": _sift,
}
