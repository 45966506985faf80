"""Training of the mark descriptors: places of one animal in two views are alike, all other places are not.

Two kinds of views teach: two made-up views of one photograph, in which every place is known
(:mod:`features.training.skin_views`), and two photographs of one individual whose places agree under one placement
(found by an earlier network, given here as :class:`KnownPair`). The loss is the symmetric cross-entropy of each place
among all places of its batch (InfoNCE; van den Oord, Li and Vinyals 2018); the other animals' places at the same part
of the body are the hard ones. A step draws from its own generator (seed, step), so that a resumed training ends with
the weights of an uninterrupted one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.global_descriptor.network_input import body_picture, fill_missing, resize
from features.model_file import read_tensors, write_tensors
from features.records import BoolArray, ByteArray
from features.skin.network import MarkNetwork, save_marks
from features.training.checkpoint import (
    CheckpointError,
    optimizer_tensors,
    restore_optimizer,
    with_prefix,
    without_prefix,
)
from features.training.data import box_of
from features.training.skin_views import Warp, render
from features.training.steps import to_input
from scarmatch.settings import Settings, SettingsError

log = logging.getLogger(__name__)
Places = npt.NDArray[np.float32]
Progress = Callable[[dict[str, Any]], None]
SAVE_EVERY = 20


@dataclass(frozen=True)
class MarkTrainSettings(Settings):
    """Everything that decides the weights, beside the photographs.

    Attributes:
        input_size: (width, height) of the network's input.
        dim: numbers per descriptor.
        steps: of the first stage, on made-up views alone.
        real_steps: of the second stage, which also sees pairs of photographs; 0 leaves it out.
        animals: in a batch, each in two views.
        real_animals: of them, shown in two photographs in the second stage.
        anchors, around: places of a batch are drawn around so many common places of the body, so many around each.
        near: places of one view closer than this many pixels do not compete.
        rate, real_rate: highest learning rates of the head. backbone_rate: the trunk's share of it.
        weight_decay: of AdamW. clip: largest gradient norm.
        held_out: "half" (the half of :func:`features.training.data.split_half` is left out) or "none".
        same_encounter, other_encounter: candidates for pairs of photographs, per photograph.
        impostors: pairs of two animals that say how many agreeing places chance brings.
        false_rate: share of impostors that may agree as well as an accepted pair.
        seed: of everything.
    """

    input_size: tuple[int, int] = (192, 512)
    dim: int = 64
    steps: int = 500
    real_steps: int = 250
    animals: int = 8
    real_animals: int = 5
    anchors: int = 64
    around: int = 3
    near: float = 12.0
    rate: float = 4e-3
    real_rate: float = 2e-3
    backbone_rate: float = 0.13
    weight_decay: float = 0.01
    clip: float = 2.0
    held_out: str = "half"
    same_encounter: int = 2
    other_encounter: int = 3
    impostors: int = 500
    false_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_size", tuple(int(v) for v in self.input_size))
        if self.held_out not in ("half", "none"):
            raise SettingsError(f"held_out must be half or none, not {self.held_out!r}")
        if self.animals < 2 or not 0 <= self.real_animals <= self.animals:
            raise SettingsError("animals must be at least 2, real_animals between 0 and animals")
        if any(side % 8 for side in self.input_size) or min(self.input_size) < 32:
            raise SettingsError(f"input_size must be multiples of 8 from 32 on, not {self.input_size}")


@dataclass(frozen=True, eq=False)
class SkinPhotos:
    """Photographs in memory, head up, all of one size.

    Attributes:
        table: (N rows) of the catalogue, RangeIndex.
        grey, body: (N, H, W) uint8 lightness and certainty of body times 255.
    """

    table: pd.DataFrame
    grey: ByteArray
    body: ByteArray

    @classmethod
    def read(cls, table: pd.DataFrame, size: tuple[int, int], progress: Progress | None = None) -> SkinPhotos:
        """Read the photographs of a catalogue's table; one that cannot be read is left out and named in the log."""
        from features.photo import PhotoError, canonical_frame, read_photo
        from features.regions import find_regions

        kept, greys, bodies = [], [], []
        for number, (_, row) in enumerate(table.iterrows()):
            try:
                photo = read_photo(row["path"], box_of(row.get("box")))
            except PhotoError as error:
                log.warning("left out photograph %s: %s", row["image_id"], error)
                continue
            frame = canonical_frame(photo.size, row["viewpoint"])
            regions = find_regions(photo, frame)
            picture = resize(frame.turn(fill_missing(photo.rgb, photo.valid)), size)
            greys.append(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
            bodies.append(body_picture(regions, frame, size))
            kept.append(number)
            if progress is not None and number % 50 == 49:
                progress({"stage": "reading", "done": number + 1, "total": len(table)})
        shape = (0, size[1], size[0])
        empty = np.zeros(shape, np.uint8)
        return cls(
            table.iloc[kept].reset_index(drop=True),
            np.asarray(greys, np.uint8).reshape(-1, *shape[1:]) if greys else empty,
            np.asarray(bodies, np.uint8).reshape(-1, *shape[1:]) if bodies else empty,
        )

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True, eq=False)
class KnownPair:
    """Two photographs of one individual (row numbers) and (K, 2) places that agree, in pixels of the input."""

    first: int
    second: int
    places0: Places
    places1: Places


