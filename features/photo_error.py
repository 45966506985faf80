"""The one error of everything that can be wrong with a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scarmatch.errors import ScarmatchError

if TYPE_CHECKING:
    pass


class PhotoError(ScarmatchError, ValueError):
    """A photograph cannot be used.

    Attributes:
        path: the file (None for an array).
        reason: what is wrong and the way out, in one sentence.
    """

    def __init__(self, path: str | Path | None, reason: str) -> None:
        reason = " ".join(reason.split())  # some decoders end theirs with a new line
        super().__init__(f"{path if path is not None else 'photograph'}: {reason}")
        self.path = None if path is None else Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[PhotoError], tuple[Path | None, str]]:
        # Worker processes send their errors back pickled; the default would call __init__ with the message alone.
        return type(self), (self.path, self.reason)
