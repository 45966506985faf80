"""Groups of photographs by must-links and cannot-links: sets that remember what joined them, and can come apart again.

Nodes are photographs (their ids) and names (``("name", NAME)``), so that a name is what its photographs have in common.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

Node: TypeAlias = "str | tuple[str, str]"
Edge: TypeAlias = tuple[Node, Node]


class Links:
    """Must-links and cannot-links over nodes that are added as they come.

    Adding costs next to nothing; what is taken away costs as much as the group that it was part of is large. What is
    answered depends on the links alone, not on the order in which they came and went.
    """

    def __init__(self) -> None:
        self._root: dict[Node, Node] = {}
        self._members: dict[Node, list[Node]] = {}
        self._names: dict[Node, list[str]] = {}
        self._joined: dict[Node, dict[Node, int]] = {}  # node -> other node -> how many links join the two
        self._apart: dict[str, set[str]] = {}
        self._broken: set[tuple[str, str]] = set()
        self._several: set[Node] = set()

    def add(self, node: Node) -> None:
        """Add a node, if it is new, as a group of its own."""
        if node not in self._root:
            self._alone(node)

    def _alone(self, node: Node) -> None:
        self._root[node] = node
        self._members[node] = [node]
        self._names[node] = [node[1]] if isinstance(node, tuple) else []

    def _root_of(self, node: Node) -> Node:
        if node not in self._root:
            return node
        root = node
        while self._root[root] != root:
            root = self._root[root]
        while self._root[node] != root:
            self._root[node], node = root, self._root[node]
        return root

    def join(self, first: Node, second: Node) -> None:
        """Link two nodes, and so their groups."""
        for node, other in ((first, second), (second, first)):
            self.add(node)
            others = self._joined.setdefault(node, {})
            others[other] = others.get(other, 0) + 1
        self._unite(first, second)

    def _unite(self, first: Node, second: Node) -> None:
        into, gone = self._root_of(first), self._root_of(second)
        if into == gone:
            return
        if len(self._members[into]) < len(self._members[gone]):
            into, gone = gone, into
        self._root[gone] = into
        moved = self._members.pop(gone)
        self._members[into] += moved
        self._names[into] += self._names.pop(gone)
        self._several.discard(gone)
        if len(self._names[into]) > 1:
            self._several.add(into)
        for node in moved:
            if isinstance(node, str) and node in self._apart:
                self._note_broken(node, self._apart[node])

    def cut(self, links: Iterable[Edge]) -> None:
        """Take links away, each once, and divide the groups that they held together."""
        roots: dict[Node, None] = {}
        for first, second in links:
            for node, other in ((first, second), (second, first)):
                others = self._joined[node]
                others[other] -= 1
                if not others[other]:
                    del others[other]
            roots[self._root_of(first)] = None
        nodes = [node for root in roots for node in self._members.pop(root)]
        for root in roots:
            del self._names[root]
            self._several.discard(root)
        images = {node for node in nodes if isinstance(node, str)}
        self._broken = {pair for pair in self._broken if pair[0] not in images}
        for node in nodes:
            self._alone(node)
        for node in nodes:
            for other in self._joined.get(node, ()):
                self._unite(node, other)

    def keep_apart(self, first: str, second: str) -> None:
        """Say that two photographs are never one group's."""
        for node, other in ((first, second), (second, first)):
            self.add(node)
            self._apart.setdefault(node, set()).add(other)
        self._note_broken(first, [second])

    def let_together(self, first: str, second: str) -> None:
        """Take back that two photographs are never one group's."""
        self._apart[first].discard(second)
        self._apart[second].discard(first)
        self._broken.discard((min(first, second), max(first, second)))

    def _note_broken(self, image: str, others: Iterable[str]) -> None:
        root = self._root_of(image)
        self._broken.update((min(image, one), max(image, one)) for one in others if self._root_of(one) == root)

    def members(self, node: Node) -> list[str]:
        """Return the photographs of a node's group, itself among them if it is one."""
        nodes = self._members.get(self._root_of(node), [node])
        return [each for each in nodes if isinstance(each, str)]

    def around(self, nodes: Iterable[Node]) -> set[str]:
        """Return the photographs of the groups of some nodes."""
        roots = {self._root_of(node) for node in nodes}
        return {each for root in roots for each in self._members.get(root, [root]) if isinstance(each, str)}

    def group(self, image: str) -> str:
        """Return what stands for a photograph's group: the first of its photographs by id."""
        return min(self.members(image))

    def size(self, image: str) -> int:
        """Return the number of nodes of a photograph's group."""
        return len(self._members.get(self._root_of(image), [image]))

    def names(self, image: str) -> set[str]:
        """Return the names that a photograph's group reaches."""
        return set(self._names.get(self._root_of(image), ()))

    def linked(self, first: Node, second: Node) -> bool:
        """Return whether two nodes are of one group."""
        return self._root_of(first) == self._root_of(second)

    def apart(self, first: str, second: str) -> bool:
        """Return whether something keeps the groups of two photographs apart."""
        if self.size(first) > self.size(second):
            first, second = second, first
        return any(self.linked(other, second) for other in self.others_apart(first))

    def others_apart(self, image: str) -> set[str]:
        """Return the photographs that those of a photograph's group were said to be kept apart from."""
        return {other for member in self.members(image) for other in self._apart.get(member, ())}

    def own_apart(self, image: str) -> set[str]:
        """Return the photographs that one itself was said to be kept apart from."""
        return self._apart.get(image, set())

    def broken(self) -> list[tuple[str, str]]:
        """Return the pairs that are kept apart and linked all the same."""
        return sorted(self._broken)

    def shared_names(self) -> list[list[str]]:
        """Return the names of every group that reaches more than one."""
        return sorted(sorted(self._names[root]) for root in self._several)

    def way(self, first: Node, second: Node) -> list[Node]:
        """Return the shortest way from one node to another along the links, the first by ids; [] if there is none."""
        came_from: dict[Node, Node | None] = {first: None}
        waiting = deque([first])
        while waiting and second not in came_from:
            here = waiting.popleft()
            for node in sorted(self._joined.get(here, ()), key=_in_order):
                if node not in came_from:
                    came_from[node] = here
                    waiting.append(node)
        if second not in came_from:
            return []
        way: list[Node] = []
        step: Node | None = second
        while step is not None:
            way.append(step)
            step = came_from[step]
        return way[::-1]


def _in_order(node: Node) -> tuple[bool, str]:
    return (True, node[1]) if isinstance(node, tuple) else (False, node)
