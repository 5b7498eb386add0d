"""The one family of errors for wrong input, unreadable files and missing packages; how a command line reports them.

Every message is one line that names the file, what was expected and what was found. Command lines print it and exit
non-zero; the web app turns it into a 4xx response. Any other exception that reaches a user is a bug.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line and paragraph separators, bidirectional overrides, and surrogates."""


_WRITING_FAILED = {errno.EPIPE, errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EBADF}


class DermedgeError(Exception):
    """Base of all errors caused by input, files or the machine rather than by a bug."""


class ImageError(DermedgeError):
    """An image cannot be used: unreadable, truncated, too large, or of a format that is not enabled."""


class BundleError(DermedgeError):
    """A bundle is missing, damaged, altered, or of a schema this version does not read."""


class EngineError(DermedgeError):
    """No inference engine is installed, the bundle lacks the requested variant, or an engine failed."""


class DataError(DermedgeError):
    """A data set, metadata table, split or configuration cannot be used."""


class CheckpointError(DermedgeError):
    """A checkpoint is missing, damaged, or belongs to another architecture or class list."""


class ExportError(DermedgeError):
    """An export failed or broke a tolerance; no bundle was written."""


def printable(text: str) -> str:
    """Return a text, such as a file name, as one line that any UTF-8 terminal or file takes.

    What could move the cursor, change colours, reorder the line or is not valid Unicode becomes an escape.
    """
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def run_command_line(main: Callable[[], int]) -> int:
    """Run ``main`` and return the exit status: its own, 1 after a :class:`DermedgeError`, 130 after Ctrl-C.

    An error is one line on stderr, and so is a standard output that is closed or full. Text that the terminal's
    encoding lacks is printed as escapes.
    """
    _prepare_streams()
    try:
        status = main()
    except DermedgeError as error:
        status = _report(str(error))
    except KeyboardInterrupt:
        status = 130
    except SystemExit as leaving:  # a parser that printed its help or an error
        status = leaving.code if isinstance(leaving.code, int) else 0
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _WRITING_FAILED and error.filename is None:
            _report(f"output: cannot be written: {reason}")
            _discard_output()
            return 1
        status = _report(f"{error.filename}: {reason}" if error.filename is not None else reason)
    return _flush_output(quiet=status != 0) or status


def _prepare_streams() -> None:
    """Make printing of any text possible, and keep files that are opened later off the standard descriptors."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by whoever started this program; the lowest free descriptor is opened
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _report(message: str) -> int:
    with suppress(OSError, ValueError):
        print(f"error: {printable(message)}", file=sys.stderr)
    return 1


def _flush_output(quiet: bool) -> int:
    """Flush standard output; returns 1 when that fails, after saying so unless an error was reported already."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        _discard_output()
        if not quiet:
            _report(f"standard output: cannot be written: {getattr(error, 'strerror', None) or error}")
        return 1
    return 0


def _discard_output() -> None:
    """Send what is still buffered for standard output nowhere, so that leaving cannot fail once more."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
