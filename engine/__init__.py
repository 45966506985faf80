"""Pairs of photographs and catalogues: one room a trade (README and docs say which)."""
