"""All peers: ``python -m bench.peers CATALOG [--only NAME ...] [--queries 80] [--result peers]``."""

import sys

from bench.peers.command import main

if __name__ == "__main__":
    sys.exit(main())
