"""Settings refuse what they do not know and their fingerprint follows every change."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from scarmatch.settings import Settings, SettingsError


@dataclass(frozen=True)
class Inner(Settings):
    size: tuple[int, int] = (1, 2)
    mirror: bool = True


@dataclass(frozen=True)
class Outer(Settings):
    count: int = 3
    ratio: float = 0.5
    name: str = "a"
    inner: Inner = field(default_factory=Inner)


def test_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'count'"):
        Outer.from_dict({"coutn": 1})
    with pytest.raises(SettingsError, match="Inner has no option"):
        Outer.from_dict({"inner": {"other": 1}})


def test_round_trip_through_plain_values() -> None:
    changed = Outer(count=5, inner=Inner(mirror=False))
    again = Outer.from_dict({**changed.to_dict(), "inner": {"mirror": False}})
    assert again == changed
    assert Outer().replace(count=5).count == 5


def test_fingerprint_follows_nested_changes_and_nothing_else() -> None:
    assert Outer().fingerprint() == Outer().fingerprint()
    prints = {Outer().fingerprint(), Outer(count=4).fingerprint(), Outer(inner=Inner(mirror=False)).fingerprint()}
    assert len(prints) == 3
    assert Inner().fingerprint() != Outer().fingerprint()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("count", "7", Outer(count=7)),
        ("ratio", "1", Outer(ratio=1.0)),
        ("name", "12", Outer(name="12")),
        ("inner.mirror", "false", Outer(inner=Inner(mirror=False))),
        ("inner.size", "[3, 4]", Outer(inner=Inner(size=(3, 4)))),
    ],
)
def test_options_from_text(name: str, text: str, expected: Outer) -> None:
    assert Outer().with_option(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [("count", "many"), ("count", "1.5"), ("inner", "3"), ("count.x", "3"), ("nothing", "1"), ("inner.mirror", "3")],
)
def test_bad_options_are_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match="(?i)" + name.split(".")[0]):
        Outer().with_option(name, text)
