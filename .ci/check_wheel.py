"""Compare a wheel with the packages that git tracks, and with those that were installed when the tests ran.

Every file that git tracks is in the wheel, nothing else is, and each is the same to the byte where it was tested.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = ("scarmatch", "engine", "features", "reranker")


def main(wheel: str, tested: Path) -> int:
    """Print the differences of a wheel from git's files and from a folder of installed packages; return 1 if any."""
    tracked = set(subprocess.check_output(["git", "ls-files", "--", *PACKAGES], text=True).splitlines())
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        others = {
            name
            for name in packed
            if not (tested / name).is_file() or (tested / name).read_bytes() != archive.read(name)
        }
    for name in sorted(tracked - packed):
        print(f"not in the wheel: {name}")
    for name in sorted(packed - tracked):
        print(f"in the wheel, but in none of its packages: {name}")
    for name in sorted(others):
        print(f"not what was tested: {name}")
    print(f"{len(packed)} files in {wheel}")
    return int(tracked != packed or bool(others))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
