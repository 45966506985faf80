"""A made-up review with thousands of decisions, its server in a process of its own, and a client that walks through it.

::

    python -m bench.review_load FOLDER      serve what :func:`fill` wrote, and print the address
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

from bench.child_process import environment
from engine.catalogue.catalog import Catalog
from engine.report.image_files import encode_jpeg
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision
from engine.review.server.serve import ServerPlan, serve
from engine.review.session import Review

_PHOTOGRAPHS, _INDIVIDUALS, _ANSWER = 2000, 300, 50


def fill(folder: Path, questions: int, decisions: int, seed: int) -> list[str]:
    """Write a catalogue of one picture under many names, questions with answers, and decisions; return the questions.

    Half of the decisions answer questions, the others speak of photographs of the catalogue among themselves.
    """
    rng = np.random.default_rng(seed)
    (folder / "one.jpg").write_bytes(encode_jpeg(rng.integers(0, 255, (120, 40, 3)).astype(np.uint8), 80))
    table = _table(folder, questions)
    table.to_pickle(folder / "table.pickle")
    known = table["image_id"][table["individual_id"].notna()].to_numpy()
    asked = table["image_id"][table["individual_id"].isna()].tolist()
    with ReviewFile(folder / "review.sqlite") as file:
        for query in asked:
            images = rng.choice(known, _ANSWER, replace=False)
            chances = np.sort(rng.beta(0.3, 2.0, _ANSWER))[::-1]
            ranked = [[str(image), float(p), 0.5, 20, 10] for image, p in zip(images, chances, strict=True)]
            file.add_answer(query, "bench", {"photographs": ranked})
        rows = []
        for number in range(decisions):
            first = str(rng.choice(asked if number % 2 else known))
            second = str(rng.choice(known))
            if first != second:
                rows.append(Decision("different", f"reviewer {number % 3}", (first, second)))
        file.append(rows)
    return asked


def _table(folder: Path, questions: int) -> pd.DataFrame:
    count = _PHOTOGRAPHS + questions
    names = [f"whale{number % _INDIVIDUALS:03d}" if number < _PHOTOGRAPHS else None for number in range(count)]
    days = pd.Timestamp(2020, 1, 1) + pd.to_timedelta(np.arange(count) % 700, unit="D")
    return pd.DataFrame(
        {
            "image_id": [_photograph(number) for number in range(count)],
            "path": str(folder / "one.jpg"),
            "individual_id": names,
            "viewpoint": "top",
            "date": days,
        }
    )


def _photograph(number: int) -> str:
    return f"photo{number:05d}"


def start_server(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Serve what :func:`fill` wrote in a process of its own; return it and its address."""
    command = [sys.executable, "-m", "bench.review_load", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("review: "):
            return process, line.removeprefix("review: ").strip()
    raise RuntimeError("the server of the made-up review did not start")


async def one_client(
    address: str, number: int, rounds: int, questions: list[str]
) -> tuple[list[float], list[float], list[str]]:
    """Open a page and decide, again and again; return the milliseconds of both, and the keys of the decisions."""
    rng = np.random.default_rng(number)
    pages: list[float] = []
    decisions: list[float] = []
    keys = []
    base = address.split("/enter")[0]
    async with httpx.AsyncClient(base_url=base, timeout=120.0, follow_redirects=True) as client:
        (await client.get(address)).raise_for_status()
        token = (await client.get("/api/session")).json()
        headers = {token["header"]: token["token"]}
        await client.post("/api/session", json={"who": f"client {number}"}, headers=headers)
        for turn in range(rounds):
            query = str(rng.choice(questions))
            path = "/" if turn % 5 == 0 else "/question"
            started = time.perf_counter()
            page = await client.get(path, params={"image": query})
            pages.append(1000 * (time.perf_counter() - started))
            page.raise_for_status()
            found = (await client.get("/api/question", params={"image": query})).json()
            if not found["candidates"]:
                continue
            key = f"{number}-{turn}"
            image = found["candidates"][0]["photographs"][0]["image"]
            decision = {"kind": "different", "images": [query, image], "key": key}
            started = time.perf_counter()
            answer = await client.post(
                "/api/decisions", json={"decisions": [decision], "question": query}, headers=headers
            )
            decisions.append(1000 * (time.perf_counter() - started))
            answer.raise_for_status()
            keys.append(key)
    return pages, decisions, keys


async def decide_until_killed(
    process: subprocess.Popen[str], address: str, clients: int, questions: list[str], prefix: str, seconds: float
) -> dict[str, tuple[str, str]]:
    """Decide from many clients at once until the server is killed (SIGKILL) under their hands.

    Args:
        process: the server. address: its own. clients: that decide at once, without a pause.
        questions: what they decide about. prefix: of the decisions' keys.
        seconds: from the first decision that it acknowledged until the kill.

    Returns:
        What it acknowledged: a decision's key -> its photographs.
    """
    known: dict[str, tuple[str, str]] = {}
    first = asyncio.Event()
    async with httpx.AsyncClient(base_url=address.split("/enter")[0], timeout=60.0, follow_redirects=True) as client:
        (await client.get(address)).raise_for_status()
        token = (await client.get("/api/session")).json()
        headers = {token["header"]: token["token"]}

        async def decide(number: int) -> None:
            rng, turn = np.random.default_rng(number), 0
            while True:
                key, pair = f"{prefix}-{number}-{turn}", (str(rng.choice(questions)), _photograph(turn))
                decision = {"kind": "different", "images": pair, "key": key}
                try:
                    answer = await client.post("/api/decisions", json={"decisions": [decision]}, headers=headers)
                except httpx.TransportError:  # killed before it answered
                    return
                answer.raise_for_status()
                known[key], turn = pair, turn + 1
                first.set()

        async def kill() -> None:
            await first.wait()
            await asyncio.sleep(seconds)
            process.kill()

        await asyncio.gather(kill(), *(decide(number) for number in range(clients)))
    process.wait()
    return known


async def invitations(address: str, count: int) -> list[str]:
    """Return addresses that open a session each, asked for by the one that the server's own address opens."""
    async with httpx.AsyncClient(follow_redirects=True, timeout=60.0) as client:
        (await client.get(address)).raise_for_status()
        base = address.split("/enter")[0]
        token = (await client.get(f"{base}/api/session")).json()
        headers = {token["header"]: token["token"]}
        made = [await client.post(f"{base}/api/invitations", json={}, headers=headers) for _ in range(count)]
        return [str(one.json()["address"]) for one in made]


def main(folder: Path) -> None:
    """Serve what :func:`fill` wrote until it is ended."""
    catalog = Catalog(pd.read_pickle(folder / "table.pickle"), folder)
    with ReviewFile(folder / "review.sqlite") as file:
        serve(Review(catalog, file), None, ServerPlan(), lambda line: print(line, flush=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
