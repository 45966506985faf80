"""Hostile inputs, made from valid ones by seeded mutations: tables, photographs, stores and models.

Each kind is a module with ``run(count, seed, folder) -> Outcome``: it makes ``count`` inputs in ``folder``, gives
each to the product, and counts what came of it.
"""
