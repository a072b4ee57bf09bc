"""The command ``pyness``: every command calls the public functions and prints what they return.

Exit codes: 0 done, 2 wrong use, 3 sampling failed, 4 training failed, 130 interrupted (and resumable).
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyness.cli.parser import build
from pyness.errors import PynessError

__all__ = ["main"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on stderr, never a traceback. Returns the exit code."""
    with warnings.catch_warnings(), _spoken():
        warnings.showwarning = _one_line
        try:
            arguments = build().parse_args(argv)
            code = arguments.command(arguments) or 0
            sys.stdout.flush()
            return code
        except PynessError as error:
            return _complain(error, error.exit_code)
        except KeyboardInterrupt:
            return _complain("interrupted", INTERRUPTED)
        except BrokenPipeError:
            # the reader (`| head`) has left; keep the interpreter from complaining about it when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            return _complain(f"{error.strerror or error}{where}; check space and permissions, then --resume", 2)


@contextmanager
def _spoken() -> Iterator[None]:
    """What the package has to say (which engine, what is being solved) goes to stderr, one line each."""
    logger, handler = logging.getLogger("pyness"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("pyness: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _complain(what: object, code: int) -> int:
    print("pyness:", " ".join(str(what).split()), file=sys.stderr)
    return code


def _one_line(message, category, filename, lineno, file=None, line=None) -> None:
    print("pyness: warning:", " ".join(str(message).split()), file=sys.stderr)
