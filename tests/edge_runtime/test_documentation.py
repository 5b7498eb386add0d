"""docs/edge.md knows every command and flag, and no other."""

from __future__ import annotations

import argparse
import re

from edge_runtime.cli.completion import read_commands
from edge_runtime.cli.parser import build_parser
from edge_runtime.ray import build_parser as build_ray_parser
from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "edge.md").read_text(encoding="utf-8")
OTHER_PROGRAMS = {"--no-deps", "--system-site-packages", "--offline", "--predictions"}


def test_every_command_and_flag_is_documented() -> None:
    for command, flags in read_commands().items():
        assert f"`{command}" in DOCUMENT, command
        for flag in set(flags) - {"--help"}:
            assert re.search(rf"{flag}\b", DOCUMENT), f"{command} {flag}"


def test_no_flag_is_documented_that_does_not_exist() -> None:
    known = {flag for flags in read_commands().values() for flag in flags}
    known |= {flag for action in build_ray_parser()._actions for flag in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", DOCUMENT)) <= known | OTHER_PROGRAMS


def test_every_command_has_an_example_that_parses() -> None:
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        example = (command.epilog or "").partition("python -m edge_runtime ")[2]
        if name == "completion":
            continue
        assert parser.parse_args(example.split()).command == name
