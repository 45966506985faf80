"""The base of every error that a user can cause.

Whatever derives from :class:`ScarmatchError` has a message that names the place, the value and the way out; the command
line prints it as one line. Anything else that ends a command is a fault of the program.
"""

from __future__ import annotations


class ScarmatchError(Exception):
    """Something that was given cannot be used; the message says what, where and what to do."""