@dataclass(frozen=True, eq=False)
class _View:
    """One half of a batch's animal: what the network is shown, and where the places lie in it."""

    picture: npt.NDArray[np.float32]
    places: npt.NDArray[np.float64]
    inside: BoolArray


def sample_descriptors(found: Tensor, places: npt.NDArray[np.floating], size: tuple[int, int]) -> Tensor:
    """Read a (D, h, w) map at (K, 2) pixels of an input of (width, height): (K, D), L2-normalised."""
    scaled = (torch.from_numpy(np.asarray(places, np.float32)) + 0.5) / torch.tensor(size, dtype=torch.float32) * 2 - 1
    grid = scaled.to(found.device)[None, :, None]
    read = functional.grid_sample(found[None], grid, align_corners=False)
    return functional.normalize(read[0, :, :, 0].T, dim=1)


def place_loss(
    skin0: Tensor,
    skin1: Tensor,
    owner: npt.NDArray[np.int64],
    places1: npt.NDArray[np.floating],
    scale: Tensor,
    near: float,
) -> tuple[Tensor, float]:
    """Return the symmetric cross-entropy of corresponding places, and the share of places found at once.

    Args:
        skin0, skin1: (K, D) unit descriptors of the corresponding places of the two views.
        owner: (K,) number of each place's animal.
        places1: (K, 2) pixels in the second views.
        scale: factor on the cosines.
        near: places of one view closer than this do not compete.
    """
    cosine = skin0 @ skin1.T * scale
    distance = np.linalg.norm(places1[:, None] - places1[None], axis=2)
    too_near = (owner[:, None] == owner[None]) & (distance < near)
    np.fill_diagonal(too_near, False)
    cosine = cosine.masked_fill(torch.from_numpy(too_near).to(cosine.device), -1e9)
    target = torch.arange(len(cosine), device=cosine.device)
    loss = (functional.cross_entropy(cosine, target) + functional.cross_entropy(cosine.T, target)) / 2
    return loss, float((cosine.argmax(dim=1) == target).float().mean())


