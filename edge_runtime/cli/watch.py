"""``python -m edge_runtime watch``: classify each image that appears in a folder, once.

The results file is also the record of what is done: an image whose name, size and times it holds, from the
same bundle, variant and patient's data, is not classified again, not even after a restart or a power cut. A file counts
as complete when it has not changed between two polls.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from edge_runtime.bundle.patient import PatientMetadata
from edge_runtime.classifier import Classifier
from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import WatchOptions
from edge_runtime.errors import DataError, DermedgeError, printable
from edge_runtime.interruption import Interruption, catch_stop_signals
from edge_runtime.io.output import json_line, write_text
from edge_runtime.io.result_file import FileState, ResultFile, file_state, open_result_file, run_fields, settings_of_run
from edge_runtime.io.walk import NOT_AN_IMAGE, PassedOver, walk_images

RESULTS_NAME = "dermedge-results.jsonl"


def run_watch(options: WatchOptions) -> int:
    """Watch until a stop is requested or, with ``--once``, until every image has a prediction.

    With ``--once`` it returns 1 when something in the folder could not be read.
    """
    folder = options.folder
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder to watch, found none")
    output = options.output or folder / RESULTS_NAME
    with ExitStack() as stack:
        interruption = stack.enter_context(catch_stop_signals())
        classifier = stack.enter_context(load_classifier(options))
        results = stack.enter_context(open_result_file(output, classifier.class_codes, resume=True))
        if results.file_format != "jsonl":
            raise DataError(f"{output}: expected a name ending in .jsonl")
        watch = _Watch(classifier, read_patient(options, classifier), results)
        return watch.run(str(folder), options.interval, options.once, interruption)


class _Watch:
    """The loop's state: what is done, what was reported, and where predictions go."""

    def __init__(self, classifier: Classifier, patient: PatientMetadata | None, results: ResultFile) -> None:
        self._classifier = classifier
        self._patient = patient
        self._results = results
        self._fields = run_fields(classifier, patient)
        settings = settings_of_run(classifier, self._fields, None)
        rows = [row for row in results.rows.values() if row.settings is not None]
        self._done = {row.state for row in rows if row.state is not None and row.settings == settings}
        self._reported: set[str] = set()
        others = sum(row.settings != settings for row in rows)
        if others:
            print(
                f"{results.name}: {others} predictions are of another bundle or of other settings; "
                "images that are still there are classified again",
                file=sys.stderr,
            )

    def run(self, folder: str, interval: float, once: bool, interruption: Interruption) -> int:
        """Poll the folder; returns the exit status."""
        seen: set[FileState] = set()
        while not interruption:
            found, complete = self._look(folder)
            waiting = found - self._done
            for state in sorted(waiting & seen, key=lambda state: (state.modified_ns, state.image)):
                if interruption:
                    return 0
                self._classify(state)
            if complete:
                self._done &= found  # forget what was removed, so that memory stays flat
            seen = waiting
            if once and waiting <= self._done:
                return 0 if complete else 1
            interruption.wait(interval)
        return 0

    def _look(self, folder: str) -> tuple[set[FileState], bool]:
        """Return the images that are there now, and whether everything in the folder could be read."""
        passed_over = PassedOver()
        found: set[FileState] = set()
        problems: list[str] = []
        for path, problem in walk_images(folder, passed_over):
            state = file_state(path)
            if problem is not None:
                problems.append(f"error: {problem}")
            elif state is not None and state.size_bytes:  # an empty file is still to be written
                found.add(state)
        passed_over.forget(NOT_AN_IMAGE)
        for line in [*problems, *passed_over.summary()]:
            if line not in self._reported:
                self._reported.add(line)
                print(printable(line), file=sys.stderr)
        return found, not problems

    def _classify(self, state: FileState) -> None:
        try:
            prediction = self._classifier.predict(state.image, patient=self._patient)
            document = {**prediction.to_json(state.image), **self._fields}
        except DermedgeError as error:
            document = {"image": state.image, "error": str(error)}
        if file_state(state.image) != state:
            return  # rewritten in the meantime: the next poll sees it again
        document = {**document, **state.fields()}
        self._done.add(state)
        row = self._results.row(state.image)
        if row is not None and row.unchanged(state) and row.error and row.error == document.get("error"):
            return  # the file's last line of this image says the same
        write_text(self._results.stream, json_line(document) + "\n", self._results.name)
        if sys.stdout is not None:
            write_text(sys.stdout, json_line(document, sys.stdout) + "\n")
