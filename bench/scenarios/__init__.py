"""One script per scenario of the challenge; ``python -m bench.scenarios CATALOG`` runs them all.

A full run asks up to 50 candidates for each query: on two cores about 1.2 seconds a query where the store knows
nothing, 0.01 where it knows the pairs. ``--queries`` bounds it, databases stay whole. A run that was stopped goes on
where it was, since descriptions and pairs lie in the store.
"""

from __future__ import annotations

from bench.scenarios.running import render

__all__ = ["render"]
