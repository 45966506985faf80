"""The command line: every command calls one function that the Python API offers too.

A command's family is imported only when that command is asked for, so that the list of commands is there at once. Exit
statuses are those of :mod:`engine.commands.exit_status`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import NamedTuple

from engine.commands.console import TerminalStream, printable
from engine.commands.exit_status import EXIT_DATA, EXIT_FAULT, EXIT_STATUSES, EXIT_STOPPED
from scarmatch import __version__
from scarmatch.errors import ScarmatchError

_FAULT = "this is a fault of scarmatch, not of your data: please report it with the lines above and `scarmatch info`"


class Entry(NamedTuple):
    """Where a command is, and what it does: ``engine.commands.FAMILY`` has it in its ``COMMANDS``."""

    family: str
    text: str


COMMANDS = {
    "demo": Entry("demo", "Draw a small synthetic catalogue, match a few queries, and show the result."),
    "check": Entry("catalogue", "Read a catalogue, say what is in it, and name every problem with file and way out."),
    "index": Entry("catalogue", "Describe every photograph of a catalogue once; a stopped run goes on where it was."),
    "match": Entry("matching", "Match photographs against a catalogue: the most probable candidates of each."),
    "explain": Entry("matching", "Explain one pair: pictures layer by layer, and what spoke for and against it."),
    "review": Entry("review", "Decide in the browser who new photographs show, and keep what was decided."),
    "identify": Entry("competition", "Name the individual of every photograph: five predictions each (Happywhale)."),
    "rank": Entry("competition", "Answer all queries of a folder in the challenge's layout: a valid submission."),
    "score": Entry("competition", "Check a submission as the organisers' scorer would and print its mAP@20."),
    "blend": Entry("competition", "Blend several files of rankings: by places, or by calibrated probabilities."),
    "package": Entry("competition", "Write the archive of the challenge's code-execution form."),
    "audit": Entry("audit", "Find individuals that may be one, photographs under a wrong name, near-duplicates."),
    "export": Entry("exports", "Write a catalogue, with its decisions, in another form; capture histories too."),
    "import": Entry("exports", "Turn a table of names from elsewhere into decisions on a catalogue."),
    "train": Entry("model_training", "Train a model on a labelled catalogue, measure it, and write its report card."),
    "train-ranker": Entry("training", "Fit the ranker and its calibration on a labelled catalogue."),
    "train-descriptor": Entry("training", "Train a global descriptor on a labelled catalogue."),
    "train-marks": Entry("training", "Train dense skin descriptors on a labelled catalogue."),
    "train-keypoints": Entry("training", "Train the metric by which keypoints are compared on a labelled catalogue."),
    "models": Entry(
        "models", "The models that can be named, what each holds, and the figures that it was measured with."
    ),
    "store": Entry("store", "Look after a store: its size, damage in it, few files of many, what no catalogue needs."),
    "info": Entry("info", "Versions, device, weights with hashes and licences, size of the store."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The command is the first word: the parser itself has no option that takes a value.
    asked = next((word for word in given if word in COMMANDS), "")
    options = build_parser(asked).parse_args(given)
    _prepare_output(options.verbose)
    try:
        with _stopped_by_sigterm():
            status: int = options.run(options)
        return status
    except KeyboardInterrupt:
        print("stopped; what was computed is kept, run the same command to go on", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain once more at exit otherwise.
        sys.stderr.close()
        return 0
    except (ScarmatchError, OSError) as error:
        if options.verbose:
            traceback.print_exc()
        print(f"scarmatch {options.command}: {_in_one_line(error)}", file=sys.stderr)
        return EXIT_DATA
    except Exception:
        traceback.print_exc()
        print(f"scarmatch {options.command}: {_FAULT}", file=sys.stderr)
        return EXIT_FAULT


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands.

    Args:
        only: give this command alone its arguments, the others just their name; None gives all of them theirs.
    """
    parser = argparse.ArgumentParser(
        prog="scarmatch",
        description="Find the same animal again in a catalogue of photographs, by its scars and marks.",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scarmatch {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, entry in COMMANDS.items():
        command_parser = commands.add_parser(name, help=entry.text, description=entry.text)
        if only is None or name == only:
            command = import_module(f"engine.commands.{entry.family}").COMMANDS[name]
            command.add_arguments(command_parser)
            command_parser.add_argument(
                "-v", "--verbose", action="store_true", help="say more, and show where an error came from"
            )
            command_parser.set_defaults(run=command.run)
    return parser


def _prepare_output(verbose: bool) -> None:
    """Set up logging, and make printing replace what an encoding lacks: a name must not cost the answers."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout.isatty():
        sys.stdout = TerminalStream(sys.stdout)
    if sys.stderr.isatty():
        sys.stderr = TerminalStream(sys.stderr)
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    # what a reader of tables notes without warning (columns that are not used) is told too
    logging.getLogger("engine.catalogue").setLevel(logging.DEBUG if verbose else logging.INFO)
    # Its limit is ours, and what exceeds ours is named as an error (features.photo_file).
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    for noisy in ("numba", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM (kill, a cluster's time limit) stop a command as Ctrl-C does, worker processes and all."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_one_line(error: Exception) -> str:
    """Return an error's message; the system's own errors name their file first."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return printable(" ".join(str(error).split())) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
