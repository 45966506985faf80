"""What this machine computes with, as far as that can be told without torch, which takes a second to import."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from functools import cache
from pathlib import Path

#: Where Linux lists what is on the bus, and by which numbers the makers of cards go there.
_BUS, _CARD_MAKERS = Path("/sys/bus/pci/devices"), frozenset(("0x10de", "0x1002"))
#: Files that drivers of cards make: NVIDIA's, of its boards without a bus, of Windows below Linux, and AMD's.
_DRIVERS = (("/dev", "nvidia*"), ("/dev", "nvhost*"), ("/dev", "dxg"), ("/dev", "kfd"), ("/proc/driver", "nvidia"))


@cache
def torch_has_no_gpu() -> bool:
    """Say whether torch sees no graphics card: it was built for the processor alone, or Linux knows of no card.

    False also where neither says; torch itself then knows.
    """
    return _built_for_the_processor() or _no_card()


def surely_the_processor(device: str | None) -> bool:
    """Say whether a device that is asked for ("auto", "cpu", "cuda", None to choose) is the processor, without torch.

    False also where torch alone knows (:func:`features.global_descriptor.runtime.choose_device`).
    """
    return device == "cpu" or (device in (None, "auto") and torch_has_no_gpu())


def _built_for_the_processor() -> bool:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return False
    built = {name: re.search(rf"^{name}\b.*=\s*(\S+)\s*$", text, re.MULTILINE) for name in ("cuda", "hip")}
    return all(found is not None and found[1] == "None" for found in built.values())


def _no_card() -> bool:
    """Say whether Linux shows no card of NVIDIA or AMD, neither on its bus nor by the files of a driver."""
    if not sys.platform.startswith("linux"):
        return False
    driver = any(any(Path(folder).glob(name)) for folder, name in _DRIVERS)
    try:
        makers = {(device / "vendor").read_text().strip() for device in _BUS.iterdir()}
    except OSError:
        return False
    return not driver and bool(makers) and not makers & _CARD_MAKERS


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
