"""Photographs from above of the second year, each sought among the others of that year."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(["scenarios", "--only", "3", *sys.argv[1:]]))
