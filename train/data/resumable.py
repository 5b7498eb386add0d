"""A downloader for pooch that survives dropped connections and goes on where an earlier attempt stopped."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from edge_runtime.errors import DataError

ATTEMPTS = 8
CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30


class ResumingDownloader:
    """Called by pooch with a URL and the file to write. Proxies come from the environment, as requests reads them.

    What has arrived is kept in ``<name>.part`` beside the result, so that the next attempt, or the next run, asks for
    the rest only. Raises :class:`DataError` after ``attempts`` attempts in a row that brought nothing new.
    """

    def __init__(self, part: Path, attempts: int = ATTEMPTS, first_wait_seconds: float = 1.0) -> None:
        self.part = part
        self.attempts = attempts
        self.first_wait_seconds = first_wait_seconds

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        """Download ``url`` completely, then move it to ``output_file``."""
        failures, reason = 0, ""
        while failures < self.attempts:
            before = self._have()
            try:
                if self._fetch_rest(url):
                    self.part.replace(output_file)
                    return
                reason = "the connection was closed early"
            except requests.HTTPError as error:
                response = error.response
                reason = f"{response.status_code} {response.reason}" if response is not None else str(error)
                if response is not None and response.status_code < 500:
                    raise DataError(f"{url}: {reason}") from None
            except requests.RequestException as error:
                reason = type(error).__name__
            failures = 0 if self._have() > before else failures + 1
            time.sleep(self.first_wait_seconds * 2 ** max(0, failures - 1) if failures else 0)
        raise DataError(f"{url}: cannot be downloaded ({reason}); run again to resume")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _fetch_rest(self, url: str) -> bool:
        """Ask for what is missing and append it; returns whether the file is complete now."""
        have = self._have()
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, stream=True, timeout=TIMEOUT_SECONDS, headers=headers) as response:
            if response.status_code == 416:  # nothing lies beyond what we have: it is complete, or of another file
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
                if total == str(have):
                    return True
                self.part.unlink()
                return False
            response.raise_for_status()
            appending = response.status_code == 206
            length = response.headers.get("Content-Length")
            total_bytes = None if length is None else int(length) + (have if appending else 0)
            hidden = not sys.stderr.isatty()
            with (
                self.part.open("ab" if appending else "wb") as file,
                tqdm(
                    total=total_bytes, initial=have if appending else 0, unit="B", unit_scale=True, disable=hidden,
                    desc=self.part.stem,
                ) as progress,
            ):  # fmt: skip
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    progress.update(len(chunk))
        return total_bytes is None or self._have() == total_bytes
