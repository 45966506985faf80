"""The one command line of all measurements.

::

    python -m bench                              list them
    python -m bench NAME CATALOG [...]           measure and print the table (NAME --help says what it takes)
    python -m bench pairs --catalog DIR --pairs FILE.csv --output FILE.csv     score any list of pairs
    python -m bench tables [--check]             renew the documents' tables from bench/results
    python -m bench hostile [--minutes N]        damaged tables, photographs, stores and models: what goes wrong

``--save`` keeps a result in bench/results. A run that was stopped goes on where it was: descriptions and pairs lie in
the store.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bench import measurements, score_pairs, tables
from bench.context import Context
from bench.hostile import command as hostile
from bench.options import parser_of
from bench.results import RESULTS, Result, new_result, write_result
from scarmatch.errors import ScarmatchError

EXIT_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments name; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = (given[0], given[1:]) if given else ("", [])
    try:
        if name == "tables":
            return tables.main(rest)
        if name == "hostile":
            return hostile.main(rest)
        if name == "pairs" and any(part.split("=")[0] == "--pairs" for part in rest):
            return score_pairs.main(rest)
        if name in measurements.NAMES:
            print(_text(run(name, rest)))
            return 0
    except ScarmatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(overview(), file=sys.stderr if name not in ("", "-h", "--help") else sys.stdout)
    return 2 if name not in ("", "-h", "--help") else 0


def run(name: str, arguments: Sequence[str]) -> Result[Any]:
    """Measure by the options given, keep the result if they say so, and return it."""
    measurement = measurements.load(name)
    options = parser_of(name).parse_args(list(arguments))
    context = Context(options)
    try:
        figures = measurement.measure(context)
    finally:
        context.close()
    result = new_result(name, figures, context.settings_used(), context.protocol())
    if options.save:
        write_result(result, options.results)
        if measurement.plot is not None:
            measurement.plot(figures, options.results / f"{name}.png")
        if measurement.extra is not None and options.results == RESULTS:
            measurement.extra(result)
    return result


def overview() -> str:
    """Return all names, one line each."""
    width = max(map(len, measurements.NAMES))
    lines = [f"  {name:<{width}}  {measurements.about(name)}" for name in measurements.NAMES]
    others = {"tables": tables, "hostile": hostile}
    lines += [f"  {name:<{width}}  {(module.__doc__ or '').splitlines()[0]}" for name, module in others.items()]
    usage = "usage: python -m bench NAME [CATALOG] [...]   (NAME --help says what it takes)"
    return "\n".join([usage, "", *lines])


def _text(result: Result[Any]) -> str:
    return measurements.load(result.name).full(result)
