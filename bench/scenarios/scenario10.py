"""Photographs from above, sought among those of a flank."""

import sys

from bench.scenario_cutting import CHALLENGE_RULES
from bench.scenarios.command import main

RULE = CHALLENGE_RULES[9]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario10"))
