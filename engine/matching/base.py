"""The contract of a matcher: pairs of described photographs in, tentative matches out.

How to add a matcher:

1. Write ``engine/matching/NAME.py``: a frozen :class:`scarmatch.settings.Settings` with its options, and a class that
   fulfils :class:`PairMatcher`. :func:`best_first` makes the record of a pair's matches.
2. Add NAME to :data:`engine.matching.measurements.MATCHERS`. The measurements that all matchers share follow by
   themselves as ``NAME_inliers``, ``NAME_residual``, ...; what only this matcher can say goes into ``_OWN`` there.
3. Add its settings to :class:`engine.matching.pair_worker.PairSettings` and make it in
   :class:`engine.matching.pair_worker.PairWorker`.
4. Add it to the list at the top of ``tests/contract/test_matcher_contract.py``, which holds it to what is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.records import Correspondences
from features.records import LocalFeatures

FeaturePair = tuple[LocalFeatures, LocalFeatures]


class PairMatcher(Protocol):
    """Anything that finds tentative matches of pairs of photographs."""

    def match(self, pairs: Sequence[FeaturePair]) -> list[Correspondences]:
        """Return the matches of every pair (view 0, view 1), best first, in the order given.

        A pair's matches depend on that pair alone, to the bit, whatever else is matched in the same call. A pair where
        either view has no keypoints has no matches.

        Raises:
            ValueError: the features are of a kind that this matcher cannot compare.
        """
        ...

    def fingerprint(self) -> str:
        """Return a string that changes whenever the matches could: settings, weights and code version."""
        ...


def best_first(
    indices: npt.NDArray[np.integer], confidence: npt.NDArray[np.floating], similarity: float
) -> Correspondences:
    """Make the record of a pair's matches: most confident first, ties by the keypoint of view 0.

    Args:
        indices: (M, 2) indices into the keypoints of view 0 and view 1.
        confidence: (M,) in [0, 1].
        similarity: of the pair as the matcher defines it, NaN without matches.
    """
    order = np.lexsort((indices[:, 0], -confidence)) if len(indices) else np.zeros(0, int)
    return Correspondences(
        np.ascontiguousarray(indices[order], np.int32).reshape(-1, 2),
        np.ascontiguousarray(confidence[order], np.float32),
        similarity,
    )
