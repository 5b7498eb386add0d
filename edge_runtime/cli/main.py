"""The device's command line: ``python -m edge_runtime predict|explain|watch|camera|bench|info|verify|completion``.

    python -m edge_runtime predict lesion.jpg --explain maps/ --json

Exit status: 0 everything was done; 1 something could not be read, loaded or verified; 2 wrong usage; 130 or 143 stopped
by Ctrl-C or SIGTERM after the current lines were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from edge_runtime.cli.parser import parse_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the command; returns the exit status."""
    command, options = parse_command(arguments)
    module, function = command.run
    status: int = getattr(import_module(module), function)(options)
    return status
