"""``python -m scarmatch`` is the command ``scarmatch``."""

from __future__ import annotations

import sys

from engine.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
