"""Fit the metric of keypoints: of all keypoints of the other photograph, the same piece of skin must be nearest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from features.records import FloatArray
from scarmatch.settings import Settings, SettingsError

#: Cosines are multiplied by this before they compete; it is learned on from there.
_TEMPERATURE = 20.0
#: Pull of the matrix towards zero.
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class KeypointTrainSettings(Settings):
    """Everything that decides the metric, beside the photographs.

    Attributes:
        epochs: passes over the pairs, in each round.
        batch: pairs per step.
        rate: highest learning rate.
        rounds: pairs are looked for so many times, with the metric of the round before.
        tolerance: two keypoints are one place if they lie so near once one animal is laid on the other, as a share of
            the animal's size.
        fewest: pairs with fewer such keypoints teach nothing.
        held_out: "half" (the half of :func:`features.training.data.split_half` is left out) or "none".
        views: photographs from the "top" (and of unknown views), or of "all" views.
        same_encounter, other_encounter: candidates for pairs of photographs, per photograph.
        impostors: pairs of two animals that say how much agreement chance brings.
        false_rate: share of impostors that may agree as well as an accepted pair.
        seed: of everything.
    """

    epochs: int = 4
    batch: int = 4
    rate: float = 1e-3
    rounds: int = 4
    tolerance: float = 0.006
    fewest: int = 8
    held_out: str = "half"
    views: str = "top"
    same_encounter: int = 4
    other_encounter: int = 8
    impostors: int = 2000
    false_rate: float = 0.003
    seed: int = 0

    def __post_init__(self) -> None:
        if self.held_out not in ("half", "none"):
            raise SettingsError(f"held_out must be half or none, not {self.held_out!r}")
        if self.views not in ("top", "all"):
            raise SettingsError(f"views must be top or all, not {self.views!r}")
        if min(self.epochs, self.batch, self.rounds, self.impostors) < 1 or self.fewest < 1:
            raise SettingsError("epochs, batch, rounds, impostors and fewest must be at least 1")
        if not 0 < self.false_rate < 1 or self.tolerance <= 0 or self.rate <= 0:
            raise SettingsError("false_rate must lie between 0 and 1; tolerance and rate above 0")


@dataclass(frozen=True, eq=False)
class SamePlaces:
    """Keypoints of two photographs of one individual that lie on the same skin.

    Attributes:
        descriptors0, descriptors1: (N, D) and (M, D), all keypoints of the two.
        indices: (K, 2) int, which of them are one place; no index occurs twice in a column.
    """

    descriptors0: npt.NDArray[np.floating]
    descriptors1: npt.NDArray[np.floating]
    indices: npt.NDArray[np.integer]


def dual_softmax_loss(pair: SamePlaces, matrix: torch.Tensor, log_temperature: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood of the same places, among all keypoints of either photograph.

    The matching loss of LoFTR (Sun et al., CVPR 2021), each direction by itself.
    """
    first, second = (
        F.normalize(torch.from_numpy(np.array(d, np.float32)) @ matrix, dim=1)
        for d in (pair.descriptors0, pair.descriptors1)
    )
    similarity = first @ second.T * log_temperature.exp()
    rows, columns = torch.from_numpy(pair.indices.astype(np.int64)).unbind(1)
    log_probability = F.log_softmax(similarity, 1)[rows, columns] + F.log_softmax(similarity, 0)[rows, columns]
    return -log_probability.mean() / 2


def fit_metric(
    pairs: Sequence[SamePlaces],
    settings: KeypointTrainSettings,
    progress: Callable[[dict[str, Any]], None] | None = None,
    stage: str = "fitting",
) -> tuple[FloatArray, list[float]]:
    """Fit the matrix, starting from none at all (the descriptors as they are).

    Args:
        pairs: what is known.
        settings: epochs, batch, rate and so on.
        progress: called with records (stage, done, total, loss).
        stage: name in those records.

    Returns:
        (D, D) float32 matrix to multiply descriptors with from the right, and the mean loss of every epoch.

    Raises:
        SettingsError: there are no pairs.
    """
    if not pairs:
        raise SettingsError("no two photographs of one individual agree: there is nothing to learn from")
    rng = np.random.default_rng([settings.seed, 3])
    matrix = torch.eye(pairs[0].descriptors0.shape[1]).requires_grad_()
    log_temperature = torch.tensor(math.log(_TEMPERATURE)).requires_grad_()
    optimizer = torch.optim.AdamW([matrix, log_temperature], lr=settings.rate, weight_decay=_WEIGHT_DECAY)
    size = min(settings.batch, len(pairs))
    steps = settings.epochs * (len(pairs) // size)
    losses: list[float] = []
    step = 0
    for _ in range(settings.epochs):
        order = rng.permutation(len(pairs))
        total = 0.0
        for start in range(0, len(order) - size + 1, size):
            step += 1
            # Warm-up, then half a cosine.
            share = min(1.0, step / 100) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * share
            some = [dual_softmax_loss(pairs[i], matrix, log_temperature) for i in order[start : start + size]]
            loss = torch.stack(some).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
            if progress is not None and step % 20 == 0:
                progress({"stage": stage, "done": step, "total": steps, "loss": float(loss.detach())})
        losses.append(total / max(1, len(order) // size))
    return matrix.detach().numpy().copy(), losses
