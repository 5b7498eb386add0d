"""``python -m edge_runtime`` — see :mod:`edge_runtime.cli.main`."""

import sys

from edge_runtime.cli.main import main
from edge_runtime.errors import run_command_line


def run() -> int:
    """Run the device's command line; the console script ``dermedge`` points here."""
    return run_command_line(main)


if __name__ == "__main__":
    sys.exit(run())
