"""The median against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from engine.geometry import medians


@pytest.mark.parametrize("n", [1, 2, 5, 8, 101])
def test_median(n: int) -> None:
    values = np.random.default_rng(n).integers(0, 20, n).astype(np.float32)
    assert medians.median(values.copy()) == pytest.approx(np.median(values))
