"""What can be wrong with a store."""

from __future__ import annotations

from scarmatch.errors import ScarmatchError


class StoreError(ScarmatchError, OSError):
    """The store's folder cannot be used; the message names it and the way out."""


class LostEntryError(ScarmatchError, KeyError):
    """The store no longer holds what it held when the run began (its folder was cleared, or the disk errs)."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"the store lost its description of the photograph {self.key[:16]}… while the run used it: run the same "
            "command again, and it is described anew"
        )
