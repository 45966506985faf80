"""Everything about one photograph in one call: read, regions, global descriptor, keypoints, kept in a store.

A photograph is known by its bytes, its box and its turn, never by its name. Global descriptor, dense skin descriptors,
flattened skin, keypoints and the body's own coordinates are stored apart, so that a new global model does not cost new
keypoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.body_frame import CODE_VERSION as BODY_FRAME_VERSION
from features.body_frame import BodyFrame, find_body_frame
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings, fingerprint_of
from features.keypoints.detectors import KeypointExtractor, KeypointSettings
from features.known_files import KnownFiles
from features.packing import pack_local, unpack_local
from features.photo import PhotoError, canonical_frame, photo_digest, read_photo
from features.records import (
    BoolArray,
    ByteArray,
    Description,
    Failure,
    FloatArray,
    Frame,
    LocalFeatures,
    Photo,
    PhotoRef,
    Regions,
)
from features.regions import CODE_VERSION as REGIONS_VERSION
from features.regions import RegionSettings, find_regions
from features.skin.descriptors import KIND as SKIN
from features.skin.descriptors import SkinExtractor, SkinSettings
from features.skin.picture import CODE_VERSION as PICTURE_VERSION
from features.skin.picture import flattened_skin
from features.store import FeatureStore, LostEntryError
from features.store.feature_store import digests_of
from scarmatch.settings import Settings, SettingsError

#: What stands between a photograph's key and the angle at which it is described.
_ROTATED = ":rotated by "
#: Beyond this, neighbouring rotations are 10 degrees apart: less than descriptors notice.
MOST_ROTATIONS = 36


@dataclass(frozen=True)
class DescribeSettings(Settings):
    """Options of everything that happens to one photograph.

    Attributes:
        descriptor: the global descriptor.
        skin: dense skin descriptors.
        keypoints: keypoints and their descriptors.
        regions: body and marks.
        rotations: keypoints and skin are described in so many rotations, evenly around the circle, and a query is
            compared in all of them: for animals that lie in the picture at any angle. Time and store grow with it.
    """

    descriptor: GlobalSettings = field(default_factory=GlobalSettings)
    skin: SkinSettings = field(default_factory=SkinSettings)
    keypoints: KeypointSettings = field(default_factory=KeypointSettings)
    regions: RegionSettings = field(default_factory=RegionSettings)
    rotations: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.rotations <= MOST_ROTATIONS:
            raise SettingsError(f"rotations={self.rotations} must be from 1 to {MOST_ROTATIONS}")


class Describer:
    """Describes photographs and remembers the answers in a store.

    Args:
        settings: options of the stages.
        store: where descriptions are kept; None keeps nothing.
        device: "cpu", "cuda" or None to choose.
    """

    #: Photographs per batch of the global network. Batches are always full (padded with repeats), so that a vector does
    #: not depend on how many other photographs were described along with it.
    BATCH = 4

    def __init__(
        self, settings: DescribeSettings | None = None, store: FeatureStore | None = None, device: str | None = None
    ) -> None:
        self.settings = settings or DescribeSettings()
        self.store = store
        self._device = device

    @cached_property
    def descriptor(self) -> GlobalDescriptor:
        """The global networks, loaded on first use."""
        return GlobalDescriptor.from_settings(self.settings.descriptor, device=self._device)

    @cached_property
    def extractor(self) -> KeypointExtractor:
        """The keypoint network, loaded on first use."""
        return KeypointExtractor(self.settings.keypoints, device=self._device)

    @cached_property
    def skin_extractor(self) -> SkinExtractor:
        """The network of the dense skin descriptors, loaded on first use."""
        return SkinExtractor(self.settings.skin, device=self._device)

    @cached_property
    def _global_fingerprint(self) -> str:
        return fingerprint_of(self.settings.descriptor, self._device)

    @cached_property
    def _region_fingerprint(self) -> str:
        return f"{self.settings.regions.fingerprint()}-{REGIONS_VERSION}"

    @cached_property
    def _local_fingerprint(self) -> str:
        return f"{self.extractor.fingerprint()}-{self._region_fingerprint}"

    @cached_property
    def _skin_fingerprint(self) -> str:
        return f"{self.skin_extractor.fingerprint()}-{self._region_fingerprint}"

    def global_fingerprint(self) -> str:
        """Changes whenever global descriptors could."""
        return self._global_fingerprint

    def region_fingerprint(self) -> str:
        """Changes whenever body and mark regions could."""
        return self._region_fingerprint

    def local_fingerprint(self) -> str:
        """Changes whenever regions or keypoints could."""
        return self._local_fingerprint

    def skin_fingerprint(self) -> str:
        """Changes whenever regions or dense skin descriptors could."""
        return self._skin_fingerprint

    def picture_fingerprint(self) -> str:
        """Changes whenever flattened skins could."""
        return f"{self.region_fingerprint()}-{PICTURE_VERSION}"

    def describe(self, refs: Iterable[PhotoRef]) -> Iterator[Description | Failure]:
        """Describe photographs in the order given; a bad one yields a :class:`Failure` and stops nobody."""
        batch: list[PhotoRef] = []
        for ref in refs:
            batch.append(ref)
            if len(batch) == self.BATCH:
                yield from self._describe_batch(batch)
                batch = []
        if batch:
            yield from self._describe_batch(batch)

    def read(self, ref: PhotoRef) -> tuple[Photo, Frame]:
        """Read a photograph and its turn to the canonical frame.

        Raises:
            PhotoError: the file cannot be read as a photograph.
        """
        photo = read_photo(ref.path, ref.box)
        return photo, canonical_frame(photo.size, ref.viewpoint)

    def regions(self, photo: Photo, frame: Frame) -> Regions:
        """Return body and mark regions of a photograph."""
        return find_regions(photo, frame, self.settings.regions)

    def local(self, key: str, on_body: bool = True) -> LocalFeatures:
        """Return the stored local features of a described photograph; ``on_body`` with their places on the body.

        Raises:
            LostEntryError: they are not in the store (describe the photograph again).
        """
        return self._stored(key, self._local_key(key), self.settings.keypoints.kind, on_body)

    def skin(self, key: str) -> LocalFeatures:
        """Return the stored dense skin descriptors of a described photograph, with their places on the body.

        Raises:
            LostEntryError: they are not in the store (describe the photograph again).
        """
        return self._stored(key, self._skin_key(key), SKIN)

    def picture(self, key: str) -> ByteArray:
        """Return the stored flattened skin of a described photograph (:func:`features.skin.picture.flattened_skin`).

        Raises:
            LostEntryError: it is not in the store (describe the photograph again).
        """
        return self._entry(key, self._picture_key(key))["picture"]

    def body_frame(self, key: str) -> BodyFrame:
        """Return the stored mid-line and sides of a described photograph's body.

        Raises:
            LostEntryError: they are not in the store (describe the photograph again).
        """
        return BodyFrame.from_array(self._entry(key, self._body_key(key))["body"])

    def _entry(self, key: str, name: str) -> dict[str, npt.NDArray[Any]]:
        """Return what the store keeps of a photograph under a name (LostEntryError if nothing)."""
        arrays = self.store.get(name) if self.store is not None else None
        if arrays is None:
            raise LostEntryError(key)
        return arrays

    def _stored(self, key: str, name: str, kind: str, on_body: bool = True) -> LocalFeatures:
        features = unpack_local(self._entry(key, name), kind)
        if not on_body:
            return features
        return replace(features, body_xy=self.body_frame(key).to_body(features.canonical_xy))

    def _body_key(self, key: str) -> str:
        return f"body:{key}:{self.region_fingerprint()}-{BODY_FRAME_VERSION}"

    def _skin_key(self, key: str) -> str:
        return f"skin:{key}:{self.skin_fingerprint()}"

    def _picture_key(self, key: str) -> str:
        return f"picture:{key}:{self.picture_fingerprint()}"

    def _global_key(self, key: str) -> str:
        return f"global:{key}:{self.global_fingerprint()}"

    def _local_key(self, key: str) -> str:
        return f"local:{key}:{self.local_fingerprint()}"

    def _summary_key(self, key: str) -> str:
        return f"summary:{key}:{self.local_fingerprint()}"

    def rotated_keys(self, key: str) -> tuple[str, ...]:
        """Return the keys under which a photograph's local features lie: its own, and one for every further rotation.

        One of those alone is returned as it is.
        """
        if self.settings.rotations == 1 or _ROTATED in key:
            return (key,)
        return (key, *(f"{key}{_ROTATED}{degrees:g}" for degrees in self._further_rotations))

    @cached_property
    def _further_rotations(self) -> tuple[float, ...]:
        """Degrees, counter-clockwise."""
        return tuple(360.0 * turn / self.settings.rotations for turn in range(1, self.settings.rotations))

    def store_keys(self, key: str) -> list[str]:
        """Return the keys of everything that the store keeps of a photograph, by these settings."""
        local = (self._local_key, self._skin_key, self._picture_key, self._body_key)
        names = [name(rotated) for rotated in self.rotated_keys(key) for name in local]
        return [self._global_key(key), self._summary_key(key), *names]

    def lookup(self, ref: PhotoRef) -> Description | None:
        """Return what the store knows of a photograph without decoding it; None where anything is missing.

        Raises:
            PhotoError: the file cannot be read at all.
        """
        if self.store is None:
            return None
        return self._known(ref, content_key(ref))

    def _known(self, ref: PhotoRef, key: str) -> Description | None:
        if self.store is None:
            return None
        vector = self.store.get(self._global_key(key))
        summary = self.store.get(self._summary_key(key))
        if vector is None or summary is None:
            return None
        if not all(map(self.store.has, self.store_keys(key)[2:])):
            return None
        return _description(ref, key, vector["vector"], summary["summary"])

    def lookup_many(
        self, refs: Sequence[PhotoRef], files: KnownFiles, verify: bool = False
    ) -> list[Description | Failure | None]:
        """Return what the store knows of many photographs, None where anything is missing.

        Unlike :meth:`lookup` it asks the store's index alone whether local features are there, and reads the summary
        and the vector: a damaged record of the others is found when it is used, and named and computed anew then. The
        descriptions' vectors are rows of one matrix.

        Args:
            refs: the photographs.
            files: the digests of files that have not changed.
            verify: read the local features too, as :meth:`lookup` does.
        """
        if self.store is None:
            return [None] * len(refs)
        found: list[Description | Failure | None] = [None] * len(refs)
        keys: dict[int, str] = {}
        for row, ref in enumerate(refs):
            try:
                keys[row] = content_key(ref, files.digest(ref.path))
            except PhotoError as error:
                found[row] = Failure(ref.image_id, ref.path, str(error))
        complete: BoolArray = np.zeros(len(keys), bool)
        if keys and not verify:
            names = [name for key in keys.values() for name in self.store_keys(key)]
            complete[:] = self.store.contains(digests_of(names)).reshape(len(keys), -1).all(axis=1)
        matrix: FloatArray | None = None
        for position, (row, key) in enumerate(keys.items()):
            if not complete[position]:
                # It may lie in files of the earlier layout, which the index does not know.
                thorough = verify or self.store.has_entry_files()
                found[row] = self._known(refs[row], key) if thorough else None
                continue
            vector, summary = self.store.get(self._global_key(key)), self.store.get(self._summary_key(key))
            if vector is None or summary is None:
                continue
            if matrix is None:
                matrix = np.empty((len(keys), vector["vector"].size), np.float32)
            if vector["vector"].shape == matrix.shape[1:]:
                matrix[position] = vector["vector"]
                found[row] = _description(refs[row], key, matrix[position], summary["summary"])
        return found

    def _describe_batch(self, refs: Sequence[PhotoRef]) -> list[Description | Failure]:
        answers: dict[int, Description | Failure] = {}
        work: list[_Work] = []
        for position, ref in enumerate(refs):
            try:
                known = self.lookup(ref)
                if known is not None:
                    answers[position] = known
                else:
                    work.append(_Work(self, position, ref, content_key(ref), *self.read(ref)))
            except PhotoError as error:
                answers[position] = Failure(ref.image_id, ref.path, str(error))
        for item, vector in zip(work, self._vectors(work), strict=True):
            self._keep_body_and_skin(item)
            answers[item.position] = _description(item.ref, item.key, vector, self._local_summary(item))
            self._keep_rotations(item)
        return [answers[position] for position in range(len(refs))]

    def _keep_rotations(self, item: _Work) -> None:
        """Describe body, skin and keypoints of a photograph in its further rotations; keep what the store lacks."""
        if self.store is None:
            return
        _, *keys = self.rotated_keys(item.key)
        for key, degrees in zip(keys, self._further_rotations, strict=True):
            turned = _Work(self, item.position, item.ref, key, item.photo, item.frame.rotated(degrees))
            self._keep_body_and_skin(turned)
            if not self.store.has(self._local_key(key)):
                features = self.extractor.extract(turned.photo, turned.frame, turned.regions)
                self.store.put(self._local_key(key), pack_local(features))

    def _vectors(self, work: Sequence[_Work]) -> list[FloatArray]:
        known = [self.store.get(self._global_key(item.key)) if self.store is not None else None for item in work]
        vectors = [arrays["vector"] if arrays is not None else np.zeros(0, np.float32) for arrays in known]
        missing = [index for index, arrays in enumerate(known) if arrays is None]
        for start in range(0, len(missing), self.BATCH):
            chosen = missing[start : start + self.BATCH]
            padded = [work[chosen[i % len(chosen)]] for i in range(self.BATCH)]
            regions = [item.regions for item in padded] if self.descriptor.needs_regions else None
            fresh = self.descriptor.describe([item.photo for item in padded], [item.frame for item in padded], regions)
            for index, vector in zip(chosen, fresh, strict=False):
                vectors[index] = np.array(vector, np.float32)
                if self.store is not None:
                    self.store.put(self._global_key(work[index].key), {"vector": vectors[index]})
        return vectors

    def _keep_body_and_skin(self, item: _Work) -> None:
        """Find and keep what the store lacks of a body's mid-line and sides, its skin's descriptors and its picture."""
        if self.store is None:
            return
        photo, frame = item.photo, item.frame
        parts: dict[str, Callable[[], dict[str, npt.NDArray[Any]]]] = {
            self._body_key(item.key): lambda: {
                "body": find_body_frame(item.regions, frame, item.ref.viewpoint).to_array()
            },
            self._skin_key(item.key): lambda: pack_local(self.skin_extractor.extract(photo, frame, item.regions)),
            self._picture_key(item.key): lambda: {"picture": flattened_skin(photo, frame, item.regions)},
        }
        for key, make in parts.items():
            if not self.store.has(key):
                self.store.put(key, make())

    def _local_summary(self, item: _Work) -> npt.NDArray[np.float64]:
        """Compute and keep the local features of a photograph; return its summary numbers."""
        if self.store is not None and self.store.has(self._local_key(item.key)):
            summary = self.store.get(self._summary_key(item.key))
            if summary is not None:
                return summary["summary"]
        regions = item.regions
        features = self.extractor.extract(item.photo, item.frame, regions)
        summary_numbers = np.array([*item.photo.size, len(features), regions.body_share, regions.sharpness], np.float64)
        if self.store is not None:
            self.store.put(self._local_key(item.key), pack_local(features))
            self.store.put(self._summary_key(item.key), {"summary": summary_numbers})
        return summary_numbers


@dataclass(frozen=True, eq=False)
class _Work:
    """A photograph on its way through the stages."""

    describer: Describer
    position: int
    ref: PhotoRef
    key: str
    photo: Photo
    frame: Frame

    @cached_property
    def regions(self) -> Regions:
        """Body and marks, found once for all stages that ask."""
        return self.describer.regions(self.photo, self.frame)


def _description(ref: PhotoRef, key: str, vector: npt.NDArray[np.floating], summary: Iterable[float]) -> Description:
    width, height, count, body_share, sharpness = map(float, summary)
    return Description(
        image_id=ref.image_id,
        key=key,
        size=(int(width), int(height)),
        vector=np.asarray(vector, np.float32),
        n_keypoints=int(count),
        body_share=body_share,
        sharpness=sharpness,
    )


def content_key(ref: PhotoRef, digest: str | None = None) -> str:
    """Return the key under which a photograph's content is known: its bytes, its box and its viewpoint.

    Args:
        ref: the photograph.
        digest: of its file's bytes, where it is known; None reads the file.

    Raises:
        PhotoError: the file cannot be read.
    """
    return key_of(digest if digest is not None else photo_digest(ref.path), ref.box, ref.viewpoint)


def key_of(digest: str, box: tuple[int, int, int, int] | None, viewpoint: str | None) -> str:
    """Return :func:`content_key` of a file's digest, a box and a viewpoint."""
    return f"{digest}:{'' if box is None else ','.join(map(str, box))}:{viewpoint or ''}"
