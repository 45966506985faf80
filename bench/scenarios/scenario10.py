"""Photographs from above, sought among those of a flank."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(["scenarios", "--only", "10", *sys.argv[1:]]))
