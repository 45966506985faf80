"""Photographs from above of the third year, sought in the first: marks must have lasted two years."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[7]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario08"))
