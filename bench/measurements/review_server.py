"""Does the server of a review keep its word? Many clients at once, and a process that is killed again and again.

Clients at once, each in a session of its own, walk through the queue of a review that has thousands of decisions in its
table: a page, a decision, the next page, without a pause to think. The server runs in a process of its own, with
questions and answers that are made up, so that nothing is measured but the server. Then it is killed (SIGKILL) at
random moments while the clients decide, started again on the same file, and killed again; every decision that it had
acknowledged to a client must be in the file, as it was made.

Figures: milliseconds until a page and until a decision is answered (median and 95 of 100), decisions acknowledged and
found again, and kills with the decisions that were acknowledged and lost.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from bench.review_load import decide_until_killed, fill, invitations, one_client, start_server
from engine.review.decision_table import ReviewFile

#: Seconds from the first decision that a server acknowledged until it is killed, at most.
_LONGEST = 0.5


@dataclass(frozen=True)
class ReviewServerFigures(Figures):
    """Everything this measurement finds; times in milliseconds."""

    clients: int
    decisions_before: int
    questions: int
    pages: int
    page_median: float
    page_95: float
    decisions: int
    decision_median: float
    decision_95: float
    lost: int
    kills: int
    acknowledged: int
    lost_in_kills: int


def measure(context: Context) -> ReviewServerFigures:
    """Ask the server from many clients at once, then kill writers."""
    options = context.options
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        questions = fill(folder, options.questions, options.decisions, context.seed)
        context.say(f"{options.clients} clients, {options.decisions:,} decisions in the table")
        process, address = start_server(folder)
        try:
            pages, decisions, acknowledged = asyncio.run(_load(address, options.clients, options.rounds, questions))
        finally:
            process.terminate()
            process.wait()
        with ReviewFile(folder / "review.sqlite") as file:
            rows = {one.key for one in file.decisions()}
        context.say(f"killing the server {options.kills} times")
        known, lost = _kills(folder, options.kills, options.clients, questions, context.seed)
    return ReviewServerFigures(
        clients=options.clients,
        decisions_before=options.decisions,
        questions=options.questions,
        pages=len(pages),
        page_median=float(np.median(pages)),
        page_95=float(np.percentile(pages, 95)),
        decisions=len(acknowledged),
        decision_median=float(np.median(decisions)),
        decision_95=float(np.percentile(decisions, 95)),
        lost=len(set(acknowledged) - rows),
        kills=options.kills,
        acknowledged=known,
        lost_in_kills=lost,
    )


async def _load(
    address: str, clients: int, rounds: int, questions: list[str]
) -> tuple[list[float], list[float], list[str]]:
    addresses = await invitations(address, clients)
    work = [one_client(own, number, rounds, questions) for number, own in enumerate(addresses)]
    found = await asyncio.gather(*work)
    pages, decisions, keys = ([value for part in found for value in part[place]] for place in range(3))
    return pages, decisions, keys  # type: ignore[return-value]


def _kills(folder: Path, kills: int, clients: int, questions: list[str], seed: int) -> tuple[int, int]:
    """Kill the server at random moments; return how many decisions it acknowledged, and how many of them are lost."""
    rng = np.random.default_rng(seed)
    known: dict[str, tuple[str, str]] = {}
    for turn in range(kills):
        process, address = start_server(folder)
        seconds = float(rng.uniform(0.0, _LONGEST))
        known |= asyncio.run(decide_until_killed(process, address, clients, questions, f"kill {turn}", seconds))
    with ReviewFile(folder / "review.sqlite") as file:
        there = {one.key: one.images for one in file.decisions()}
    return len(known), sum(there.get(key) != images for key, images in known.items())


def full(result: Result[ReviewServerFigures]) -> str:
    """Return the figures as Markdown."""
    f = result.figures
    rows = [
        ["pages", f"{f.pages:,}", f"{f.page_median:.0f} ms", f"{f.page_95:.0f} ms", ""],
        ["decisions", f"{f.decisions:,}", f"{f.decision_median:.0f} ms", f"{f.decision_95:.0f} ms", str(f.lost)],
        [f"{f.kills} kills", f"{f.acknowledged:,}", "", "", str(f.lost_in_kills)],
    ]
    table = markdown.table(["", "answered", "median", "95 of 100", "lost"], rows)
    footing = (
        f"{f.clients} clients at once, without a pause to think, on a review of {f.questions:,} questions with "
        f"{f.decisions_before:,} decisions in its table. Kills (SIGKILL): of the server, at random moments, while they "
        "decide."
    )
    return f"{table}\n\n{footing}"


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=int, default=20, help="clients at once (20)")
    parser.add_argument("--decisions", type=int, default=10_000, help="decisions in the table beforehand (10,000)")
    parser.add_argument("--questions", type=int, default=500, help="questions in the queue (500)")
    parser.add_argument("--rounds", type=int, default=10, help="pages, and decisions, of each client (10)")
    parser.add_argument("--kills", type=int, default=50, help="times that the server is killed (50)")


MEASUREMENT = Measurement(
    title="The server of a review",
    figures=ReviewServerFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=_options,
    catalog=False,
)
