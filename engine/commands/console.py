"""What commands show while they work and when they end: progress, tables, and text that any terminal can print."""

from __future__ import annotations

import io
import re
import sys
import time
import unicodedata
from typing import Any, TextIO

from tqdm import tqdm

#: Seconds between two lines of progress where no terminal shows a bar.
LINE_EVERY = 30.0


class ProgressBar:
    """Progress on standard error: a bar with the time left on a terminal, a line now and then in a file."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: tqdm[Any] | None = None
        self._last_line = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done; a new total starts a new bar."""
        if not sys.stderr.isatty():
            self._write_line(done, total)
            return
        if self._bar is not None and self._bar.total != total:
            self.close()
        if self._bar is None:
            # Work found in the store is no measure of speed, so the clock starts behind it.
            self._bar = tqdm(total=total, initial=done, desc=self._label, dynamic_ncols=True, file=sys.stderr)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def _write_line(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY:
            print(f"{self._label}: {done:,} of {total:,}", file=sys.stderr, flush=True)
            self._last_line = now

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def printable(text: object) -> str:
    """Return a text without the control characters that could steer a terminal."""
    return "".join(c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in str(text))


class TerminalStream(io.TextIOBase):
    """A terminal's stream that control characters do not reach, save those that move to a new line, cell or its start.

    File names and tables come from strangers, and whatever prints them, a library's warning too, comes through here.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, and answer with its length."""
        self._stream.write(text if text.isprintable() else re.sub(r"[^\n\r\t]+", lambda m: printable(m[0]), text))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()

    def isatty(self) -> bool:
        """True: it is a terminal's."""
        return True

    def fileno(self) -> int:
        """Return the terminal's number."""
        return self._stream.fileno()


def print_data(text: str) -> None:
    """Print data that a program may read: whole, as UTF-8 where the encoding of standard output lacks a letter."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        if hasattr(sys.stdout, "reconfigure") and not sys.stdout.isatty():
            say(f"standard output is written as UTF-8, because {sys.stdout.encoding} lacks letters of the names")
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text)


def say(line: str) -> None:
    """Write one line to standard error, which leaves standard output to the answers."""
    print(line, file=sys.stderr, flush=True)


def show_over_last(line: str) -> None:
    """Write a line of progress over the last one on a terminal, below it in a file."""
    print(f"{line}   ", file=sys.stderr, end="\r" if sys.stderr.isatty() else "\n", flush=True)
