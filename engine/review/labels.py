"""What decisions teach beyond names: pairs that are the same animal or are not, although nobody has named it yet.

"Same" (must-link) and "different" (cannot-link) speak of photographs, and carry on over their groups
(:mod:`engine.review.replay`). A photograph without a name that such a decision speaks of is given a name of its group,
so that the pairs within the group are matches. Between such a group and everybody else nothing is known, unless it was
said that the two are different: those pairs teach nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.review.replay import ReviewState
from features.records import BoolArray


@dataclass(frozen=True)
class DecidedLabels:
    """The labels that a state of decisions gives to pairs of a catalogue's photographs.

    Attributes:
        state: the replay of all decisions.
        groups: photograph without a name -> what its group is called.
    """

    state: ReviewState
    groups: dict[str, str]

    @classmethod
    def of(cls, state: ReviewState) -> DecidedLabels:
        """Find the groups of photographs without a name that decisions, or an encounter, speak of."""
        taken, groups = set(state.individuals()), dict[str, str]()
        for image in state.base:
            # A group that reaches two names is a contradiction: it teaches nothing until a person resolves it.
            if state.links.names(image):
                continue
            first = state.links.group(image)
            if len(state.group(image)) > 1 or state.links.others_apart(image):
                name = f"no name yet, like {first}"
                while name in taken:
                    name += " "
                groups[image] = name
        return cls(state, groups)

    @property
    def asked(self) -> tuple[str, ...]:
        """Photographs without a name that were said to be another animal than somebody: worth asking for that alone."""
        return tuple(image for image in self.groups if self.state.links.others_apart(image))

    def named(self, catalog: Catalog) -> Catalog:
        """Return a catalogue in which the groups stand under their names."""
        names = [self.groups.get(i, name) for i, name in zip(catalog.ids, catalog.table["individual_id"], strict=True)]
        table = catalog.table.assign(individual_id=pd.Series(names, dtype=object))
        return Catalog(table, catalog.root, catalog.source)

    def unknown(self, pairs: pd.DataFrame) -> BoolArray:
        """Return (rows,) True where nobody knows whether a pair shows one animal, or decisions contradict each other.

        Args:
            pairs: columns query_id and candidate_id.
        """
        images = pairs[["query_id", "candidate_id"]].astype(str)
        doubtful = {image for one in self.state.contradictions() for image in self.state.links.around(one.images)}
        grouped = images.isin(set(self.groups) | doubtful).any(axis=1).to_numpy()
        unknown = np.zeros(len(pairs), bool)
        for row in np.flatnonzero(grouped):
            first, second = images.iloc[row]
            verdict, names = self.state.verdict(first, second), [self._called(one) for one in (first, second)]
            alike = names[0] is not None and names[0] == names[1]
            unknown[row] = not ((verdict == "same" and alike) or (verdict == "different" and not alike)) and not (
                # Nothing was said of the two, and both have names: the names speak.
                verdict == "" and not any(one in self.groups for one in (first, second))
            )
        return unknown

    def counts(self) -> tuple[int, int]:
        """Return how many pairs were said to be the same animal, and how many to be different ones."""
        kinds = [self.state.votes.verdict(pair) for pair in self.state.votes.last_words]
        return kinds.count("same"), kinds.count("different")

    def _called(self, image: str) -> str | None:
        return self.groups.get(image) or self.state.name(image)
