"""The examples run as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog

from .conftest import ROOT

EXAMPLES = ROOT / "examples"
SECONDS = 300


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store and a working folder of its own, and the package that these tests import."""
    spec = find_spec("scarmatch")
    assert spec is not None and spec.origin is not None
    monkeypatch.setenv("PYTHONPATH", str(Path(spec.origin).parents[1]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def notebooks() -> list[Path]:
    return sorted(EXAMPLES.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.name)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not [output for output in shown if output.output_type == "error"]


def test_notebooks_are_kept_without_outputs() -> None:
    assert notebooks()
    for path in notebooks():
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs") and cell.get("execution_count") is None, path.name


@pytest.mark.slow
def test_script_runs(tmp_path: Path) -> None:
    settings = SyntheticSettings(individuals=3, photographs=7, years=(2017, 2018), length=220, lateral_share=0, seed=6)
    catalogue = make_catalog(tmp_path / "catalogue", settings)
    (tmp_path / "new").mkdir()
    photographs = sorted((catalogue / "images").iterdir())
    (tmp_path / "new" / f"new{photographs[0].suffix}").write_bytes(photographs[0].read_bytes())
    output = tmp_path / "individuals.csv"
    command = [sys.executable, str(EXAMPLES / "match_folder.py"), str(tmp_path / "new"), str(catalogue), str(output)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = output.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("query_id,rank,individual_id,probability") and len(lines) > 1
