"""What a measurement is: one file of :mod:`bench.measurements` that names its figures, how they are made and shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from bench.figures import Figures
from bench.results import Result

if TYPE_CHECKING:
    from bench.context import Context

F = TypeVar("F", bound=Figures)


@dataclass(frozen=True)
class Measurement(Generic[F]):
    """One measurement.

    Attributes:
        title: heading of its table.
        figures: class of what it finds.
        measure: makes the figures.
        full: the whole of a result as Markdown, for bench/RESULTS.md and the terminal.
        short: what the documents show between their marks; None if they show nothing.
        plot: draws a picture of the figures into a file; None for none.
        add_options: adds the options that are its own.
        queries: default of ``--queries``; None where the measurement has no such number.
        ranker: whether it takes ``--ranker``, ``--training-queries`` and ``--folds``.
        folds: whether it takes ``--folds``.
        individuals: whom it measures by default.
        catalog: whether it needs a catalogue.
        extra: what else a result of it renews, such as rates that the product reckons with.
    """

    title: str
    figures: type[F]
    measure: Callable[[Context], F]
    full: Callable[[Result[F]], str]
    short: Callable[[Result[F]], str] | None = None
    plot: Callable[[F, Path], None] | None = None
    add_options: Callable[[argparse.ArgumentParser], None] | None = None
    queries: int | None = None
    ranker: bool = False
    folds: bool = False
    individuals: str = "held-out"
    catalog: bool = True
    extra: Callable[[Result[F]], None] | None = None
