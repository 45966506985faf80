"""Photographs from above of the first year, each sought among the others of that year."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[1]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario02"))
