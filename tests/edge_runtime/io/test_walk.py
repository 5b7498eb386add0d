"""Folders as other programs leave them: every image once, and everything else counted and named."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.io import walk
from edge_runtime.io.walk import PassedOver, walk_files, walk_images
from tests.conftest import REPOSITORY, blob_image, encoded

JPEG = encoded(blob_image(60, 50))
PNG = encoded(blob_image(60, 50), "PNG")
CASES = REPOSITORY.parent / "shared" / "cases"


def put(folder: Path, name: str, data: bytes = JPEG) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def look(folder: Path) -> tuple[list[str], PassedOver, list[str]]:
    """Return the images' paths below the folder, what was passed over, and the problems."""
    passed_over = PassedOver()
    found = list(walk_images(str(folder), passed_over))
    images = [os.path.relpath(path, folder) for path, problem in found if problem is None]
    return images, passed_over, [str(problem) for _, problem in found if problem is not None]


@pytest.mark.parametrize(
    "folder",
    [
        "@eaDir", "@eaDir/lesion.jpg", "#recycle", "@Recycle", "$RECYCLE.BIN/S-1-5-21", "$Recycle.Bin", "RECYCLER",
        ".Trash", ".Trash-1000/files", ".Trashes", "Network Trash Folder", "System Volume Information", "lost+found",
        "found.000", "__MACOSX", "Temporary Items", ".ipynb_checkpoints", ".thumbnails/large", ".@__thumb",
        ".stversions", "#snapshot", "~snapshot/hourly.0", ".snapshot", "@GMT-2024.01.01-00.00.00", ".git/annex",
        ".svn", "CVS", "__pycache__", "node_modules", "Lightroom Previews.lrdata", "Photos Library.photoslibrary",
        ".dtrash", ".picasaoriginals", ".Spotlight-V100", ".fseventsd", ".cache",
    ],
)  # fmt: skip
def test_folders_of_other_programs_are_passed_over_and_named(folder: str, tmp_path: Path) -> None:
    put(tmp_path, "lesion.jpg")
    put(tmp_path, f"patient/{folder}/copy.jpg")
    images, passed_over, problems = look(tmp_path)
    assert images == ["lesion.jpg"]
    assert problems == []
    (line,) = passed_over.summary()
    assert str(tmp_path / "patient" / folder.split("/")[0]) in line


@pytest.mark.parametrize("folder", ["trashed", "found.images", "2024", "thumbnail study", "Lesions (version 2)"])
def test_folders_with_like_names_are_not_passed_over(folder: str, tmp_path: Path) -> None:
    put(tmp_path, f"{folder}/lesion.jpg")
    assert look(tmp_path)[0] == [f"{folder}/lesion.jpg"]


