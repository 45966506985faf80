"""What is said of this machine without torch is what torch says."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from features import hardware
from features.global_descriptor import precision
from features.global_descriptor.precision import cpu_half_precision


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    hardware.torch_has_no_gpu.cache_clear()
    hardware.processor_flags.cache_clear()
    yield
    hardware.torch_has_no_gpu.cache_clear()
    hardware.processor_flags.cache_clear()


def test_torch_agrees() -> None:
    if hardware.torch_has_no_gpu():
        assert not torch.cuda.is_available()
    half = any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    assert cpu_half_precision((224, 224)) == half


@pytest.mark.parametrize(
    ("text", "none"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", True),
        ("cuda = None\nhip = None", True),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", False),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.2'\n", False),
        ("cuda: Optional[str] = None\n", False),
        ("", False),
    ],
)
def test_only_a_build_for_the_processor_alone_has_no_gpu(
    text: str, none: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version.py").write_text(text)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(hardware, "_no_card", lambda: False)
    assert hardware.torch_has_no_gpu() is none


def test_without_torch_nothing_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(hardware, "_no_card", lambda: False)
    assert not hardware.torch_has_no_gpu()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's own files")
@pytest.mark.parametrize(
    ("makers", "file", "none"),
    [
        (["0x8086", "0x1af4"], "", True),
        (["0x8086", "0x10de"], "", False),
        (["0x1002"], "", False),
        (["0x8086"], "nvidiactl", False),
        (["0x8086"], "kfd", False),
        ([], "", False),
        (None, "", False),
    ],
)
def test_a_card_is_seen_on_the_bus_or_by_its_driver(
    makers: list[str] | None, file: str, none: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, devices = tmp_path / "bus", tmp_path / "dev"
    devices.mkdir()
    if file:
        (devices / file).touch()
    if makers is not None:
        bus.mkdir()
        for number, maker in enumerate(makers):
            (bus / str(number)).mkdir()
            (bus / str(number) / "vendor").write_text(f"{maker}\n")
    monkeypatch.setattr(hardware, "_BUS", bus)
    monkeypatch.setattr(hardware, "_DRIVERS", (("/nowhere", "x"), (str(devices), "nvidia*"), (str(devices), "kfd")))
    assert hardware._no_card() is none


@pytest.mark.parametrize(
    ("flags", "asked", "half"),
    [({"avx512_bf16"}, None, True), ({"avx2"}, None, False), ({"amx_tile"}, True, True), (set(), False, False)],
)
def test_torch_is_asked_where_the_system_does_not_say(
    flags: set[str], asked: bool | None, half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe() -> bool:
        assert asked is not None, "torch need not be asked"
        return asked

    monkeypatch.setattr(precision, "processor_flags", lambda: frozenset(flags))
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, probe, raising=False)
    assert cpu_half_precision((224, 224)) is half
    assert not cpu_half_precision((95, 224))


@pytest.mark.parametrize(
    ("device", "without_card", "with_card"),
    [("cpu", True, True), (None, True, False), ("auto", True, False), ("cuda", False, False)],
)
def test_a_device_is_surely_the_processor_where_it_is_named_or_there_is_no_card(
    monkeypatch: pytest.MonkeyPatch, device: str | None, without_card: bool, with_card: bool
) -> None:
    for none, expected in ((True, without_card), (False, with_card)):
        monkeypatch.setattr(hardware, "torch_has_no_gpu", lambda none=none: none)
        assert hardware.surely_the_processor(device) is expected
