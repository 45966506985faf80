"""Photographs from above, all years: each query is one of the database and is sought among all the others."""

import sys

from bench.command import main

if __name__ == "__main__":
    sys.exit(main(["scenarios", "--only", "1", *sys.argv[1:]]))
