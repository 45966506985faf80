"""Photographs from above of the second year, sought in the first: a year's new scars lie between."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[4]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario05"))
