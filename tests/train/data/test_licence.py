"""The licence of a data set is the one it states, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.data.licence import data_licence


def test_a_folder_that_states_no_licence_has_an_unknown_one(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Images of our clinic\nAsk us about the licence.\n")
    assert data_licence(tmp_path, None, ()) == "unknown"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LICENSE", "\n  CC0-1.0\n\nmore of it"),
        ("LICENCE.txt", "CC0-1.0"),
        ("LICENSE.md", "# CC0-1.0\n"),
        ("README.md", "# Images\n\nLicence: CC0-1.0\n"),
        ("README.md", "- **License**: CC0-1.0\n"),
        ("README.txt", "license = CC0-1.0"),
    ],
)
def test_a_licence_in_the_folder_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert data_licence(tmp_path, None, ()) == "CC0-1.0"


def test_the_user_comes_before_the_table_and_the_table_before_the_folder(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("the folder's")
    assert data_licence(tmp_path, None, ()) == "the folder's"
    assert data_licence(tmp_path, None, ["CC-BY-NC", "CC-0", "CC-BY-NC"]) == "CC-0, CC-BY-NC"
    assert data_licence(tmp_path, "ours,\nin two lines", ["CC-0"]) == "ours, in two lines"


def test_generated_images_are_always_free(tmp_path: Path) -> None:
    (tmp_path / "DEMO.txt").write_text("phantoms")
    assert data_licence(tmp_path, "mine", ["CC-0"]) == "generated images, no restriction"
