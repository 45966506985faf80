"""Photographs from above of the third year, sought in the first: marks must have lasted two years."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(["scenarios", "--only", "8", *sys.argv[1:]]))
