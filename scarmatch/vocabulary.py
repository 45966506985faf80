"""Names that packages which do not import each other share."""

from __future__ import annotations

#: Kinds of geometric model between two photographs, by rising freedom; "none" if the verification found none. Their
#: order is their code in the pair cache and in trained rankers.
MODEL_KINDS = ("none", "similarity", "affine", "homography")
