"""Fixtures that several tests share."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

# Two test processes with one thread each are steadier than four threads on two cores; set before any library loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings as hypothesis_settings

if TYPE_CHECKING:
    from engine.search.matcher import MatcherSettings

# What is tested is what is installed. bench is no part of the wheel and comes from this tree, which stands last on the
# path and is not the first place that a Python started by a test looks at.
ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [*(place for place in sys.path if Path(place or ".").resolve() != ROOT), str(ROOT)]
if (Path(sysconfig.get_path("purelib")) / "scarmatch").is_dir():
    os.environ["PYTHONSAFEPATH"] = "1"

# The same examples in every run: a test that fails once fails again.
hypothesis_settings.register_profile("seeded", derandomize=True, deadline=None)
hypothesis_settings.load_profile("seeded")


@pytest.fixture(scope="session")
def real_catalog_dir() -> Path:
    """The folder of the real photographs: $SCARMATCH_DATA, or ``shared/data/cook_inlet`` beside the repository."""
    named = os.environ.get("SCARMATCH_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data" / "cook_inlet"
    if not (folder / "metadata.csv").is_file():
        pytest.skip(f"the real photographs are not there: {folder} has no metadata.csv (set SCARMATCH_DATA)")
    return folder


@pytest.fixture(scope="session")
def made_up_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up catalogue of 6 whales and 26 photographs over two years (never written to by a test)."""
    from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog

    settings = SyntheticSettings(individuals=6, photographs=26, years=(2017, 2018), seed=3)
    return make_catalog(tmp_path_factory.mktemp("made-up"), settings)


@pytest.fixture(scope="session")
def small_settings() -> MatcherSettings:
    """Engine settings that are quick: few keypoints on small pictures, a short list, the ImageNet descriptor."""
    from engine.search.matcher import MatcherSettings

    settings = MatcherSettings()
    for name, value in {
        "describe.descriptor.model": "efficientnet_lite0",
        "describe.descriptor.mirror": "false",
        "describe.keypoints.max_keypoints": "128",
        "describe.keypoints.long_side": "384",
        "shortlist.size": "6",
        # Every matcher sees every pair.
        "shortlist.rescore": "99",
    }.items():
        settings = settings.with_option(name, value)
    return settings


@pytest.fixture(scope="session")
def quick_options() -> list[str]:
    """The same settings as options of the command line, one process, and the fusion that needs no trained ranker."""
    return [
        "--workers=1",
        "--ranker=fusion",
        "--set=describe.descriptor.model=efficientnet_lite0",
        "--shortlist=6",
        "--set=describe.descriptor.mirror=false",
        "--set=describe.keypoints.max_keypoints=128",
        "--set=describe.keypoints.long_side=384",
    ]


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests that only need descriptions, so that each is computed once."""
    return tmp_path_factory.mktemp("store")
