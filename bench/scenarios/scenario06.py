"""Photographs from above of the third year, sought in the two years before."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(["scenarios", "--only", "6", *sys.argv[1:]]))
