"""Photographs from above of the third year, each sought among the others of that year."""

import sys

from bench.scenario_cutting import CHALLENGE_RULES
from bench.scenarios.command import main

RULE = CHALLENGE_RULES[3]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario04"))
