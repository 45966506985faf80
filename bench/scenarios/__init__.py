"""The challenge's ten scenarios, one script each; ``python -m bench scenarios CATALOG`` runs them all.

``python -m bench.scenarios.scenario05 CATALOG`` runs one, with the same options.
"""
