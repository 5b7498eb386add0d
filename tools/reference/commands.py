"""Reference pages of the command lines, read from the parsers that the commands themselves use.

The flags, defaults and ranges of a command come from its settings struct (:mod:`edge_runtime.settings`), which also
makes the parser; reading the parser covers sub-commands and what a command adds by hand as well.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from edge_runtime.settings import Setting

PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "edge-runtime.md": (
        "Device commands",
        "`dermedge` is the same program as `python -m edge_runtime`. See [Classify images](../how-to/classify.md).",
        ("edge_runtime", "edge_runtime.ray"),
    ),
    "train.md": (
        "Training commands",
        "See [Train a model](../how-to/train.md) and [Evaluate a model](../how-to/evaluate.md).",
        (
            "train",
            "train.evaluate",
            "train.calibrate",
            "train.data.report",
            "train.data.download",
            "train.demo.dataset",
            "train.augmentation.contact_sheet",
            "train.augmentation.benchmark",
            "train.learning.benchmark",
        ),
    ),
    "export.md": (
        "Export commands",
        "See [Export a model](../how-to/export.md).",
        ("export", "export.card", "export.recover_weights"),
    ),
    "webapp.md": (
        "Web server",
        "`dermedge-web` is the same program. The API key is read from `$DERMEDGE_API_KEY`. "
        "See [Serve the page and the API](../how-to/serve.md).",
        ("webapp",),
    ),
    "tools.md": (
        "Tools",
        "Programs of the repository that are not in the wheel.",
        (
            "tools.load_test",
            "tools.fuzz_uploads",
            "tools.generate_docs",
            "tools.run_tests",
            "tools.mutation",
            "tools.plain_networks",
        ),
    ),
}
"""For each page its title, its first sentence and the modules whose commands it shows."""


class _ParserFound(BaseException):
    """Carries a command's parser out of the command; no handler of ordinary errors stops it."""

    def __init__(self, parser: argparse.ArgumentParser):
        super().__init__()
        self.parser = parser


def find_parser(module: str) -> argparse.ArgumentParser:
    """Return the parser with which ``python -m module`` reads its command line. Nothing beyond that point is run."""

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise _ParserFound(parser)

    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{module}.__main__")
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{module}: expected a module that can be run, found none")
    code = compile(Path(spec.origin).read_text(encoding="utf-8"), spec.origin, "exec")
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=spec.origin, __package__=spec.parent, __spec__=spec)
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", stop),
        mock.patch.object(sys, "argv", [module]),
        _as_main_module(main),
    ):
        try:
            exec(code, main.__dict__)  # noqa: S102, our own module, as python -m runs it
        except _ParserFound as found:
            return found.parser
    raise RuntimeError(f"{module}: ended without reading its command line")


@contextlib.contextmanager
def _as_main_module(module: types.ModuleType) -> Iterator[None]:
    """Let ``module`` be ``__main__``, where its dataclasses look for their types."""
    previous = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = previous


def commands_of(module: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the command line and the parser of a module's command, or of each of its sub-commands."""
    parser = find_parser(module)
    sub_commands = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not sub_commands:
        yield f"python -m {module}", parser
    for action in sub_commands:
        for name, command in action.choices.items():
            yield f"python -m {module} {name}", command


def command_page(name: str) -> str:
    """Return the reference page ``name`` of :data:`PAGES`, in Markdown."""
    title, introduction, modules = PAGES[name]
    sections = [f"# {title}\n\n{introduction}\n"]
    for module in modules:
        for command, parser in commands_of(module):
            sections.append(_section(command, parser))
    return "\n".join(sections)


def _section(command: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"## {command}", ""]
    if parser.description:
        lines += [_prose(parser.description), ""]
    rows = [_row(parser, action) for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    if rows:
        lines += ["| flag | default | meaning |", "|---|---|---|", *rows, ""]
    example = re.sub(r"^examples?:\s*", "", (parser.epilog or "").strip())
    if example and example != (parser.epilog or "").strip():
        lines += ["```bash", *[line.strip() for line in example.splitlines()], "```", ""]
    return "\n".join(lines)


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    setting = getattr(action.type, "__self__", None)
    formatter = argparse.HelpFormatter(prog=parser.prog)
    help_text = formatter._expand_help(action) if action.help else ""
    default = re.search(r" ?\(default: (.*)\)$", help_text)
    meaning = help_text[: default.start()] if default else help_text
    shown = default.group(1) if default else _default(action)
    limits = [", ".join(f"`{choice}`" for choice in action.choices)] if action.choices else []
    if isinstance(setting, Setting) and not limits and setting.expected not in ("text", "a path"):
        limits = [setting.expected]
    if isinstance(action, argparse.BooleanOptionalAction):
        shown = {"True": "yes", "False": "no"}.get(shown.strip("`"), shown)
        limits = [f"`{action.option_strings[-1]}` switches it off"]
    meaning = f"{meaning} ({'; '.join(limits)})" if limits else meaning
    return f"| {_flags(action)} | {_cell(shown)} | {_cell(meaning)} |"


def _flags(action: argparse.Action) -> str:
    if isinstance(action, argparse.BooleanOptionalAction):
        return f"`{action.option_strings[0]}`"
    if action.option_strings:
        return ", ".join(f"`{flag}`" for flag in action.option_strings)
    return f"`{action.metavar if isinstance(action.metavar, str) else action.dest}`"


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    if action.default in (None, argparse.SUPPRESS, False, []) or action.nargs == 0:
        return ""
    values = action.default if isinstance(action.default, list | tuple) else [action.default]
    return f"`{' '.join(map(str, values))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _prose(text: str) -> str:
    sentence = " ".join(text.split())
    return sentence[:1].upper() + sentence[1:]
