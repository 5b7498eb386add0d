"""The reference of the device's commands and of the manifest is current, with nothing but the device's packages."""

from __future__ import annotations

import argparse

from edge_runtime.cli.parser import build_parser
from tools.reference import DOCS, NOTICE
from tools.reference.commands import command_page
from tools.reference.manifest import manifest_page, manifest_schema_page


def test_reference_of_the_commands_is_current() -> None:
    page = (DOCS / "reference" / "edge-runtime.md").read_text(encoding="utf-8")
    assert page == NOTICE + command_page("edge-runtime.md"), "run python -m tools.generate_docs"


def test_reference_of_the_manifest_is_current() -> None:
    page = (DOCS / "reference" / "manifest.md").read_text(encoding="utf-8")
    schema = (DOCS / "reference" / "manifest.schema.json").read_text(encoding="utf-8")
    assert (page, schema) == (NOTICE + manifest_page(), manifest_schema_page()), "run python -m tools.generate_docs"


def test_every_command_has_an_example_that_parses() -> None:
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        example = (command.epilog or "").partition("python -m edge_runtime ")[2]
        if name == "completion":
            continue
        assert parser.parse_args(example.split()).command == name
