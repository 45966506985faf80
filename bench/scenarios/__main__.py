"""All ten scenarios: ``python -m bench.scenarios CATALOG [--only N ...] [--queries N] [--result scenarios]``."""

import sys

from bench.scenarios.command import main

if __name__ == "__main__":
    sys.exit(main())
