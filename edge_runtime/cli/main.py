"""The device's command line: ``python -m edge_runtime predict|explain|watch|camera|bench|info|verify|completion``.

    python -m edge_runtime predict lesion.jpg --explain maps/ --json

Exit status: 0 all answered; 1 something could not be read, loaded or verified; 2 wrong usage; 130 or 143 stopped by
Ctrl-C or SIGTERM after the lines under way were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from edge_runtime.cli.parser import build_parser

COMMANDS = {
    "predict": ("edge_runtime.cli.predict", "run_predict"),
    "explain": ("edge_runtime.cli.explain", "run_explain"),
    "watch": ("edge_runtime.cli.watch", "run_watch"),
    "camera": ("edge_runtime.cli.camera", "run_camera"),
    "bench": ("edge_runtime.bench.command", "run_bench"),
    "info": ("edge_runtime.cli.info", "run_info"),
    "verify": ("edge_runtime.cli.verify", "run_verify"),
    "completion": ("edge_runtime.cli.completion", "run_completion"),
}
"""Where each command lives: imported when it is asked for, so that ``predict`` does not pay for ``bench``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the command; returns the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if getattr(options, "resume", False) and not options.output:
        parser.error("--resume goes on with a file: name it with --output")
    module, function = COMMANDS[options.command]
    status: int = getattr(import_module(module), function)(options)
    return status
