"""``python -m edge_runtime watch``: classify each image that appears in a folder, once.

The results file is also the record of what is done: an image whose name, size and modification time it holds is not
classified again, not even after a restart or a power cut. A file counts as complete when it has not changed between two
polls.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.classifier import Classifier
from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import WatchOptions
from edge_runtime.errors import DataError, ImageError
from edge_runtime.interruption import Interruption, catch_stop_signals
from edge_runtime.io.output import json_line
from edge_runtime.io.result_file import open_result_file
from edge_runtime.io.sources import images_in

RESULTS_NAME = "dermedge-results.jsonl"


@dataclass(frozen=True)
class FileState:
    """What tells one version of a file from the next: path, size in bytes and modification time in nanoseconds."""

    image: str
    size_bytes: int
    modified_ns: int


def run_watch(options: WatchOptions) -> int:
    """Watch until a stop is requested (or, with ``--once``, until every image has a prediction)."""
    folder = options.folder
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder to watch, found none")
    output = options.output or folder / RESULTS_NAME
    with ExitStack() as stack:
        interruption = stack.enter_context(catch_stop_signals())
        results = stack.enter_context(open_result_file(output, resume=True))
        if results.file_format != "jsonl":
            raise DataError(f"{output}: expected a name ending in .jsonl")
        classifier = stack.enter_context(load_classifier(options))
        done = {FileState(row["image"], row.get("size_bytes", 0), row.get("modified_ns", 0)) for row in results.rows}
        watch = _Watch(classifier, read_patient(options, classifier), results.stream, done)
        watch.run(folder, options.interval, options.once, interruption)
    return 0


class _Watch:
    """The loop's state: what is done, and where predictions go."""

    def __init__(self, classifier: Classifier, patient: Any, stream: Any, done: set[FileState]) -> None:
        self._classifier = classifier
        self._patient = patient
        self._stream = stream
        self._done = done

    def run(self, folder: Path, interval: float, once: bool, interruption: Interruption) -> None:
        seen: set[FileState] = set()
        while not interruption:
            found = {state for path in images_in(str(folder)) if (state := file_state(path))}
            waiting = found - self._done
            for state in sorted(waiting & seen, key=lambda state: (state.modified_ns, state.image)):
                if interruption:
                    return
                self._classify(state)
            self._done &= found  # forget what was removed, so that memory stays flat
            seen = waiting
            if once and waiting <= self._done:
                return
            interruption.wait(interval)

    def _classify(self, state: FileState) -> None:
        try:
            prediction = self._classifier.predict(state.image, patient=self._patient)
            document = prediction.to_json(state.image)
        except ImageError as error:
            document = {"image": state.image, "error": str(error)}
        if file_state(state.image) != state:
            return  # rewritten in the meantime: the next poll sees it again
        line = json_line({**document, "size_bytes": state.size_bytes, "modified_ns": state.modified_ns})
        self._stream.write(line + "\n")
        self._stream.flush()
        self._done.add(state)
        print(line, flush=True)


def file_state(path: str) -> FileState | None:
    """Return the file's state, or ``None`` when it is gone or still empty."""
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return FileState(path, state.st_size, state.st_mtime_ns) if state.st_size else None
