"""The documentation is under test: its commands parse, its links resolve, its generated pages are current."""

from __future__ import annotations

import argparse
import functools
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tools.generate_docs import GENERATED, generate, outdated
from tools.reference import DOCS
from tools.reference.commands import PAGES, find_parser

PAGES_BY_HAND = sorted(
    [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    + [path for path in DOCS.rglob("*.md") if str(path.relative_to(DOCS)) not in GENERATED]
)
OTHER_MODULES = {"pip", "pytest", "venv", "http.server"}
"""What ``python -m`` runs that is not ours."""
OTHER_FLAGS = {
    "--address", "--extra-index-url", "--index-url", "--no-compile", "--no-deps", "--nproc-per-node", "--offline",
    "--data-binary", "--quiet", "--standalone", "--strict", "--system-site-packages", "--system", "--target",
    "--logdir",
}  # fmt: skip
"""Flags of curl, pip, npm, torchrun, tensorboard, systemd and the site builder."""
OWN_PROGRAMS = re.compile(r"tests/\S+\.py|deploy/\S+\.py|tests/\S+\.sh")
"""Programs of the repository outside the packages; their flags are read from their text."""


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPOSITORY)) for path in paths]


def code_of(text: str) -> Iterator[str]:
    """Yield the lines of shell blocks, continuation lines joined, and the inline code, of a page."""
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL):
        if language in ("", "bash", "sh", "console"):
            yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose))


def make_targets() -> set[str]:
    """Return the targets that ``make help`` shows."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+):.*## ", text, flags=re.MULTILINE))


def make_calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield target and variable names of every ``make`` command in a page's code."""
    for code in code_of(text):
        for target, rest in re.findall(r"(?:^|\$ |&& |# or: |# )make ([a-z0-9-]+)([^#&]*)", code):
            yield target, re.findall(r"\b([A-Z]+)=", rest)


@functools.cache
def parser_of(module: str) -> argparse.ArgumentParser:
    return find_parser(module)


def module_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield module and arguments of every ``python -m`` command in a page's code."""
    for code in code_of(text):
        command = re.search(r"(?:^|[\s/`])(?:python3?|torchrun)\b[^#]*?-m ([a-z_][\w.]*)(.*)", code)
        if command and command.group(1) not in OTHER_MODULES:
            arguments = re.split(r"\s(?:#|&&|\|)\s", command.group(2) + " ")[0]
            yield command.group(1), shlex.split(arguments)


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*(flags_of(command) for command in action.choices.values()))
    return found


def documented_modules() -> list[str]:
    return [module for _, _, modules in PAGES.values() for module in modules]


def test_generated_pages_are_current() -> None:
    """``python -m tools.generate_docs`` would change nothing."""
    assert names(outdated(generate())) == []


def test_every_command_has_a_reference() -> None:
    modules = set()
    for package in ("edge_runtime", "train", "export", "webapp", "tools"):
        for path in (REPOSITORY / package).rglob("*.py"):
            text = "" if "node_modules" in path.parts else path.read_text(encoding="utf-8")
            only_for_make = package == "tools" and not re.search(r"\bparse_(args|settings)\b", text)
            if '__name__ == "__main__"' in text and not only_for_make:
                modules.add(".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__main__"))
    internal = {"export.formats.onnx2tf_child"}  # run by the export in another environment
    assert modules - internal == set(documented_modules())


@pytest.mark.parametrize("target", sorted(make_targets()))
def test_every_target_is_documented(target: str) -> None:
    calls = {name for page in PAGES_BY_HAND for name, _ in make_calls(page.read_text(encoding="utf-8"))}
    assert target in calls


@pytest.mark.parametrize("page", names(PAGES_BY_HAND))
def test_make_commands_exist(page: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target, variables in make_calls((REPOSITORY / page).read_text(encoding="utf-8")):
        assert target in make_targets()
        for variable in variables:
            assert re.search(rf"\$\({variable}\)|\b{variable} \?=|\$\(or \$\({variable}\)", makefile), variable


@pytest.mark.parametrize("page", names(PAGES_BY_HAND))
def test_commands_parse(page: str) -> None:
    """Every ``python -m`` command with arguments is one that its own parser accepts."""
    for module, arguments in module_commands((REPOSITORY / page).read_text(encoding="utf-8")):
        assert module in documented_modules(), f"{page}: python -m {module}"
        if arguments and "…" not in arguments:
            try:
                parser_of(module).parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{page}: python -m {module} {shlex.join(arguments)} is not accepted")


@pytest.mark.parametrize("page", names(PAGES_BY_HAND))
def test_flags_exist(page: str) -> None:
    """Every flag that a page mentions, anywhere, is a flag of one of our programs or of a named other one."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    known = set(OTHER_FLAGS).union(*(flags_of(parser_of(module)) for module in documented_modules()))
    for program in OWN_PROGRAMS.findall(text):
        known |= set(re.findall(r"--[a-z][a-z0-9-]+", (REPOSITORY / program).read_text(encoding="utf-8")))
    if "test-instruction-sets" in text:
        program = REPOSITORY / "tests" / "instruction_sets" / "run_instruction_sets.py"
        known |= set(re.findall(r"--[a-z][a-z0-9-]+", program.read_text(encoding="utf-8")))
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) - known) == []


def anchors_of(page: Path) -> set[str]:
    """Return the addresses of a page's headings, as the site builder and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", names([*PAGES_BY_HAND, *(DOCS / name for name in GENERATED if name.endswith(".md"))]))
def test_links_lead_somewhere(page: str) -> None:
    path = REPOSITORY / page
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        destination = path.parent / file if file else path
        assert destination.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors_of(destination), f"{page} links to {target}"


@pytest.mark.parametrize("page", names(PAGES_BY_HAND))
def test_named_files_exist(page: str) -> None:
    """Files of the repository that a page names in code are there."""
    folders = "edge_runtime|train|export|webapp|tools|tests|deploy|requirements|docs"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", (REPOSITORY / page).read_text(encoding="utf-8")):
        assert (REPOSITORY / name).exists() or name == "webapp/static/litert/", f"{page} names {name}"


@pytest.mark.parametrize("page", names(PAGES_BY_HAND))
def test_code_blocks_are_valid(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if language == "python":
            compile(block, page, "exec")
        elif language == "json":
            for line in block.splitlines():
                json.loads(line)


@pytest.mark.parametrize("package", ["edge_runtime", "train", "export", "webapp"])
def test_design_shows_the_layers(package: str) -> None:
    """docs/design.md lists the layers that the import contracts enforce."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in contracts["contracts"] if one.get("containers") == [package])
    row = " → ".join(" · ".join(f"`{name}`" for name in layer.split(" | ")) for layer in layers)
    assert f"| `{package}` | {row} |" in (DOCS / "design.md").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w/.-]+\.md)$", navigation, flags=re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
