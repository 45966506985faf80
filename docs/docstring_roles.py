"""How docstrings become Markdown for the site.

They name other things as ``:class:`Name```, introduce examples with ``::``, and describe alike arguments together
(``viewpoint, date: the same for all``); the site's reader of docstrings knows none of these.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`~?([^`]+)`")
_TOGETHER = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*)$")


class DocstringRoles(griffe.Extension):
    """Rewrites the docstring of every module, class, function and attribute."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = plain_markdown(obj.docstring.value)


def plain_markdown(text: str) -> str:
    """Return a docstring with roles as code, ``::`` as a colon, and one entry for each argument."""
    return re.sub(r"::$", ":", _ROLE.sub(r"`\1`", _one_entry_each(text)), flags=re.MULTILINE)


def _one_entry_each(text: str) -> str:
    lines, done = text.split("\n"), []
    while lines:
        line = lines.pop(0)
        together = _TOGETHER.match(line)
        if together is None:
            done.append(line)
            continue
        indent, names, said = together.groups()
        more = []
        while lines and lines[0].startswith(indent + " "):
            more.append(lines.pop(0))
        for name in names.split(", "):
            done += [f"{indent}{name}{said}", *more]
    return "\n".join(done)
