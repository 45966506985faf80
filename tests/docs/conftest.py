"""The documents as tests see them: their texts, their code, and the program that makes the generated pages."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Every document that people wrote; the generated pages follow from the program.
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (run|not run: [^>]*) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A block of code in a document.

    Attributes:
        language: "sh", "python", "text", or "".
        text: its lines.
        mark: the comment in front of it: "run", "not run: REASON" or "".
    """

    language: str
    text: str
    mark: str


@cache
def blocks(document: Path) -> tuple[Block, ...]:
    """Return the blocks of code of a document."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _COMMENT.search(text[: match.start()])
        body = "\n".join(line.removeprefix(match[1]) for line in match[3].splitlines())
        found.append(Block(match[2], body + "\n", mark[1] if mark else ""))
    return tuple(found)


def prose(document: Path) -> str:
    """Return a document without its blocks of code."""
    return _FENCE.sub("", document.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def pages() -> ModuleType:
    """The module that makes the generated pages."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
