"""Groups of photographs by must-links and cannot-links: a union of sets that remembers why.

Nodes are photographs (their ids) and names (``("name", NAME)``), so that a name is what its photographs have in common.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

Node: TypeAlias = "str | tuple[str, str]"


class Links:
    """Must-links and cannot-links over nodes that are added as they come; nothing is ever taken away."""

    def __init__(self) -> None:
        self._root: dict[Node, Node] = {}
        self._members: dict[Node, list[Node]] = {}
        self._names: dict[Node, list[str]] = {}
        self._joined: dict[Node, list[Node]] = {}
        self._apart: dict[str, list[str]] = {}
        self._broken: set[tuple[str, str]] = set()
        self._several: set[Node] = set()

    def add(self, node: Node) -> None:
        """Add a node, if it is new, as a group of its own."""
        if node not in self._root:
            self._root[node] = node
            self._members[node] = [node]
            self._names[node] = [node[1]] if isinstance(node, tuple) else []

    def root(self, node: Node) -> Node:
        """Return the node that stands for a node's group; a node that is not known stands for itself."""
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
        for node in (first, second):
            self.add(node)
        self._joined.setdefault(first, []).append(second)
        self._joined.setdefault(second, []).append(first)
        into, gone = self.root(first), self.root(second)
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

    def keep_apart(self, first: str, second: str) -> None:
        """Say that two photographs are never one group's."""
        for node in (first, second):
            self.add(node)
        self._apart.setdefault(first, []).append(second)
        self._apart.setdefault(second, []).append(first)
        self._note_broken(first, [second])

    def _note_broken(self, image: str, others: list[str]) -> None:
        root = self.root(image)
        self._broken.update((min(image, one), max(image, one)) for one in others if self.root(one) == root)

    def members(self, image: Node) -> list[str]:
        """Return the photographs of a node's group, itself among them if it is one."""
        nodes = self._members.get(self.root(image), [image])
        return [node for node in nodes if isinstance(node, str)]

    def size(self, image: str) -> int:
        """Return the number of nodes of a photograph's group."""
        return len(self._members.get(self.root(image), [image]))

    def names(self, image: str) -> set[str]:
        """Return the names that a photograph's group reaches."""
        return set(self._names.get(self.root(image), ()))

    def linked(self, first: Node, second: Node) -> bool:
        """Return whether two nodes are of one group."""
        return self.root(first) == self.root(second)

    def apart(self, first: str, second: str) -> bool:
        """Return whether something keeps the groups of two photographs apart."""
        if self.size(first) > self.size(second):
            first, second = second, first
        return any(self.linked(other, second) for other in self.others_apart(first))

    def others_apart(self, image: str) -> set[str]:
        """Return the photographs that those of a photograph's group were said to be kept apart from."""
        return {other for member in self.members(image) for other in self._apart.get(member, ())}

    def broken(self) -> list[tuple[str, str]]:
        """Return the pairs that are kept apart and linked all the same."""
        return sorted(self._broken)

    def shared_names(self) -> list[list[str]]:
        """Return the names of every group that reaches more than one."""
        return [sorted(self._names[root]) for root in self._several]

    def way(self, first: Node, second: Node) -> list[Node]:
        """Return the shortest way from one node to another along the links; [] if there is none."""
        came_from: dict[Node, Node | None] = {first: None}
        waiting = deque([first])
        while waiting and second not in came_from:
            here = waiting.popleft()
            for node in self._joined.get(here, ()):
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
