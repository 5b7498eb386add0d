"""The device's commands: what each is called, does and takes. The tests hold the documentation to this table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edge_runtime.bench.options import BenchOptions
from edge_runtime.cli import options
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings

PROGRAM = "python -m edge_runtime"


@dataclass(frozen=True)
class Command:
    """One command. ``run`` is the module and function that take its options: imported when the command is chosen."""

    options: type[msgspec.Struct]
    run: tuple[str, str]
    help: str
    description: str
    example: str


COMMANDS: dict[str, Command] = {
    "predict": Command(
        options.PredictOptions,
        ("edge_runtime.cli.predict", "run_predict"),
        "classify images",
        "Classify images, and all images in folders and matching patterns.",
        "predict lesion.jpg more/ --engine tflite --explain maps/",
    ),
    "explain": Command(
        options.ExplainOptions,
        ("edge_runtime.cli.explain", "run_explain"),
        "show where in an image the evidence lies",
        "Write one image's Grad-CAM for one class as a PNG.",
        "explain lesion.jpg --class mel --output melanoma.png",
    ),
    "watch": Command(
        options.WatchOptions,
        ("edge_runtime.cli.watch", "run_watch"),
        "classify images as they appear in a folder",
        "Classify each image that appears in a folder once, across restarts; predictions also go to stdout.",
        "watch /srv/dermatoscope",
    ),
    "camera": Command(
        options.CameraOptions,
        ("edge_runtime.cli.camera", "run_camera"),
        "classify what a camera sees",
        "Classify frame by frame from a camera, a video or a folder.",
        "camera 0 --every 0.5 --overlay /run/dermedge/now.png",
    ),
    "bench": Command(
        BenchOptions,
        ("edge_runtime.bench.command", "run_bench"),
        "measure speed on this device",
        "Time the bare engine, JPEG to prediction, and prediction with heat map, for every variant, in turns.",
        "bench --threads 1",
    ),
    "info": Command(
        options.InfoOptions,
        ("edge_runtime.cli.info", "run_info"),
        "verify a bundle and describe it",
        "Verify every file of a bundle against its manifest and print the manifest's main facts.",
        "info --bundle models/demo",
    ),
    "verify": Command(
        options.VerifyOptions,
        ("edge_runtime.cli.verify", "run_verify"),
        "verify a bundle and run every variant",
        "Check the checksums of the manifest and of every graph, then run every variant on this device.",
        "verify --bundle models/demo",
    ),
    "completion": Command(
        options.CompletionOptions,
        ("edge_runtime.cli.completion", "run_completion"),
        "print a shell's completion script",
        "Print a script that completes commands, flags and their values.",
        'eval "$(dermedge completion bash)"',
    ),
}


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands, with the flags of all or, since flags take time to make, of one."""
    parser = OneLineParser(
        prog=PROGRAM,
        description="Classify images of skin lesions on this device. Research software, not a medical device.",
        epilog="exit status: 0 everything was done; 1 something could not be read, loaded or verified; 2 wrong usage; "
        "130 or 143 stopped by Ctrl-C or SIGTERM after the current lines were written",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, parser_class=OneLineParser)
    for name, command in COMMANDS.items():
        example = command.example if command.example.startswith("eval") else f"{PROGRAM} {command.example}"
        subparser = subparsers.add_parser(
            name, help=command.help, description=command.description, epilog=f"example: {example}"
        )
        if chosen in (None, name):
            add_flags(subparser, command.options)
    return parser


def parse_command(arguments: Sequence[str] | None = None) -> tuple[Command, msgspec.Struct]:
    """Return the command that the arguments name and its options; wrong usage exits with status 2."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = build_parser(given[0] if given and given[0] in COMMANDS else None)
    namespace = parser.parse_args(given)
    command = COMMANDS[namespace.command]
    chosen = make_settings(command.options, given_flags(command.options, namespace))
    if isinstance(chosen, options.PredictOptions) and chosen.resume and chosen.output is None:
        parser.error("--resume continues a file: name it with --output")
    return command, chosen
