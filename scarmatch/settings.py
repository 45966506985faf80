"""Frozen settings with a fingerprint: the base class of every stage's options.

Settings of one stage are one frozen dataclass that inherits from :class:`Settings`. An unknown key is an error, never
ignored, and :meth:`Settings.fingerprint` is part of every cache key and every result.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Self

from scarmatch.errors import ScarmatchError


class SettingsError(ScarmatchError, ValueError):
    """An option does not exist or its value cannot be used; the message names it and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base class of the stages' options (subclass as a frozen dataclass with defaults for every field)."""

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain, JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Build settings from a mapping; lists become tuples where the option is one.

        Raises:
            SettingsError: a key is no option of this stage (the message suggests the nearest one).
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in options:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known options: {', '.join(known)}"
                raise SettingsError(f"{cls.__name__} has no option {key!r}{hint}")
        defaults = cls()
        built = dict(options)
        for key, value in options.items():
            current = getattr(defaults, key)
            if isinstance(current, Settings) and isinstance(value, Mapping):
                built[key] = type(current).from_dict(value)
            elif isinstance(current, tuple) and isinstance(value, list):
                built[key] = tuple(value)
        return cls(**built)

    def with_option(self, name: str, text: str) -> Self:
        """Return a copy with one option set from text, as a command line gives it.

        Args:
            name: the option, nested ones with dots: ``"keypoints.max_keypoints"``.
            text: its value; lists and tuples as JSON, booleans as true/false, "none" for None (a word stays a word).

        Raises:
            SettingsError: there is no such option or the text is no value for it.
        """
        head, _, rest = name.partition(".")
        known = [item.name for item in dataclasses.fields(self)]
        if head not in known:
            raise SettingsError(f"{type(self).__name__} has no option {head!r}; known options: {', '.join(known)}")
        current = getattr(self, head)
        if isinstance(current, Settings):
            if not rest:
                raise SettingsError(f"{head!r} is a group of options; name one: {head}.OPTION=VALUE")
            return dataclasses.replace(self, **{head: current.with_option(rest, text)})
        if rest:
            raise SettingsError(f"{head!r} has no option {rest!r}: it is a plain value")
        return dataclasses.replace(self, **{head: _parse(f"{type(self).__name__}.{head}", current, text)})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some options changed (unknown ones are an error)."""
        return self.from_dict({**{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, **changes})

    def fingerprint(self) -> str:
        """Return 16 hex digits that change whenever the class or any option changes."""
        text = json.dumps([type(self).__name__, self.to_dict()], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parse(name: str, current: Any, text: str) -> Any:
    """Read an option's text as the type of its current value."""
    if isinstance(current, str):
        return text
    if text.lower() == "none":
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    if isinstance(current, bool) or current is None:
        fits = isinstance(value, bool) if isinstance(current, bool) else True
    elif isinstance(current, int):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(current, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if fits else value
    elif isinstance(current, tuple):
        fits = isinstance(value, list)
        value = tuple(value) if fits else value
    else:
        fits = False
    if not fits:
        raise SettingsError(f"{name}: {text!r} is no {type(current).__name__} (now: {current!r})")
    return value
