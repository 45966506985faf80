"""Fixtures that the measurements' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.out_of_fold import OutOfFold
from engine.search.matcher import Matcher


@pytest.fixture(scope="module")
def judges(small_settings, shared_store: Path) -> OutOfFold:
    """The engine with the WildFusion baseline in the place of out-of-fold rankers."""
    return OutOfFold(Matcher(small_settings, shared_store, "fusion", 1), ("fusion",))
