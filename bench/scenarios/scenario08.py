"""Photographs from above of the third year, sought in the first: marks must have lasted two years."""

import sys

from bench.scenario_cutting import CHALLENGE_RULES
from bench.scenarios.command import main

RULE = CHALLENGE_RULES[7]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario08"))
