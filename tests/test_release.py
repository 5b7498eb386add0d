"""What a release says about itself agrees: the version, the licence, the files that state them."""

from __future__ import annotations

import re

from edge_runtime.version import __version__
from tests.conftest import REFERENCE_BUNDLE, REPOSITORY


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_citation_names_this_version_and_licence() -> None:
    citation = read("CITATION.cff")
    assert re.search(rf"^version: {re.escape(__version__)}$", citation, re.MULTILINE)
    assert re.search(r"^license: Apache-2\.0$", citation, re.MULTILINE)
    assert 'license = "Apache-2.0"' in read("pyproject.toml")
    assert "Apache License\n" in read("LICENSE")


def test_the_weights_have_a_licence_of_their_own() -> None:
    assert "CC BY-NC 4.0" in (REFERENCE_BUNDLE / "LICENSE").read_text(encoding="utf-8")
    assert f"models/{REFERENCE_BUNDLE.name}/LICENSE" in read("NOTICE")
    assert "license: cc-by-nc-4.0" in (REFERENCE_BUNDLE / "README.md").read_text(encoding="utf-8")
