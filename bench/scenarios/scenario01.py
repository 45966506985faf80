"""Photographs from above, all years: each query is one of the database and is sought among all the others."""

import sys

from bench.scenario_cutting import CHALLENGE_RULES
from bench.scenarios.command import main

RULE = CHALLENGE_RULES[0]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario01"))
