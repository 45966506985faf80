"""Fixtures that the measurements' tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.command import run
from bench.context import Context
from bench.options import parser_of
from bench.results import Result

#: Engine settings that are quick: few keypoints on small pictures, a short list, the ImageNet descriptor.
QUICK = {
    "describe.descriptor.model": "efficientnet_lite0",
    "describe.descriptor.mirror": "false",
    "describe.keypoints.max_keypoints": "128",
    "describe.keypoints.long_side": "384",
    "shortlist.size": "6",
}


@pytest.fixture(scope="session")
def arguments(made_up_dir: Path, shared_store: Path) -> list[str]:
    """The options by which every measurement runs on the made-up catalogue."""
    settings = [f"--set={name}={value}" for name, value in QUICK.items()]
    return [str(made_up_dir), "--individuals=all", "--workers=1", f"--store={shared_store}", *settings]


@pytest.fixture(scope="session")
def measured(arguments: list[str]) -> Callable[..., Result[Any]]:
    """Runs a measurement by its name and further options."""
    return lambda name, *more: run(name, [*arguments, *more])


@pytest.fixture(scope="session")
def context_of(arguments: list[str]) -> Callable[..., Context]:
    """Makes the context of a measurement by its name and further options."""

    def make(name: str, *more: str) -> Context:
        return Context(parser_of(name).parse_args([*arguments, *more]), lambda line: None)

    return make
