"""Within-class whitening: what changes between photographs of one animal counts less, what tells animals apart more.

A network trained on few individuals learns light, water and day along with the marks: descriptors of one individual
lie apart along a few common directions whenever the encounter changes. Their covariance within individuals, estimated
on the training photographs, is taken out linearly (within-class covariance normalisation, Hatch, Kajarekar, Stolcke
2006, known from speaker recognition for the same need). The map is folded into the embedder, so that a model file
stays a plain network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from features.global_descriptor.networks import Embedder

Matrix = npt.NDArray[np.float64]


def within_class_covariance(vectors: npt.NDArray[np.floating], individuals: Sequence[str]) -> Matrix:
    """(D, D) pooled covariance of (N, D) vectors around the mean of their individual.

    Raises:
        ValueError: no individual has two photographs.
    """
    data = np.asarray(vectors, np.float64)
    names = np.asarray(individuals)
    total, freedom = np.zeros((data.shape[1], data.shape[1])), 0
    for name in np.unique(names):
        own = data[names == name]
        if len(own) > 1:
            apart = own - own.mean(axis=0)
            total += apart.T @ apart
            freedom += len(own) - 1
    if not freedom:
        raise ValueError("within-class covariance needs an individual with at least two photographs")
    return total / freedom


def whitening_matrix(covariance: Matrix, shrinkage: float) -> Matrix:
    """(D, D) symmetric inverse square root of the covariance plus ``shrinkage`` times its mean variance.

    A larger shrinkage changes less: 0.1 to 1 served equally well on unseen individuals.
    """
    size = len(covariance)
    values, vectors = np.linalg.eigh(covariance + shrinkage * np.trace(covariance) / size * np.eye(size))
    return np.asarray((vectors / np.sqrt(values)) @ vectors.T)


@torch.no_grad()
def fold_whitening(model: Embedder, mean: npt.NDArray[np.floating], matrix: Matrix) -> None:
    """Change an embedder so that it gives ``matrix @ (v - mean)`` where it gave v; evaluation mode only from now on."""
    neck = model.neck
    mean_was, variance_was = neck.running_mean, neck.running_var
    assert mean_was is not None
    assert variance_was is not None
    scale = neck.weight.double() / torch.sqrt(variance_was.double() + neck.eps)
    offset = neck.bias.double() - mean_was.double() * scale
    turn = torch.from_numpy(np.asarray(matrix, np.float64)).to(scale.device)
    centre = torch.from_numpy(np.asarray(mean, np.float64)).to(scale.device)
    model.project.weight.copy_((turn @ (scale[:, None] * model.project.weight.double())).float())
    neck.bias.copy_((turn @ (offset - centre)).float())
    neck.weight.fill_(1.0)
    mean_was.zero_()
    variance_was.fill_(1.0 - neck.eps)
