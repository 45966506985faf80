"""What can be wrong with a table of photographs or a submission, said so that it can be put right.

Readers take a :class:`Problems` ledger: a strict one raises on the first error, a collecting one keeps everything so
that ``scarmatch check`` can list it all at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scarmatch.errors import ScarmatchError

logger = logging.getLogger(__name__)

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong or remarkable.

    Attributes:
        severity: "error" (must be put right), "warning" (probably wrong), "info" (worth knowing).
        message: what is wrong, without the place.
        file: the file it is about (the table for a wrong value, the photograph for an unreadable one).
        line: line in that file, counted from 1 (the header is line 1), None where lines have no meaning.
        column: the column or field.
        value: the offending value, shortened to 80 characters.
        hint: the way out.
    """

    severity: Severity
    message: str
    file: str | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None
    hint: str | None = None

    def __post_init__(self) -> None:
        for name in ("message", "file", "column", "value", "hint"):
            text = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, escaped(text))

    @property
    def place(self) -> str:
        """Where the problem is: "metadata.csv, line 7, column 'date'" (empty if it is nowhere in particular)."""
        parts = [self.file] if self.file else []
        if self.line is not None:
            parts.append(f"line {self.line}")
        if self.column:
            parts.append(f"column '{self.column}'")
        return ", ".join(parts)

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{hint}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


def escaped(text: str) -> str:
    """Return text with everything that cannot be printed written out (``\\x1b``), so that a name steers no terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class CatalogError(ScarmatchError, ValueError):
    """A catalogue cannot be read or used; the message names file, line, column, value and the way out.

    Attributes:
        problem: the :class:`Problem` behind the message.
    """

    def __init__(self, problem: Problem | str) -> None:
        self.problem = Problem("error", problem) if isinstance(problem, str) else problem
        super().__init__(str(self.problem))


class Problems:
    """A ledger of problems.

    Args:
        strict: raise :class:`CatalogError` on the first error instead of keeping it.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.items: list[Problem] = []

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.items)

    def add(
        self,
        severity: Severity,
        message: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        column: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        """Note a problem.

        Raises:
            CatalogError: the ledger is strict and the problem is an error.
        """
        text = None if value is None else str(value)
        if text is not None and len(text) > 80:
            text = f"{text[:77]}..."
        self.take(Problem(severity, message, None if file is None else str(file), line, column, text, hint))

    def take(self, problem: Problem) -> None:
        """Note a problem that was put into words elsewhere.

        Raises:
            CatalogError: the ledger is strict and the problem is an error.
        """
        if self.strict and problem.severity == "error":
            raise CatalogError(problem)
        self.items.append(problem)

    def error(self, message: str, **where: Any) -> None:
        """Note an error (see :meth:`add`)."""
        self.add("error", message, **where)

    def warning(self, message: str, **where: Any) -> None:
        """Note a warning (see :meth:`add`)."""
        self.add("warning", message, **where)

    def info(self, message: str, **where: Any) -> None:
        """Note something worth knowing (see :meth:`add`)."""
        self.add("info", message, **where)

    def log(self, limit: int = 5) -> None:
        """Send the warnings and what is worth knowing to the log, at most ``limit`` of each in full.

        Errors are not sent: whoever keeps them in a ledger shows them.
        """
        for severity, level in (("warning", logging.WARNING), ("info", logging.INFO)):
            chosen = [problem for problem in self.items if problem.severity == severity]
            for problem in chosen[:limit]:
                logger.log(level, "%s", problem)
            if len(chosen) > limit:
                logger.log(level, "... and %d more; `scarmatch check` lists them all", len(chosen) - limit)
