"""Photographs of a flank, taken from a boat, sought among those from above."""

import sys

from bench.scenario_cutting import CHALLENGE_RULES
from bench.scenarios.command import main

RULE = CHALLENGE_RULES[8]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario09"))
