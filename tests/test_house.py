"""The rules of the house: imports run one way, and the README's commands are those that exist."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "features": {"features", "scarmatch"},
    "reranker": {"reranker", "scarmatch"},
    "engine": {"engine", "features", "reranker", "scarmatch"},
    "bench": {"bench", "engine", "features", "reranker", "scarmatch"},
}
#: The modules of `engine` that may join the ranker (pair_table makes the table that it reads).
JOINS_RANKER = {"matcher.py", "pair_table.py", "ranker_training.py", "info.py", "blending.py"}
#: Scoring a competition's answers joins no ranker.
METRICS = "reranker.metrics"


def folder_of(package: str) -> Path:
    """The package as it is imported: beside these tests, or in site-packages where the wheel is tested."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level and node.module != METRICS:
            found.add(node.module.split(".")[0])
    return found & set(MAY_IMPORT)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_run_one_way(package: str) -> None:
    files = [*folder_of(package).rglob("*.py")]
    assert files
    for path in files:
        allowed = set(MAY_IMPORT[package])
        if package == "engine" and path.name not in JOINS_RANKER:
            allowed.discard("reranker")
        assert imports_of(path) <= allowed, path


def test_readme_names_commands_that_exist() -> None:
    from engine.commands.main import build_parser

    commands = set(next(action for action in build_parser()._actions if action.dest == "command").choices)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^scarmatch ([a-z-]+)", text, re.MULTILINE)) | set(
        re.findall(r"`scarmatch ([a-z-]+)", text)
    )
    assert named
    assert named <= commands


def test_ci_runs_the_readmes_test_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- test command -->\n```sh\n(.*?)\n```", text, re.DOTALL)
    assert block is not None
    assert "pytest" in block[1]
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
