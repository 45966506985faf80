"""Training of the dense skin descriptors: points of one animal in two views are alike, all other points are not.

Two kinds of views teach: two made-up views of one photograph, in which every point is known
(:mod:`features.training.skin_views`), and two photographs of one individual whose points agree under one placement
(found by an earlier network, given here as :class:`features.training.skin_photos.KnownPair`). The loss is that of
:mod:`features.training.skin_loss`. A step draws from its own generator (seed, step), so that a resumed training ends
with the weights of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from features.global_descriptor.runtime import to_input
from features.model_file import read_tensors, write_tensors
from features.records import BoolArray
from features.skin.network import SkinNetwork, save_skin_network
from features.training.checkpoint import (
    CheckpointError,
    optimizer_tensors,
    restore_optimizer,
    with_prefix,
    without_prefix,
)
from features.training.skin_loss import correspondence_loss, sample_descriptors
from features.training.skin_photos import KnownPair, Progress, SkinPhotos
from features.training.skin_settings import SkinTrainSettings
from features.training.skin_views import Warp, render
from scarmatch.settings import SettingsError

#: Points drawn around each common point of the body.
_AROUND = 3
#: Points of one view closer than this many pixels do not compete: they show the same skin.
_NEAR = 12.0
#: The second stage's share of the first one's learning rate, and the trunk's share of the head's.
_REAL_RATE_SHARE, _TRUNK_RATE_SHARE = 0.5, 0.13
_WEIGHT_DECAY = 0.01
#: Largest gradient norm.
_CLIP = 2.0
SAVE_EVERY = 20


@dataclass(frozen=True, eq=False)
class _View:
    """One half of a batch's animal: what the network is shown, and where the points lie in it."""

    picture: npt.NDArray[np.float32]
    points: npt.NDArray[np.float64]
    inside: BoolArray


@dataclass(eq=False)
class SkinTrainer:
    """One stage of a training.

    Args:
        photos: to learn from.
        settings: see :class:`SkinTrainSettings`.
        folder: for ``checkpoint-STAGE.safetensors``; None keeps none.
        stage: "made-up" or "real".
        pairs: pairs of photographs with known points, for the stage "real".
        progress: called with a record now and then (stage, step, steps, loss, accuracy).
    """

    photos: SkinPhotos
    settings: SkinTrainSettings
    folder: Path | None = None
    stage: str = "made-up"
    pairs: Sequence[KnownPair] = ()
    progress: Progress | None = None
    network: SkinNetwork = field(init=False)

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
        self.network = SkinNetwork(self.settings.dim)
        self.network.start_from_imagenet()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        real = self.stage == "real"
        self.steps = self.settings.real_steps if real else self.settings.steps
        self.rate = _REAL_RATE_SHARE * self.settings.rate if real else self.settings.rate
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for n, p in named if n.startswith("blocks.")], "share": _TRUNK_RATE_SHARE},
            {"params": [p for n, p in named if not n.startswith("blocks.")], "share": 1.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, weight_decay=_WEIGHT_DECAY)
        self.step = 0

    def start_from(self, network: SkinNetwork) -> None:
        """Take over the weights of an earlier stage."""
        self.network.load_state_dict(network.state_dict())

    def run(self, resume: bool = False, stop_after: int | None = None) -> SkinNetwork:
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
        """Show one batch; return its loss and the share of points whose nearest is right."""
        rng = np.random.default_rng([self.settings.seed, 1 if self.stage == "real" else 0, self.step])
        self._set_rate()
        views = self._batch(rng)
        feature_maps = self.network(to_input(np.stack([view.picture for pair in views for view in pair]), self.device))
        size, skin0, skin1, owner, points1 = self.settings.input_size, [], [], [], []
        for number, (first, second) in enumerate(views):
            kept = first.inside & second.inside
            skin0.append(sample_descriptors(feature_maps[2 * number], first.points[kept], size))
            skin1.append(sample_descriptors(feature_maps[2 * number + 1], second.points[kept], size))
            owner.append(np.full(int(kept.sum()), number, np.int64))
            points1.append(second.points[kept])
        loss, right = correspondence_loss(
            torch.cat(skin0),
            torch.cat(skin1),
            np.concatenate(owner),
            np.concatenate(points1),
            self.network.log_scale.exp(),
            _NEAR,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = [p for p in self.network.parameters() if p.grad is not None]
        nn.utils.clip_grad_norm_(trained, _CLIP)
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
            spread = np.array([width / 32, height / 64]) * rng.standard_normal((s.anchors, _AROUND, 2))
            points = (anchors[:, None] + spread).reshape(-1, 2)
            warps = [Warp.draw(s.input_size, rng, strength) for strength in (0.6, 1.0)]
            views.append((self._view(row, warps[0], points, rng, 1.0), self._view(row, warps[1], points, rng, 1.0)))
        return views

    def _real_views(self, pairs: Sequence[KnownPair], rng: np.random.Generator) -> tuple[_View, _View]:
        pair = pairs[int(rng.integers(len(pairs)))]
        most = self.settings.anchors * _AROUND
        chosen = rng.choice(len(pair.points0), min(most, len(pair.points0)), replace=False)
        sides = [(pair.first, pair.points0[chosen]), (pair.second, pair.points1[chosen])]
        if rng.random() < 0.5:
            sides.reverse()
        first, second = (
            self._view(row, Warp.draw(self.settings.input_size, rng, 0.6), points, rng, 0.4) for row, points in sides
        )
        return first, second

    def _view(
        self, row: int, warp: Warp, points: npt.NDArray[np.floating], rng: np.random.Generator, strength: float
    ) -> _View:
        picture, body = render(self.photos.grey[row], self.photos.body[row], warp, rng, strength)
        moved = warp.to_view(points)
        height, width = body.shape
        column, line = np.rint(moved[:, 0]).astype(int), np.rint(moved[:, 1]).astype(int)
        inside = (column >= 2) & (line >= 2) & (column < width - 2) & (line < height - 2)
        inside[inside] &= body[line[inside], column[inside]]
        return _View(picture, moved, inside)

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


def save_trained(path: Path, network: SkinNetwork, settings: SkinTrainSettings, about: dict[str, Any]) -> None:
    """Write a trained network in half precision with what it needs to be fed."""
    header = {"input_size": list(settings.input_size), "settings": settings.to_dict(), "training": about}
    save_skin_network(path, network, header, half=True)
