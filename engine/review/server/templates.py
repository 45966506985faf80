"""How pages are made: the templates of this room and the report's parts, styles and scripts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import engine.report
from engine.report.drawing import ramp
from engine.report.page import chance, json_block

HERE = Path(__file__).parent
REPORT = Path(engine.report.__file__).parent

#: What is served under /static: name -> files that follow each other, and their kind.
STATIC: dict[str, tuple[tuple[Path, ...], str]] = {
    "style.css": ((REPORT / "style.css", HERE / "review.css"), "text/css"),
    "script.js": (
        (REPORT / "comparison.js", HERE / "common.js", HERE / "exports.js", HERE / "review.js"),
        "text/javascript",
    ),
}


@cache
def static(name: str) -> tuple[bytes, str]:
    """Return a file of /static and its kind (KeyError if there is none of that name)."""
    files, kind = STATIC[name]
    return "\n".join(file.read_text(encoding="utf-8") for file in files).encode(), kind


@cache
def environment() -> Environment:
    """Return what fills in templates."""
    made = Environment(
        loader=FileSystemLoader([HERE, REPORT]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a page is asked for many times, and its template never changes while it serves
    )
    made.filters["json_block"] = json_block
    made.filters["chance"] = chance
    made.globals["ramp"] = ["#" + bytes(colour).hex() for colour in ramp(np.linspace(0, 1, 16)).tolist()]
    return made


def render(template: str, /, **values: Any) -> str:
    """Return a template of this room, filled in."""
    return environment().get_template(template).render(page={"inline": False}, **values)
