"""The public import: every documented name is there, typed as it is loaded, and costs nothing before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scarmatch


@pytest.mark.parametrize("name", scarmatch.__all__)
def test_every_name_is_there_and_at_home_where_it_is_loaded_from(name: str) -> None:
    value = getattr(scarmatch, name)
    assert value.__name__ == name
    assert name in dir(scarmatch)


def test_type_checkers_see_what_is_loaded() -> None:
    tree = ast.parse(Path(scarmatch.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == scarmatch._HOME


def test_the_package_runs_as_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "scarmatch", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"scarmatch {scarmatch.__version__}\n"


def test_what_is_not_there_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'scarmatch' has no attribute 'Matcha'"):
        scarmatch.Matcha  # noqa: B018


def test_importing_loads_nothing_and_every_error_of_ours_has_one_base() -> None:
    code = "import sys, scarmatch; print([m for m in ('numpy', 'pandas', 'engine', 'features') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    for name in scarmatch.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(scarmatch, name), scarmatch.ScarmatchError)
