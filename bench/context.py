"""What every measurement is given: whom it measures on, the engine, rankers that saw none of them, and the protocol."""

from __future__ import annotations

import argparse
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.held_out import BOTH_HALVES, HALVES, SOURCES, measured_part, settings_for
from bench.out_of_fold import OUT_OF_FOLD, SHIPPED, OutOfFold, fit_out_of_fold
from bench.progress import Progress, Say, say
from bench.protocols import BOTH, Protocol, Rule, select
from bench.questions import any_photograph, gather, tasks_of
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher, MatcherSettings
from features.store import default_store
from reranker.protocols import protocol_tables
from scarmatch.errors import ScarmatchError

#: Options that say where things lie, and how many hands work: no part of the protocol.
_ASIDE = {
    "catalog",
    "store",
    "workers",
    "save",
    "results",
    "overrides",
    "pictures",
    "work",
    "before",
    "answers",
    "save_ranker",
    "save_evidence",
}


class Context:
    """The options of one run and what is made of them, each once and only if it is asked for.

    Args:
        options: of the command line; :mod:`bench.options` says which.
        say: called with each line for the user.
    """

    def __init__(self, options: argparse.Namespace, say: Say = say) -> None:
        self.options = options
        self.say = say
        #: Further settings that the figures depend on, kept with them.
        self.more_settings: dict[str, Any] = {}

    @property
    def seed(self) -> int:
        """Of every choice made at random."""
        return int(self.options.seed)

    @property
    def queries(self) -> int:
        """Number of questions."""
        return int(self.options.queries)

    @cached_property
    def settings(self) -> MatcherSettings:
        """The engine's settings; networks that saw the measured individuals are replaced by their twins."""
        return settings_for(self.options.individuals, self.options.overrides)

    @cached_property
    def whole_catalog(self) -> Catalog:
        """The catalogue as it is."""
        return Catalog.read(self.options.catalog)

    @cached_property
    def catalog(self) -> Catalog:
        """The photographs of the individuals measured on.

        Raises:
            ScarmatchError: they are both halves, each of which is a catalogue of its own (:attr:`halves`).
        """
        if self.options.individuals == BOTH_HALVES:
            raise ScarmatchError(f"this asks one half at a time: --individuals {' or '.join(HALVES)}")
        return measured_part(self.whole_catalog, self.options.individuals)

    @cached_property
    def halves(self) -> tuple[Context, ...]:
        """What is measured together: this alone, or each half by the parts that the other taught."""
        if self.options.individuals != BOTH_HALVES:
            return (self,)
        halves = []
        for half in HALVES:
            one = Context(argparse.Namespace(**{**vars(self.options), "individuals": half}), self.say)
            one.whole_catalog = self.whole_catalog
            halves.append(one)
        return tuple(halves)

    @cached_property
    def store(self) -> Path:
        """The store's folder: the one named, or the catalogue's own."""
        return self.options.store if self.options.store is not None else default_store(self.whole_catalog.root)

    @cached_property
    def matcher(self) -> Matcher:
        """Gathers the evidence."""
        return Matcher(self.settings, self.store, ranker="fusion", workers=self.options.workers)

    @cached_property
    def index(self) -> CatalogIndex:
        """The described photographs of the individuals measured on."""
        self.say(f"describing {len(self.catalog):,} photographs")
        return self.matcher.index(self.catalog, self.progress("photographs"))

    @cached_property
    def top(self) -> CatalogIndex:
        """Those of them that were taken from above."""
        return self.index.subset(list(select(self.index.catalog)))

    @property
    def photographs(self) -> int:
        """Number of photographs measured on."""
        return sum(len(half.index) for half in self.halves)

    @property
    def individuals(self) -> int:
        """Number of individuals measured on."""
        return sum(half.index.catalog.table["individual_id"].nunique() for half in self.halves)

    def tasks(self, queries: int) -> list[Protocol]:
        """Return the tasks of the photographs measured on (:func:`bench.questions.tasks_of`)."""
        return tasks_of(self.index.catalog, queries, self.seed)

    def labelled_pairs(self, queries: int) -> pd.DataFrame:
        """Return the labelled pairs of all tasks (:mod:`bench.questions`), of both halves where both are asked."""
        parts = [gather(half.tasks(queries), half.index, half.matcher, self.say) for half in self.halves]
        raw = pd.concat(parts, ignore_index=True)
        self.say(f"{len(raw):,} pairs")
        return raw

    def pairs_of_any_photograph(self, count: int) -> dict[Rule, pd.DataFrame]:
        """Return by rule the labelled pairs of so many photographs drawn at random, of each half where both are asked.

        They are for judging: what is fitted learns from the individuals in turn.
        """
        tasks = [(half, any_photograph(half.index.catalog, count, self.seed)) for half in self.halves]
        parts = [gather([task], half.index, half.matcher, self.say) for half, task in tasks if task is not None]
        if not parts:
            return {}
        tables = protocol_tables(pd.concat(parts, ignore_index=True))
        return {rule: tables[rule] for rule in BOTH if rule in tables}

    @cached_property
    def rankers(self) -> OutOfFold:
        """The rankers that ``--ranker`` asks for."""
        choice = self.options.ranker
        if choice != OUT_OF_FOLD:
            # Named, because the weights in use may be the twins of those that it was trained for.
            return OutOfFold(self.matcher, (self.matcher.model.path("ranker") if choice == SHIPPED else choice,))
        raw = self.labelled_pairs(self.options.training_queries)
        self.say(f"fitting {self.options.folds} rankers")
        return fit_out_of_fold(raw, self.matcher, self.options.folds, self.seed)

    def progress(self, title: str) -> Progress:
        """Return what tells how much of a long piece of work is done."""
        return Progress(title, self.say)

    def close(self) -> None:
        """End the worker processes."""
        if "matcher" in self.__dict__:
            self.matcher.close()
        for half in self.__dict__.get("halves", ()):
            if half is not self:
                half.close()

    def settings_used(self) -> dict[str, Any]:
        """Return the settings that the figures depend on."""
        engine = self.settings.to_dict() if "catalog" in self.options else {}
        return {**engine, **self.more_settings}

    def protocol(self) -> dict[str, Any]:
        """Return how it was measured: the source of the photographs and every option that matters."""
        about: dict[str, Any] = {}
        if "catalog" in self.options:
            name = self.options.catalog.resolve().name
            source = SOURCES.get(self.options.individuals, f"labelled photographs of {name!r}")
            about = {"source": source, "catalogue": name}
        fitted = getattr(self.options, "ranker", OUT_OF_FOLD) == OUT_OF_FOLD
        aside = _ASIDE if fitted else _ASIDE | {"folds", "training_queries"}
        return about | {name: value for name, value in vars(self.options).items() if name not in aside}
