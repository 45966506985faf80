"""What this machine computes with, as far as that can be told without torch, which takes a second to import."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from functools import cache
from pathlib import Path


@cache
def torch_has_no_gpu() -> bool:
    """Say whether torch certainly sees no graphics card: it was built for the processor alone.

    False also where its build does not say; torch itself then knows.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    built = {name: re.search(rf"^{name}\b.*=\s*(\S+)\s*$", text, re.MULTILINE) for name in ("cuda", "hip")}
    return all(found is not None and found[1] == "None" for found in built.values())


@cache
def processor_flags() -> frozenset[str]:
    """Return what Linux says that an x86 processor can do; nothing elsewhere."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:\s*(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
