"""The measurements, one file each: a class of figures, ``measure(context)`` and the tables that show them.

To add one, write ``NAME.py`` with a constant ``MEASUREMENT`` and put the name where its table should stand below.
"""

from __future__ import annotations

import importlib
from typing import Any

from bench.measurement import Measurement

#: In the order of bench/RESULTS.md.
NAMES = (
    "accuracy",
    "effort",
    "scenarios",
    "beyond",
    "crossvalidated",
    "peers",
    "robustness",
    "reliability",
    "individuals",
    "new_individual",
    "errors",
    "ablation",
    "descriptor",
    "pairs",
    "stages",
    "end_to_end",
    "pictures",
    "matcher",
    "first_stage",
    "verification",
    "kernels",
    "scale",
    "cold_start",
    "gpu",
    "choice",
    "species",
    "any_angle",
    "parts",
    "heads",
    "generality",
    "review",
    "review_server",
)


def load(name: str) -> Measurement[Any]:
    """Return a measurement by its name."""
    found: Measurement[Any] = importlib.import_module(f"bench.measurements.{name}").MEASUREMENT
    return found


def about(name: str) -> str:
    """Return the first paragraph of a measurement's description, on one line."""
    text = importlib.import_module(f"bench.measurements.{name}").__doc__ or ""
    return " ".join(text.split("\n\n", 1)[0].split())
