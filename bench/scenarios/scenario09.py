"""Photographs of a flank, taken from a boat, sought among those from above."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[8]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario09"))
