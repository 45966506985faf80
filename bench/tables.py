"""Renew the tables of the documents from bench/results: no figure is typed by hand.

::

    python -m bench tables            write the tables
    python -m bench tables --check    say whether the documents are up to date (exit code 1 if not)

bench/RESULTS.md is written whole: every result in full, with when and on what it was measured. README.md, the pages of
docs/ and the cards of models show the short ones between ``<!-- NAME -->`` and ``<!-- /NAME -->``, wherever these marks
stand; a short table that stands nowhere is an error. A result that is not there leaves its place empty. One that cannot
be shown, because its file is damaged or of another version, is named on standard error and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import measurements
from bench.measurement import Measurement
from bench.measurements.accuracy import headline, ranker_card
from bench.options import parser_of
from bench.results import RESULTS, Result, read_result
from scarmatch.errors import ScarmatchError

REPOSITORY = Path(__file__).resolve().parents[1]
FULL = Path(__file__).resolve().parent / "RESULTS.md"
#: Between these marks stands the table of the ranker's card.
CARD = "ranker figures"
#: And between these the README's.
HEADLINE = "headline"


@dataclass(frozen=True)
class Shown:
    """A result that is there, with its measurement."""

    name: str
    measurement: Measurement[Any]
    result: Result[Any]


def documents(repository: Path = REPOSITORY) -> list[Path]:
    """Return the files in which marks may stand."""
    return [
        repository / "README.md",
        *sorted((repository / "docs").rglob("*.md")),
        *sorted((repository / "reranker" / "models").glob("*.md")),
    ]


class Tables:
    """The results that are there, and the texts made of them.

    Args:
        results: folder of the results.

    Attributes:
        problems: results that are there and cannot be shown, with the reason.
    """

    def __init__(self, results: Path = RESULTS) -> None:
        self._results = results
        self.problems: list[str] = []
        self._shown: list[Shown] = []
        for name in measurements.NAMES:
            path = results / f"{name}.json"
            if path.is_file():
                measurement = measurements.load(name)
                try:
                    self._shown.append(Shown(name, measurement, read_result(path, measurement.figures)))
                except ScarmatchError as error:
                    self.problems.append(f"{error}; `python -m bench {name}` measures it again")

    def blocks(self, folder: str = "bench/results") -> dict[str, str]:
        """Return what stands between each mark; ``folder``: of the plots, as seen from the document."""
        texts = {CARD: "", HEADLINE: ""}
        for name in measurements.NAMES:
            if measurements.load(name).short is not None:
                texts[name] = ""
        for shown in self._shown:
            if shown.measurement.short is not None:
                head = f"**{shown.measurement.title}**, by {command(shown)}:"
                texts[shown.name] = "\n\n".join(
                    [head, *self._plot(shown, folder), shown.measurement.short(shown.result)]
                )
            if shown.name == "accuracy":
                texts |= {CARD: ranker_card(shown.result), HEADLINE: headline(shown.result, command(shown))}
        return texts

    def fill(self, text: str, folder: str = "bench/results") -> str:
        """Return a document's text with every block renewed that has marks in it."""
        for name, block in self.blocks(folder).items():
            place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
            filled = f"{block}\n" if block else ""
            text = place.sub(filled.replace("\\", r"\\"), text)
        return text

    def page(self) -> str:
        """Return the whole of RESULTS.md."""
        lines = [
            "# Results",
            "",
            "Written by `python -m bench tables` from the files in [results/](results/), which hold every figure with "
            "machine, versions, settings and protocol. `python -m bench NAME --help` says what each measures.",
            "",
            *(f"* [{shown.measurement.title}](#{_anchor(shown.measurement.title)})" for shown in self._shown),
        ]
        for shown in self._shown:
            lines += ["", f"## {shown.measurement.title}", "", _about(shown)]
            for part in (*self._plot(shown, "results"), shown.measurement.full(shown.result)):
                lines += ["", part]
        return "\n".join(lines) + "\n"

    def _plot(self, shown: Shown, folder: str) -> list[str]:
        there = shown.measurement.plot is not None and (self._results / f"{shown.name}.png").is_file()
        return [f"![{shown.measurement.title}]({folder}/{shown.name}.png)"] if there else []


def command(shown: Shown) -> str:
    """Return the command that makes a result again, with the options that were not left as they are."""
    words = ["python", "-m", "bench", shown.name, *(["CATALOG"] if shown.measurement.catalog else [])]
    parser = parser_of(shown.name)
    for key, value in shown.result.protocol.items():
        action = next((a for a in parser._actions if a.dest == key), None)
        if action is None or value == action.default or value is None:
            continue
        option = action.option_strings[-1]
        if action.nargs == 0:  # a flag: it is there or not, and takes no value
            words.append(option)
            continue
        for one in value if isinstance(value, list) and action.nargs is None else [value]:
            words += [option, *map(str, one if isinstance(one, list) else [one])]
    return f"`{shlex.join([*words, '--save'])}`"


def _about(shown: Shown) -> str:
    result = shown.result
    plain = {key: value for key, value in result.protocol.items() if isinstance(value, str | int | float)}
    words = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in plain.items())
    where = f"{result.created[:10]}, {result.cpu}; [file](results/{shown.name}.json)"
    return f"{command(shown)} ({where}). Protocol: {words}."


def _anchor(title: str) -> str:
    """Return the name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def marks_in(text: str) -> set[str]:
    """Return the names whose marks stand in a text."""
    return set(re.findall(r"<!-- ([\w ]+) -->\n(?:.*?)<!-- /\1 -->", text, re.DOTALL))


def main(arguments: Sequence[str] | None = None) -> int:
    """Renew or check the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench tables", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table is out of date")
    options = parser.parse_args(arguments)
    found = Tables()
    old = {path: path.read_text(encoding="utf-8") for path in documents()}
    homeless = sorted(found.blocks().keys() - {name for text in old.values() for name in marks_in(text)})
    problems = [*found.problems, *(f"no document has <!-- {name} --> and <!-- /{name} -->" for name in homeless)]
    new = {path: found.fill(text, _folder_from(path)) for path, text in old.items()}
    old[FULL] = FULL.read_text(encoding="utf-8") if FULL.is_file() else ""
    new[FULL] = found.page()
    stale = [path for path in new if old[path] != new[path]]
    if options.check:
        problems += [
            f"{path.relative_to(REPOSITORY)} is out of date: `python -m bench tables` renews it" for path in stale
        ]
    else:
        for path in stale:
            path.write_text(new[path], encoding="utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def _folder_from(document: Path) -> str:
    """Return the folder of the plots as a document sees it."""
    up = "../" * (len(document.relative_to(REPOSITORY).parts) - 1)
    return f"{up}bench/results"
