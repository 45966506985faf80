"""Compare a wheel with the packages that git tracks: every file of theirs is in it, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
import zipfile

PACKAGES = ("scarmatch", "engine", "features", "reranker")


def main(wheel: str) -> int:
    """Print the differences; return 1 if there are any."""
    tracked = set(subprocess.check_output(["git", "ls-files", "--", *PACKAGES], text=True).splitlines())
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    for name in sorted(tracked - packed):
        print(f"not in the wheel: {name}")
    for name in sorted(packed - tracked):
        print(f"in the wheel, but in none of its packages: {name}")
    print(f"{len(packed)} files in {wheel}")
    return int(tracked != packed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
