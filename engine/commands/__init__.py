"""Commands of the command line that have a module of their own; :mod:`engine.cli` is their front door."""
