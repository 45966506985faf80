"""Margin losses on cosines: ArcFace, sub-centre ArcFace with margins by class size, ArcMargin, elastic margins.

All are one head: cosines between embeddings and class centres, an angular margin added for the true class, a scale and
cross-entropy (Deng et al. 2019; sub-centres: Deng et al. 2020; margins by class size: Ha et al. 2020; elastic margins:
Boutros et al. 2022).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.training.settings import LOSSES
from scarmatch.settings import SettingsError


def margins_by_class_size(counts: Tensor, scale: float = 0.5, power: float = -0.125, floor: float = 0.05) -> Tensor:
    """Angular margin in radians of every class: ``scale * n ** power + floor``; a rare class gets a wider margin."""
    return scale * counts.float().clamp(min=1).pow(power) + floor


def add_angular_margin(cosine: Tensor, margin: Tensor, easy: bool = False) -> Tensor:
    """cos(theta + margin) for cosines in [-1, 1]; beyond pi - margin a line keeps it falling.

    With ``easy`` (ArcMargin's easy margin) the margin is added only where the cosine is positive.
    """
    cosine = cosine.clamp(-1.0 + 1e-7, 1.0 - 1e-7)
    shifted = cosine * torch.cos(margin) - (1.0 - cosine * cosine).sqrt() * torch.sin(margin)
    if easy:
        return torch.where(cosine > 0, shifted, cosine)
    return torch.where(cosine > torch.cos(math.pi - margin), shifted, cosine - margin * torch.sin(margin))


class MarginHead(nn.Module):
    """Class centres and the margin loss on them.

    ``forward(embeddings (N, D), labels (N,))`` gives the mean loss (scalar) and the plain cosines (N, classes). With
    ``company`` (N, classes), True for classes that compete, a ``share`` of the loss is taken among them only.

    Args:
        kind: one of ``LOSSES``. "subcenter_arcface" takes margins by class size, the others one fixed margin;
            "arcmargin" uses the easy margin; "elastic_arcface" draws each sample's margin from a normal distribution.
        counts: (classes,) photographs of every class in the training part.
        subcentres: centres per class; the nearest one speaks for the class.
    """

    def __init__(
        self,
        kind: str,
        dim: int,
        counts: Tensor,
        subcentres: int = 2,
        scale: float = 30.0,
        margin: float = 0.3,
        elastic_deviation: float = 0.05,
    ) -> None:
        super().__init__()
        if kind not in LOSSES:
            raise SettingsError(f"no loss {kind!r}; known losses: {', '.join(LOSSES)}")
        self.kind, self.scale = kind, scale
        self.elastic_deviation = elastic_deviation
        self.subcentres = subcentres if kind == "subcenter_arcface" else 1
        self.centres = nn.Parameter(torch.empty(len(counts) * self.subcentres, dim))
        nn.init.xavier_uniform_(self.centres)
        by_size = kind == "subcenter_arcface"
        margins = margins_by_class_size(counts) if by_size else torch.full((len(counts),), float(margin))
        self.register_buffer("margins", margins)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(N, classes) cosine to the nearest sub-centre of every class."""
        every = functional.linear(functional.normalize(embeddings), functional.normalize(self.centres))
        return every.view(len(embeddings), -1, self.subcentres).amax(dim=2)

    def forward(
        self, embeddings: Tensor, labels: Tensor, company: Tensor | None = None, share: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        cosine = self.cosines(embeddings.float())
        rows = torch.arange(len(labels), device=labels.device)
        margin = self.margins[labels]  # type: ignore[index]
        if self.kind == "elastic_arcface":
            margin = (margin + self.elastic_deviation * torch.randn_like(margin)).clamp(min=0.0)
        true = add_angular_margin(cosine[rows, labels], margin, easy=self.kind == "arcmargin")
        logits = cosine.clone()
        logits[rows, labels] = true
        logits = self.scale * logits
        loss = functional.cross_entropy(logits, labels)
        if company is not None and share > 0:
            near = functional.cross_entropy(logits.masked_fill(~company, float("-inf")), labels)
            loss = (1.0 - share) * loss + share * near
        return loss, cosine.detach()
