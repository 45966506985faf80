"""Measurements through the public API: ``python -m bench NAME CATALOG``, results as JSON, tables made of them."""
