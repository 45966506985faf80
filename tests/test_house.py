"""The rules of the house: imports run one way, without circles, at the top of the file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("scarmatch", "features", "reranker", "engine", "bench")

_BELOW_SEARCH = {"features", "engine.records", "engine.workers", "engine.catalogue", "engine.geometry"}
_SEARCH = _BELOW_SEARCH | {"engine.cluster", "engine.matching", "engine.models", "engine.retrieval", "reranker"}
_SEARCH |= {"engine.search"}
_PRODUCT = _SEARCH | {"engine.competitions", "engine.report", "engine.training", "engine.demo", "engine.commands"}
_PRODUCT |= {"engine.exports", "engine.review", "engine.review.server"}
#: What each room may import besides itself and `scarmatch` (errors, settings and the version, free for all).
MAY_IMPORT: dict[str, set[str]] = {
    "scarmatch": _PRODUCT,
    "features": set(),
    "reranker": set(),
    "engine.records": {"features"},
    "engine.workers": set(),
    "engine.cluster": {"features", "engine.workers"},
    "engine.catalogue": {"features", "engine.records", "engine.workers"},
    "engine.geometry": {"features", "engine.records"},
    "engine.matching": _BELOW_SEARCH,
    "engine.models": {"features", "engine.catalogue"},
    # Knows arrays and digests, and nothing of catalogues.
    "engine.retrieval": {"features", "engine.matching"},
    "engine.search": _SEARCH,
    "engine.competitions": _SEARCH,
    "engine.report": _SEARCH,
    "engine.review": _SEARCH | {"engine.report"},
    # The only room that knows of HTTP; the commands start it.
    "engine.review.server": _SEARCH | {"engine.exports", "engine.review", "engine.report"},
    # Today's catalogue in the forms of other programs, and their names back.
    "engine.exports": {"features", "engine.records", "engine.workers", "engine.catalogue", "engine.review"},
    "engine.training": _SEARCH | {"engine.review"},
    "engine.demo": _SEARCH | {"engine.competitions", "engine.report", "engine.review", "engine.training"},
    "engine.commands": _PRODUCT,
    "bench": _PRODUCT,
}
#: Libraries that take long to import, or that an extra brings. A module that imports one at its top may be imported
#: inside the function that needs it; every other import stands at the top of its file.
HEAVY = {
    "fastapi",
    "kornia",
    "lightgbm",
    "matplotlib",
    "openvino",
    "playwright",
    "sklearn",
    "starlette",
    "timm",
    "torch",
    "uvicorn",
}

#: Faults that still stand. A list may only become shorter: an entry that is no fault any more must go.
STILL_THE_WRONG_WAY: set[tuple[str, str]] = set()
STILL_LATE: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Import:
    """One import of a module of the project.

    Attributes:
        source, target: names of modules.
        late: it stands inside a function.
        typing: it serves the type checker alone.
    """

    source: str
    target: str
    late: bool
    typing: bool


def folder_of(package: str) -> Path:
    """The package as it is imported: beside these tests, or in site-packages where the wheel is tested."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the project, parsed."""
    found = {}
    for package in PACKAGES:
        folder = folder_of(package)
        for path in sorted(folder.rglob("*.py")):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported_names(node: ast.AST, late: bool = False, typing: bool = False) -> Iterator[tuple[str, bool, bool]]:
    """Full names that a node's code imports, with whether inside a function and whether for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, late, typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module and not child.level, "imports are absolute"
            yield from ((f"{child.module}.{alias.name}", late, typing) for alias in child.names)
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        yield from imported_names(child, late or is_function, typing or for_types)


@cache
def imports() -> list[Import]:
    """Every import of a module of the project by another."""
    found = []
    for source, tree in modules().items():
        for name, late, typing in imported_names(tree):
            if name.split(".")[0] in PACKAGES:
                target = name if name in modules() else name.rpartition(".")[0]
                assert target in modules(), f"{source} imports {name}, which is no module"
                found.append(Import(source, target, late, typing))
    return found


def room_of(module: str) -> str:
    parts = module.split(".")
    if parts[:3] == ["engine", "review", "server"]:
        return "engine.review.server"
    return ".".join(parts[:2]) if parts[0] == "engine" and len(parts) > 1 else parts[0]


@cache
def heavy_libraries(module: str) -> frozenset[str]:
    """The heavy libraries that importing a module brings along."""
    top = {name.split(".")[0] for name, late, typing in imported_names(modules()[module]) if not late and not typing}
    below = {i.target for i in imports() if i.source == module and not i.late and not i.typing and i.target != module}
    return frozenset((top & HEAVY).union(*(heavy_libraries(target) for target in below)))


def test_every_room_has_its_rule() -> None:
    assert {room_of(name) for name in modules()} - {"engine"} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports_run_one_way(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room, "scarmatch"}
    wrong = {(i.source, i.target) for i in imports() if room_of(i.source) == room and room_of(i.target) not in allowed}
    assert wrong == {fault for fault in STILL_THE_WRONG_WAY if room_of(fault[0]) == room}


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for i in imports():
        if not i.typing:
            graph.setdefault(i.source, set()).add(i.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_own_modules_are_imported_at_the_top_unless_a_heavy_library_comes_with_them() -> None:
    late = {
        (i.source, i.target)
        for i in imports()
        if i.late and heavy_libraries(i.target) <= heavy_libraries(i.source) and i.target != "scarmatch"
    }
    new, gone = sorted(late - STILL_LATE), sorted(STILL_LATE - late)
    assert not new, "move these imports to the top of the file"
    assert not gone, "these are no faults any more: shorten STILL_LATE"


def test_what_is_installed_is_what_is_tested() -> None:
    installed = Path(sysconfig.get_path("purelib"))
    home = installed if (installed / "scarmatch").is_dir() else ROOT
    packages = [package for package in PACKAGES if package != "bench"]
    assert {folder_of(package) for package in packages} == {home / package for package in packages}
    assert folder_of("bench") == ROOT / "bench"
    # So it is for the processes that tests start, from the root of this tree too.
    program = f"import {', '.join(packages)}\nfor package in {', '.join(packages)}: print(package.__path__[0])"
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {Path(line) for line in child.stdout.splitlines()} == {home / package for package in packages}


def test_ci_runs_the_readmes_test_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- test command -->\n```sh\n(.*?)\n```", text, re.DOTALL)
    assert block is not None
    assert "pytest" in block[1]
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
