"""The head that a descriptor was trained with: which of the animals that it was trained on a photograph shows.

Training ends with class centres that are thrown away as a rule, because they know no other animals. Where the animals
asked for are those of the training, their logits are evidence of their own. The network beside the centres is the one
that they were trained with, before it was whitened.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.model_file import (
    ModelFileError,
    of_kind,
    read_tensors,
    reading,
    save_embedder,
    write_tensors,
)
from features.records import FloatArray, Frame, Photo, Regions

if TYPE_CHECKING:
    from features.global_descriptor.networks import Embedder
    from features.training.losses import MarginHead

FORMAT = 1
KIND = "trained head"
FOLDER, NETWORK, CENTRES = "classifier", "network.safetensors", "centres.safetensors"


def save_classifier(
    folder: Path, model: Embedder, header: dict[str, Any], head: MarginHead, names: Sequence[str]
) -> Path:
    """Write a network and the class centres that it was trained with.

    Args:
        folder: of the training; a folder :data:`FOLDER` is made in it.
        model: as it was trained, not whitened.
        header: of the network, see :func:`features.model_file.save_embedder`.
        head: its first classes are ``names`` (mirrored classes may follow; they are left out).
        names: of the individuals.
    """
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    save_embedder(target / NETWORK, model, header)
    centres = head.centres.detach()[: len(names) * head.subcentres].cpu().contiguous()
    about = {"format": FORMAT, "kind": KIND, "individuals": list(names), "subcentres": head.subcentres}
    write_tensors(target / CENTRES, {"centres": centres}, {**about, "scale": head.scale})
    return target


class TrainedHead:
    """A network with the class centres that it was trained with.

    Args:
        folder: of a training, or its folder :data:`FOLDER`.
        device: "cpu", "cuda" or None to choose.

    Attributes:
        names: (C) the individuals that it knows.

    Raises:
        ModelFileError: the folder holds no such files.
    """

    def __init__(self, folder: Path | str, device: str | None = None) -> None:
        place = Path(folder).expanduser()
        place = place / FOLDER if (place / FOLDER).is_dir() else place
        for name in (NETWORK, CENTRES):
            if not (place / name).is_file():
                raise ModelFileError(
                    f"{folder} holds no {name}: train with `scarmatch train-descriptor`, which writes it"
                )
        tensors, header = read_tensors(place / CENTRES)
        of_kind(place / CENTRES, header, KIND, FORMAT, "the centres of a trained head are")
        with reading(place / CENTRES):
            self.names: list[str] = [str(name) for name in header["individuals"]]
            self._scale, self._subcentres = float(header["scale"]), int(header["subcentres"])
            centres = tensors["centres"].float().numpy()
            if centres.ndim != 2 or len(centres) != len(self.names) * self._subcentres:
                raise ModelFileError(f"{place / CENTRES} does not fit its own header: centres and individuals differ")
        self._centres = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        settings = GlobalSettings(model=str(place / NETWORK), mirror=False)
        self._network = GlobalDescriptor.from_settings(settings, device=device)

    def probabilities(
        self, photos: Sequence[Photo], frames: Sequence[Frame], regions: Sequence[Regions] | None = None
    ) -> FloatArray:
        """Return (N, C) float32: softmax of the scaled cosines to the nearest sub-centre of every individual."""
        if not photos:
            return np.zeros((0, len(self.names)), np.float32)
        cosine = self._network.describe(photos, frames, regions) @ self._centres.T
        logits = self._scale * cosine.reshape(len(photos), len(self.names), self._subcentres).max(axis=2)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)
