"""The loss of the dense skin descriptors: the same point of an animal is alike in two views, every other is not.

The symmetric cross-entropy of each point among all points of its batch (InfoNCE; van den Oord, Li and Vinyals 2018);
the other animals' points at the same part of the body are the hard ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional


def sample_descriptors(feature_map: Tensor, points: npt.NDArray[np.floating], size: tuple[int, int]) -> Tensor:
    """Read a (D, h, w) map at (K, 2) pixels of an input of (width, height): (K, D), L2-normalised."""
    scaled = (torch.from_numpy(np.asarray(points, np.float32)) + 0.5) / torch.tensor(size, dtype=torch.float32) * 2 - 1
    grid = scaled.to(feature_map.device)[None, :, None]
    read = functional.grid_sample(feature_map[None], grid, align_corners=False)
    return functional.normalize(read[0, :, :, 0].T, dim=1)


def correspondence_loss(
    skin0: Tensor,
    skin1: Tensor,
    owner: npt.NDArray[np.int64],
    points1: npt.NDArray[np.floating],
    scale: Tensor,
    near: float,
) -> tuple[Tensor, float]:
    """Return the symmetric cross-entropy of corresponding points, and the share of points whose nearest is right.

    Args:
        skin0, skin1: (K, D) unit descriptors of the corresponding points of the two views.
        owner: (K,) number of each point's animal.
        points1: (K, 2) pixels in the second views.
        scale: factor on the cosines.
        near: points of one view closer than this do not compete.
    """
    cosine = skin0 @ skin1.T * scale
    distance = np.linalg.norm(points1[:, None] - points1[None], axis=2)
    too_near = (owner[:, None] == owner[None]) & (distance < near)
    np.fill_diagonal(too_near, False)
    cosine = cosine.masked_fill(torch.from_numpy(too_near).to(cosine.device), -1e9)
    target = torch.arange(len(cosine), device=cosine.device)
    loss = (functional.cross_entropy(cosine, target) + functional.cross_entropy(cosine.T, target)) / 2
    return loss, float((cosine.argmax(dim=1) == target).float().mean())
