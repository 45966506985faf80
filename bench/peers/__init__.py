"""Other people's methods on our photographs and questions: one small file each, with its source.

``python -m bench.peers CATALOG`` runs them all. A peer is a class with a name, its source and ``answer``, which scores
all of the catalogue's photographs for every question; what may be answered and what is right is said by
:mod:`bench.peers.questions` alone.
"""

from __future__ import annotations

from bench.peers.command import render

__all__ = ["render"]
