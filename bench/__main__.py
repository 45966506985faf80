"""All measurements: ``python -m bench`` lists them."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main())