@dataclass(eq=False)
class MarkTrainer:
    """One stage of a training.

    Args:
        photos: to learn from.
        settings: see :class:`MarkTrainSettings`.
        folder: for ``checkpoint-STAGE.safetensors``; None keeps none.
        stage: "made-up" or "real".
        pairs: pairs of photographs with known places, for the stage "real".
        progress: called with a record now and then (stage, step, steps, loss, accuracy).
    """

    photos: SkinPhotos
    settings: MarkTrainSettings
    folder: Path | None = None
    stage: str = "made-up"
    pairs: Sequence[KnownPair] = ()
    progress: Progress | None = None
    network: MarkNetwork = field(init=False)

    def __post_init__(self) -> None:
        who = self.photos.table["individual_id"].to_numpy(object)
        self.photos_of = {name: np.flatnonzero(who == name) for name in sorted({str(n) for n in who if n is not None})}
        if len(self.photos_of) < self.settings.animals:
            raise SettingsError(
                f"{len(self.photos_of)} individuals are left for training, a batch needs {self.settings.animals}: "
                "label more photographs or ask for fewer animals"
            )
        self.pairs_of: dict[str, list[KnownPair]] = {}
        for pair in self.pairs:
            self.pairs_of.setdefault(str(who[pair.first]), []).append(pair)
        torch.manual_seed(self.settings.seed)
        self.network = MarkNetwork(self.settings.dim)
        self.network.start_from_imagenet()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        real = self.stage == "real"
        self.steps = self.settings.real_steps if real else self.settings.steps
        self.rate = self.settings.real_rate if real else self.settings.rate
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for n, p in named if n.startswith("blocks.")], "share": self.settings.backbone_rate},
            {"params": [p for n, p in named if not n.startswith("blocks.")], "share": 1.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, weight_decay=self.settings.weight_decay)
        self.step = 0

    def start_from(self, network: MarkNetwork) -> None:
        """Take over the weights of an earlier stage."""
        self.network.load_state_dict(network.state_dict())

    def run(self, resume: bool = False, stop_after: int | None = None) -> MarkNetwork:
        """Train, or go on from the folder's checkpoint; ``stop_after`` steps in all, as if interrupted."""
        if resume:
            self.restore()
        self.network.train()
        losses: list[tuple[float, float]] = []
        while self.step < self.steps and (stop_after is None or self.step < stop_after):
            losses.append(self.one_step())
            if self.step % SAVE_EVERY == 0 or self.step == self.steps:
                self.save()
                loss, right = np.mean(losses[-SAVE_EVERY:], axis=0)
                if self.progress is not None:
                    about = {"stage": self.stage, "done": self.step, "total": self.steps}
                    self.progress({**about, "loss": float(loss), "accuracy": float(right)})
        if stop_after is not None:
            self.save()
        return self.network.eval()

    def one_step(self) -> tuple[float, float]:
        """Show one batch; return its loss and the share of places found at once."""
        rng = np.random.default_rng([self.settings.seed, 1 if self.stage == "real" else 0, self.step])
        self._set_rate()
        views = self._batch(rng)
        found = self.network(to_input(np.stack([view.picture for pair in views for view in pair]), self.device))
        size, skin0, skin1, owner, places1 = self.settings.input_size, [], [], [], []
        for number, (first, second) in enumerate(views):
            kept = first.inside & second.inside
            skin0.append(sample_descriptors(found[2 * number], first.places[kept], size))
            skin1.append(sample_descriptors(found[2 * number + 1], second.places[kept], size))
            owner.append(np.full(int(kept.sum()), number, np.int64))
            places1.append(second.places[kept])
        loss, right = place_loss(
            torch.cat(skin0),
            torch.cat(skin1),
            np.concatenate(owner),
            np.concatenate(places1),
            self.network.log_scale.exp(),
            self.settings.near,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = [p for p in self.network.parameters() if p.grad is not None]
        nn.utils.clip_grad_norm_(trained, self.settings.clip)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach()), right

    def _set_rate(self) -> None:
        """Warm up over an eighth of the steps, then fall along a cosine to a hundredth."""
        done, warm = self.step / max(self.steps, 1), 0.125
        share = done / warm if done < warm else 0.5 * (1 + np.cos(np.pi * (done - warm) / (1 - warm)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["share"] * max(0.01, share)

    def _batch(self, rng: np.random.Generator) -> list[tuple[_View, _View]]:
        s = self.settings
        width, height = s.input_size
        real = sorted(self.pairs_of) if self.stage == "real" else []
        count = min(s.real_animals, len(real)) if real else 0
        shown = [str(name) for name in rng.choice(real, count, replace=False)] if count else []
        others = [name for name in self.photos_of if name not in shown]
        made_up = [str(name) for name in rng.choice(others, s.animals - count, replace=False)]
        anchors = np.stack([rng.uniform(0.12, 0.88, s.anchors) * width, rng.uniform(0.06, 0.94, s.anchors) * height], 1)
        views = [self._real_views(self.pairs_of[name], rng) for name in shown]
        for name in made_up:
            row = int(rng.choice(self.photos_of[name]))
            spread = np.array([width / 32, height / 64]) * rng.standard_normal((s.anchors, s.around, 2))
            places = (anchors[:, None] + spread).reshape(-1, 2)
            warps = [Warp.draw(s.input_size, rng, strength) for strength in (0.6, 1.0)]
            views.append((self._view(row, warps[0], places, rng, 1.0), self._view(row, warps[1], places, rng, 1.0)))
        return views

    def _real_views(self, pairs: Sequence[KnownPair], rng: np.random.Generator) -> tuple[_View, _View]:
        pair = pairs[int(rng.integers(len(pairs)))]
        most = self.settings.anchors * self.settings.around
        chosen = rng.choice(len(pair.places0), min(most, len(pair.places0)), replace=False)
        sides = [(pair.first, pair.places0[chosen]), (pair.second, pair.places1[chosen])]
        if rng.random() < 0.5:
            sides.reverse()
        first, second = (
            self._view(row, Warp.draw(self.settings.input_size, rng, 0.6), places, rng, 0.4) for row, places in sides
        )
        return first, second

    def _view(
        self, row: int, warp: Warp, places: npt.NDArray[np.floating], rng: np.random.Generator, strength: float
    ) -> _View:
        picture, body = render(self.photos.grey[row], self.photos.body[row], warp, rng, strength)
        found = warp.to_view(places)
        height, width = body.shape
        column, line = np.rint(found[:, 0]).astype(int), np.rint(found[:, 1]).astype(int)
        inside = (column >= 2) & (line >= 2) & (column < width - 2) & (line < height - 2)
        inside[inside] &= body[line[inside], column[inside]]
        return _View(picture, found, inside)

    def _identity(self) -> dict[str, Any]:
        return {
            "settings": self.settings.fingerprint(),
            "stage": self.stage,
            "photographs": len(self.photos),
            "pairs": len(self.pairs),
        }

    def _checkpoint(self) -> Path | None:
        return self.folder / f"checkpoint-{self.stage}.safetensors" if self.folder is not None else None

    def save(self) -> None:
        """Write the checkpoint."""
        path = self._checkpoint()
        if path is not None:
            tensors = {**with_prefix("network", self.network.state_dict()), **optimizer_tensors(self.optimizer)}
            write_tensors(path, tensors, {"identity": self._identity(), "step": self.step})

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one.

        Raises:
            CheckpointError: it is of other settings or other photographs.
        """
        path = self._checkpoint()
        if path is None or not path.is_file():
            return
        tensors, header = read_tensors(path)
        if header["identity"] != self._identity():
            raise CheckpointError(
                f"{path} belongs to another training ({header['identity']}, not {self._identity()}): "
                "use another folder, or start anew without resuming"
            )
        self.network.load_state_dict(without_prefix("network", tensors), strict=True)
        restore_optimizer(self.optimizer, tensors)
        self.step = int(header["step"])


def save_trained(path: Path, network: MarkNetwork, settings: MarkTrainSettings, about: dict[str, Any]) -> None:
    """Write a trained network in half precision with what it needs to be fed."""
    header = {"input_size": list(settings.input_size), "settings": settings.to_dict(), "training": about}
    save_marks(path, network, header, half=True)
