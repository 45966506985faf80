"""Photographs from above of the second year, sought in the first: a year's new scars lie between."""

import sys

from bench.scenario_cutting import CHALLENGE_RULES
from bench.scenarios.command import main

RULE = CHALLENGE_RULES[4]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario05"))
