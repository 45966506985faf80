"""Other people's methods on our photographs and questions: one small file each, with its source.

A peer is a class with a name, its source and ``answer``, which scores all of the catalogue's photographs for every
question; what may be answered and what is right is said by :mod:`bench.peers.questions` alone. ``python -m bench peers
CATALOG`` runs them all.
"""
