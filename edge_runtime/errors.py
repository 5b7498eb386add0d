"""The one family of errors for wrong input, unreadable files and missing packages.

Every message is one line that names the file, what was expected and what was found. Command lines print it and exit
non-zero; the web app turns it into a 4xx response. Any other exception that reaches a user is a bug.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


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


def run_command_line(main: Callable[[], int]) -> int:
    """Run ``main``; a :class:`DermedgeError` becomes one line on stderr and exit status 1, Ctrl-C status 130."""
    try:
        return main()
    except DermedgeError as error:
        print(f"error: {str(error).encode(errors='backslashreplace').decode()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away, as in `… | head`
        sys.stderr.close()
        return 1
