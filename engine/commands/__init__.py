"""Commands of the command line that have a module of their own; :mod:`engine.commands.main` is their front door."""
