"""docs/dependencies.md justifies every requirement, and no package that is not one."""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPOSITORY
from tools.dependencies import describe, requirements

PAGE = (REPOSITORY / "docs" / "dependencies.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\w.-]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|[^|]*\|$", PAGE, re.MULTILINE)


def test_every_requirement_has_a_row_and_every_row_is_a_requirement() -> None:
    rows = [name for name, *_ in ROWS if name != "package"]
    assert len(rows) == len(set(rows))
    assert set(rows) == {name for names in requirements().values() for name in names}


@pytest.mark.parametrize("file", sorted(requirements()))
def test_every_requirements_file_is_named(file: str) -> None:
    assert f"`requirements/{file}`" in PAGE


def test_every_row_says_what_for_how_large_and_under_which_licence() -> None:
    for name, purpose, size, licence in ROWS:
        if name != "package":
            assert purpose.strip(), name
            assert re.fullmatch(r"[\d.,]+ MB|not installed here", size), name
            assert licence.strip(), name


@pytest.mark.parametrize("name", ["numpy", "pillow", "msgspec"])
def test_sizes_are_those_of_what_is_installed(name: str) -> None:
    """Within a tenth, or a megabyte: versions are pinned, wheels differ a little between platforms."""
    (size,) = (row[2] for row in ROWS if row[0] == name)
    found = float(describe(name).split()[0])
    assert float(size.split()[0]) == pytest.approx(found, rel=0.1, abs=1)
