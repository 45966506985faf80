"""Decisions in words."""

from __future__ import annotations

from engine.report.wording import text_of
from engine.review.decisions import Decision

_SAID = {
    "same": "{0} shows the same animal as {1}",
    "different": "{0} shows another animal than {1}",
    "cannot_tell": "{0} and {1}: cannot tell",
    "not_comparable": "{0} and {1} cannot be compared",
}


def decision_in_words(one: Decision) -> str:
    """Return what a decision says, in one line."""
    images = [text_of(image) for image in one.images]
    if one.kind in _SAID:
        return _SAID[one.kind].format(*images)
    some = ", ".join(images[:3]) + (f" and {len(images) - 3} more" if len(images) > 3 else "")
    texts = {
        "new_individual": f"{some}: a new individual, {one.name}",
        "split": f"{some} split off {one.individual}: {one.name}",
        "move": f"{some} moved to {one.name}",
        "merge": f"{one.individual} merged into {one.name}",
        "rename": f"{one.individual} renamed {one.name}",
        "skip": f"{some} put off",
        "undo": f"decision {one.target} taken back",
    }
    return texts[one.kind]
