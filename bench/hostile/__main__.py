"""``python -m bench.hostile``: hostile inputs, see :mod:`bench.hostile.command`."""

import sys

from bench.hostile.command import main

if __name__ == "__main__":
    sys.exit(main())
