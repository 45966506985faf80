"""Models: one folder holds all that is particular to a species, and is named by one option."""
