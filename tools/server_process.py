"""A server in a child process, for the commands that put load on it and watch its memory."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_runtime.errors import DermedgeError


@dataclass(frozen=True)
class ServerProcess:
    """A running ``python -m webapp``: where it listens, and its process."""

    host: str
    port: int
    child: subprocess.Popen[str]

    def memory_mib(self) -> tuple[float, float]:
        """Return resident memory now and at its peak, in MiB (Linux)."""
        status = Path(f"/proc/{self.child.pid}/status").read_text(encoding="ascii")
        now, peak = (int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) for name in ("VmRSS", "VmHWM"))  # type: ignore[index]
        return now / 1024, peak / 1024


@contextmanager
def server_process(*flags: str, may_write: bool = False) -> Iterator[ServerProcess]:
    """Start ``python -m webapp`` with these flags on a free port and stop it at the end.

    Unless ``may_write``, the kernel refuses every write of the process to any file (``RLIMIT_FSIZE`` is 0), so an
    upload that touched a disk would show up as a failed request. The process has a temporary folder to itself; raises
    :class:`DermedgeError` when anything is left in it at the end, even an empty file.
    """
    with TemporaryDirectory(prefix="dermedge-server-") as folder:
        with _running(flags, may_write, {**os.environ, "TMPDIR": folder}) as server:
            yield server
        left = sorted(path.name for path in Path(folder).iterdir())
        if left:
            raise DermedgeError(f"the server left files behind: {', '.join(left[:5])}")


@contextmanager
def _running(flags: tuple[str, ...], may_write: bool, environment: dict[str, str]) -> Iterator[ServerProcess]:
    command = [sys.executable, "-m", "webapp", "--port", "0", "--no-supervisor", "--quiet", *flags]
    child = subprocess.Popen(  # noqa: S603 -- our own command line
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=None if may_write else _forbid_writing,
    )
    try:
        assert child.stdout is not None
        address = next((found for line in child.stdout if (found := re.search(r"http://(\S+):(\d+)/", line))), None)
        if address is None:
            raise DermedgeError(f"the server did not start: {' '.join(command)}")
        yield ServerProcess(address[1], int(address[2]), child)
    finally:
        child.terminate()
        child.wait(timeout=60)
        if child.stdout is not None:
            child.stdout.close()


def _forbid_writing() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
