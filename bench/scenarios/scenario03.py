"""Photographs from above of the second year, each sought among the others of that year."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[2]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario03"))
