"""Write the generated pages of the documentation: commands, image formats, manifest, REST API and results.

python -m tools.generate_docs            # writes the pages under docs/
python -m tools.generate_docs --check    # writes nothing; exit status 1 when a page is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser
from tools.reference import DOCS, NOTICE
from tools.reference.commands import PAGES, command_page
from tools.reference.image_formats import image_formats_page
from tools.reference.manifest import manifest_page, manifest_schema_page
from tools.reference.rest import rest_page
from tools.reference.results import results_page

GENERATED: dict[str, Callable[[], str]] = {
    **{f"reference/{name}": partial(command_page, name) for name in PAGES},
    "reference/image-formats.md": image_formats_page,
    "reference/manifest.md": manifest_page,
    "reference/manifest.schema.json": manifest_schema_page,
    "reference/rest.md": rest_page,
    "results/reference-model.md": results_page,
}
"""Each generated file under ``docs/`` and the function that returns its text."""


def generate() -> dict[Path, str]:
    """Return the text of every generated page by its path."""
    pages = {DOCS / name: function() for name, function in GENERATED.items()}
    return {path: NOTICE + text if path.suffix == ".md" else text for path, text in pages.items()}


def outdated(pages: dict[Path, str]) -> list[Path]:
    """Return the pages whose file is missing or has another text."""
    return [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]


def main(arguments: list[str] | None = None) -> int:
    """Write the pages that changed, or with ``--check`` only name them."""
    parser = OneLineParser(
        prog="python -m tools.generate_docs",
        description="Write the generated pages of the documentation: commands, image formats, manifest, REST, results.",
        epilog="example: python -m tools.generate_docs --check",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a page is out of date")
    check = parser.parse_args(arguments).check
    pages = generate()
    changed = outdated(pages)
    for path in changed:
        print(f"{path.relative_to(DOCS.parent)}: {'out of date' if check else 'written'}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
