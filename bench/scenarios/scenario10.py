"""Photographs from above, sought among those of a flank."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[9]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario10"))
