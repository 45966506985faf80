"""Photographs of a flank, taken from a boat, sought among those from above."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(["scenarios", "--only", "9", *sys.argv[1:]]))