@pytest.mark.parametrize("name", ["._lesion.jpg", ".lesion.jpg.Xa81Qz", ".hidden.png", ".DS_Store"])
def test_hidden_files_are_passed_over(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    images, passed_over, _ = look(tmp_path)
    assert (images, passed_over.counts) == ([], {walk.HIDDEN_FILE: 1})


@pytest.mark.parametrize(
    "name", ["lesion.jpg.part", "lesion.jpg.crdownload", "lesion.jpg~", "lesion.bak", "lesion.jpg.filepart", "a.TMP"]
)
def test_unfinished_copies_and_backups_are_passed_over(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    images, passed_over, _ = look(tmp_path)
    assert (images, passed_over.counts) == ([], {walk.TEMPORARY_FILE: 1})


def test_images_are_taken_by_content_or_suffix_and_the_rest_is_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    put(tmp_path, "b.jfif")
    put(tmp_path, "c.JPE")
    put(tmp_path, "d")
    put(tmp_path, "e.dat", PNG)
    put(tmp_path, "f.jpg", b"damaged")
    put(tmp_path, "notes.txt", b"pigmented lesion")
    put(tmp_path, "BMI.csv", b"BMI,age\n24,50\n22,41\n")
    put(tmp_path, "empty")
    put(tmp_path, "empty", b"")
    put(tmp_path, "film", encoded(blob_image(60, 50).quantize(16), "GIF"))
    put(tmp_path, "bitmap", encoded(blob_image(60, 50), "BMP"))
    images, passed_over, problems = look(tmp_path)
    assert images == ["a.jpg", "b.jfif", "bitmap", "c.JPE", "d", "e.dat", "f.jpg"]
    assert problems == []
    assert passed_over.counts == {walk.NOT_AN_IMAGE: 3, "GIF image": 1}
    assert passed_over.total == 4
    assert all(str(tmp_path / name) in " ".join(passed_over.summary()) for name in ("BMI.csv", "empty", "film"))


def test_the_summary_names_the_first_and_counts_all() -> None:
    passed_over = PassedOver()
    for number in range(1000):
        passed_over.add("hidden file", f".{number}")
    (line,) = passed_over.summary()
    assert line.startswith("passed over 1000 (hidden file): .0, .1, ")
    assert line.endswith(", .9 and 990 more")


def test_order_is_sorted_with_a_folders_files_first(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "b/a/0.jpg", "z.jpg", "a/9.jpg"):
        put(tmp_path, name)
    assert look(tmp_path)[0] == ["z.jpg", "a/9.jpg", "b/1.jpg", "b/2.jpg", "b/a/0.jpg"]


def test_the_root_itself_may_be_hidden(tmp_path: Path) -> None:
    put(tmp_path, ".private/lesion.jpg")
    assert look(tmp_path / ".private")[0] == ["lesion.jpg"]


def test_nothing_is_visited_twice_through_links(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, "real/one.jpg")
    (root / "again").symlink_to(root / "real")
    (root / "one-more.jpg").symlink_to(root / "real" / "one.jpg")
    (root / "real" / "up").symlink_to(root)
    images, passed_over, problems = look(root)
    assert (images, problems) == (["real/one.jpg"], [])
    assert passed_over.counts == {walk.VISITED: 3}


def test_what_lies_outside_is_visited_once_however_many_links_lead_there(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    put(outside, "one.jpg")
    put(outside, "two.jpg")
    root.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (root / name).symlink_to(outside / "one.jpg")
    (root / "c").symlink_to(outside)
    (root / "d").symlink_to(outside)
    images, passed_over, problems = look(root)
    assert (images, problems) == (["a.jpg", "c/two.jpg"], [])
    assert passed_over.counts == {walk.VISITED: 3}


def test_links_into_a_hidden_store_are_followed(tmp_path: Path) -> None:
    """As git-annex and DVC keep data sets."""
    put(tmp_path, ".git/annex/objects/SHA256E-s1--abc.jpg")
    (tmp_path / "lesion.jpg").symlink_to(".git/annex/objects/SHA256E-s1--abc.jpg")
    assert look(tmp_path)[0] == ["lesion.jpg"]


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, "a/lesion.jpg")
    (root / "a" / "parent").symlink_to(tmp_path)
    (root / "self").symlink_to("self")
    images, _, problems = look(root)
    assert images == ["a/lesion.jpg"]
    assert len(problems) == 1
    assert str(root / "self") in problems[0]


@pytest.mark.parametrize("name", ["lesion.jpg", "folder", "deep/nested"])
def test_a_dangling_link_is_named(name: str, tmp_path: Path) -> None:
    put(tmp_path, "good.jpg")
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "gone")
    images, _, problems = look(tmp_path)
    assert images == ["good.jpg"]
    assert problems == [f"{link}: is a link whose target does not exist"]


@pytest.mark.parametrize("name", ["pipe.jpg", "pipe"])
def test_pipes_and_sockets_are_never_opened(name: str, tmp_path: Path) -> None:
    put(tmp_path, "good.jpg")
    os.mkfifo(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.png"))
        (tmp_path / "device.jpg").symlink_to("/dev/zero")
        images, passed_over, problems = look(tmp_path)
    assert (images, problems) == (["good.jpg"], [])
    assert passed_over.counts == {walk.NOT_REGULAR: 3}


def test_a_folder_that_cannot_be_read_is_a_problem_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.jpg", "b/2.jpg", "c/3.jpg"):
        put(tmp_path, name)
    real = os.scandir

    def failing(path: Any) -> Any:
        if str(path) == str(tmp_path / "b"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", failing)
    images, _, problems = look(tmp_path)
    assert images == ["a/1.jpg", "c/3.jpg"]
    assert problems == [f"{tmp_path / 'b'}: cannot be read: Input/output error"]


def test_a_folder_without_permission_is_a_problem(tmp_path: Path) -> None:
    """In a process without a superuser's rights, which ignore permissions."""
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "b/2.jpg")
    (tmp_path / "b").chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        f"import os, sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from edge_runtime.io.walk import PassedOver, walk_images\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"for path, problem in walk_images({str(tmp_path)!r}, PassedOver()): print(problem or path)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (tmp_path / "b").chmod(0o755)
    assert finished.stdout.splitlines() == [
        str(tmp_path / "a" / "1.jpg"), f"{tmp_path / 'b'}: cannot be read: Permission denied",
    ]  # fmt: skip


def test_a_root_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert look(tmp_path / "none")[2] == [f"{tmp_path / 'none'}: cannot be read: No such file or directory"]


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    with open(odd, "wb") as file:
        file.write(JPEG)
    assert [os.fsencode(path) for path, _ in walk_images(str(tmp_path), PassedOver())] == [odd]


def test_folders_nested_deeper_than_pythons_stack(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1100):
        folder = folder / "d"
        folder.mkdir()
    put(folder, "lesion.jpg")
    try:
        assert len(look(tmp_path)[0]) == 1
    finally:  # Python 3.11's rmtree would recurse
        (folder / "lesion.jpg").unlink()
        while folder != tmp_path:
            folder.rmdir()
            folder = folder.parent


def test_files_of_every_kind_can_be_walked(tmp_path: Path) -> None:
    put(tmp_path, "lesion.jpg")
    put(tmp_path, "table.csv", b"a,b\n")
    put(tmp_path, "__MACOSX/._table.csv", b"\0\5\x16\7")
    assert [Path(path).name for path, _ in walk_files(str(tmp_path), PassedOver())] == ["lesion.jpg", "table.csv"]


def test_the_shared_case() -> None:
    if not CASES.is_dir():
        pytest.skip(f"the cases are not at {CASES}")
    images, passed_over, problems = look(CASES / "folder-hidden")
    assert (images, problems, passed_over.total) == (["lesion.jpg"], [], 3)
    assert len(look(CASES / "folder-endings")[0]) == 5
