"""Names as the catalogue and people give them, before links between photographs count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.review.decisions import Decision


class GivenNames:
    """What names photographs were given by a catalogue, and by decisions that say so.

    Args:
        catalogue: photograph -> name, None if it is unnamed; in the catalogue's order.
        decisions: taken in, in order; see :meth:`take`.

    Attributes:
        base: photograph -> name.
        named_by: photograph -> row of the decision that named it.
        loose: photographs that a split or move took out of their encounter.
        retired: rows of links that a split or move cut through.
        changed: photograph -> name before, of those that were named since somebody last cleared this.
    """

    def __init__(self, catalogue: Mapping[str, str | None], decisions: Iterable[Decision] = ()) -> None:
        self.base: dict[str, str | None] = dict(catalogue)
        self.named_by: dict[str, int] = {}
        self.loose: set[str] = set()
        self.retired: set[int] = set()
        self.changed: dict[str, str | None] = {}
        self._linked: dict[str, list[Decision]] = {}
        self._bearers: dict[str, dict[str, None]] = {}
        for image, name in self.base.items():
            if name is not None:
                self._bearers.setdefault(name, {})[image] = None
        for decision in decisions:
            self.take(decision)

    def take(self, decision: Decision) -> None:
        """Take in one more decision; of those that give no name, "same" alone counts, because it can be cut."""
        if decision.kind == "same":
            for image in decision.images:
                self._linked.setdefault(image, []).append(decision)
        elif decision.kind in ("merge", "rename"):
            for image in list(self._bearers.get(decision.individual, ())):
                self._name(image, decision)
        elif decision.kind in ("new_individual", "split", "move"):
            for image in decision.images:
                self._name(image, decision)
            if decision.kind != "new_individual":
                self._take_out(decision)

    def _name(self, image: str, decision: Decision) -> None:
        before = self.base.get(image)
        self.changed.setdefault(image, before)
        if before is not None:
            self._bearers[before].pop(image, None)
        self.base[image] = decision.name
        self._bearers.setdefault(decision.name, {})[image] = None
        self.named_by[image] = decision.number

    def _take_out(self, decision: Decision) -> None:
        """Free what was split off or moved from its encounter, and from links whose other side stays elsewhere."""
        moved = set(decision.images)
        self.loose |= moved
        for image in decision.images:
            for link in self._linked.get(image, ()):
                outside = [other for other in link.images if other not in moved]
                if outside and self.base.get(outside[0]) != decision.name:
                    self.retired.add(link.number)

    def differences(self, other: GivenNames) -> dict[str, str | None]:
        """Return photograph -> the other's name, of those that are named otherwise there."""
        return {
            image: other.base.get(image)
            for image in {**self.named_by, **other.named_by}
            if self.base.get(image) != other.base.get(image)
        }
