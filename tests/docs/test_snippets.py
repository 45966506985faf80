"""The snippets of the documents run as they are written, on a tiny made-up catalogue.

All Python of a document is one script, run by an interpreter of its own; so is every block of shell commands that is
marked ``<!-- run -->``. Python that is not to run says so: ``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from .conftest import DOCUMENTS, ROOT, blocks

WITH_PYTHON = [path for path in DOCUMENTS if any(block.language == "python" for block in blocks(path))]
WITH_SHELL = [
    path for path in DOCUMENTS if any(block.mark == "run" and block.language == "sh" for block in blocks(path))
]
SECONDS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documents assume it: ``catalogue/`` with a photograph 0412, two new ones, scarmatch itself."""
    from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog

    folder = tmp_path_factory.mktemp("snippets")
    settings = SyntheticSettings(individuals=4, photographs=12, years=(2017, 2018), length=260, lateral_share=0, seed=5)
    catalogue = make_catalog(folder / "catalogue", settings)
    table = pd.read_csv(catalogue / "metadata.csv")
    for number, (_, row) in enumerate(table.tail(2).iterrows(), start=1):
        (catalogue / row["path"]).rename(folder / f"new{number}.jpg")
    table.loc[0, "image_id"] = "0412"
    table.iloc[:-2].to_csv(catalogue / "metadata.csv", index=False)
    (folder / "bin").mkdir()
    command = folder / "bin" / "scarmatch"
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    module, function = config["options.entry_points"]["console_scripts"].split("=")[1].strip().split(":")
    program = f"import sys; from {module} import {function} as run; sys.exit(run())"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{program}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return folder


def run(command: list[str], folder: Path) -> None:
    spec = find_spec("scarmatch")
    assert spec is not None and spec.origin is not None
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(spec.origin).parents[1]),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_PYTHON, ids=lambda path: path.name)
def test_python_runs(document: Path, folder: Path) -> None:
    scripts = [b.text for b in blocks(document) if b.language == "python" and not b.mark.startswith("not run")]
    assert scripts, "nothing of it is run"
    script = folder / f"{document.stem.replace('-', '_')}.py"
    script.write_text("\n".join(scripts), encoding="utf-8")
    run([sys.executable, str(script)], folder)


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_SHELL, ids=lambda path: path.name)
def test_shell_runs(document: Path, folder: Path) -> None:
    for block in blocks(document):
        if block.language == "sh" and block.mark == "run":
            run(["bash", "-euo", "pipefail", "-c", block.text], folder)


def test_documents_hold_something_to_run() -> None:
    names = {path.name for path in (*WITH_PYTHON, *WITH_SHELL)}
    assert {"README.md", "quickstart.md", "tutorial.md"} <= names
