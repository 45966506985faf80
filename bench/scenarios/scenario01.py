"""Photographs from above, all years: each query is one of the database and is sought among all the others."""

import sys

from bench.scenarios.command import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS

RULE = CHALLENGE_SCENARIOS[0]

if __name__ == "__main__":
    sys.exit(main((RULE,), program="python -m bench.scenarios.scenario01"))
