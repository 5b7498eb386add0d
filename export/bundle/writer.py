"""Making a bundle appear whole or not at all.

Everything is written into a hidden folder beside the target, checked there, forced to the disk, and exchanged with
the old bundle in one system call. Whatever goes wrong before that, the old bundle is untouched.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import ExportError

AT_FDCWD = -100
RENAME_EXCHANGE = 2
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
"""Refusals that, whoever was writing, are the disk's."""


@contextlib.contextmanager
def new_bundle(output: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes ``output``, on failure it vanishes.

    Raises :class:`ExportError` naming ``output`` when it cannot be written or is no bundle.
    """
    _refuse_other_folders(output)
    partial = output.with_name(f".{output.name}.partial-{os.getpid()}")
    try:
        with _writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(output)
            partial.mkdir()
        with _writing(output, DISK_ERRORS):
            yield partial
        with _writing(output):
            _force_to_disk(partial)
            _put_in_place(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _writing(output: Path, numbers: frozenset[int] | None = None) -> Iterator[None]:
    """Turn refusals to write (all, or those with an ``errno`` in ``numbers``) into one line that names the bundle."""
    try:
        yield
    except OSError as error:
        if numbers is not None and error.errno not in numbers:
            raise
        raise ExportError(f"{output}: cannot be written: {error.strerror or error}") from None


def _refuse_other_folders(output: Path) -> None:
    """Never replace a folder that is not a bundle: it may be a home folder."""
    if output.is_dir() and any(output.iterdir()) and not (output / "manifest.json").is_file():
        raise ExportError(f"{output}: expected a bundle or an empty place, found a folder without manifest.json")
    if output.exists() and not output.is_dir():
        raise ExportError(f"{output}: expected a folder or nothing, found a file")


def _remove_abandoned(output: Path) -> None:
    """Remove what exports that were killed have left behind."""
    for folder in output.parent.glob(f".{output.name}.partial-*"):
        process = folder.name.rpartition("-")[2]
        if process.isdigit() and not _is_running(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _force_to_disk(folder: Path) -> None:
    for path in [*sorted(folder.iterdir()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put_in_place(partial: Path, output: Path) -> None:
    if not output.exists():
        partial.rename(output)
    elif not _exchange(partial, output):
        # No atomic exchange on this system: for a moment there is no bundle, but never half a one.
        aside = output.with_name(f".{output.name}.partial-old-{os.getpid()}")
        output.rename(aside)
        partial.rename(output)
        shutil.rmtree(aside, ignore_errors=True)
    descriptor = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders atomically (Linux ≥ 3.15); returns whether the system could."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    return library.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0
