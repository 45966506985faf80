"""What came of a run of hostile inputs, in numbers that are alike for every kind of input."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_COUNTS = ("inputs", "accepted", "refused", "silent", "tracebacks", "crashes", "hangs")


@dataclass
class Outcome:
    """Counts of a run; every input is counted once, as accepted, refused or one of the faults.

    Attributes:
        inputs: inputs tried.
        accepted: used, and what was read is right, or a warning said what is not.
        refused: refused with a :class:`scarmatch.errors.ScarmatchError`, which is one clear line to the user.
        silent: used with a result that differs from the right one, and nothing was said.
        tracebacks: any other exception.
        crashes: the process ended by a signal, or without an answer.
        hangs: no answer within the time allowed.
        peak_bytes: largest resident memory of the process (or of its workers) over the run, 0 where not measured.
        faults: one line for each silent change, traceback, crash and hang: what was done to the input and what came of
            it, so that it can be made again.
    """

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    silent: int = 0
    tracebacks: int = 0
    crashes: int = 0
    hangs: int = 0
    peak_bytes: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing went wrong: every input was used rightly or refused with a clear line."""
        return not (self.silent or self.tracebacks or self.crashes or self.hangs)

    def __add__(self, other: Outcome) -> Outcome:
        """Return the counts of both runs together (the larger peak, not the sum)."""
        return Outcome(
            inputs=self.inputs + other.inputs,
            accepted=self.accepted + other.accepted,
            refused=self.refused + other.refused,
            silent=self.silent + other.silent,
            tracebacks=self.tracebacks + other.tracebacks,
            crashes=self.crashes + other.crashes,
            hangs=self.hangs + other.hangs,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
            faults=self.faults + other.faults,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def render(found: dict[str, Outcome]) -> str:
    """Return the counts as a Markdown table."""
    lines = [f"| kind | {' | '.join(_COUNTS)} | peak memory |", f"|---|{'---:|' * (len(_COUNTS) + 1)}"]
    for kind, outcome in found.items():
        counts = " | ".join(f"{getattr(outcome, name):,}" for name in _COUNTS)
        lines.append(f"| {kind} | {counts} | {outcome.peak_bytes / 1e6:,.0f} MB |")
    return "\n".join(lines)
