"""``python -m edge_runtime predict``: files, folders, patterns and stdin in; lines of text, JSON or CSV out."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from edge_runtime.classifier import Classifier
from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import PredictOptions
from edge_runtime.errors import DataError, DermedgeError, ImageError, printable
from edge_runtime.interruption import Interruption, catch_stop_signals
from edge_runtime.io.output import PredictionWriter, prediction_writer, result_columns
from edge_runtime.io.result_file import (
    FileState,
    ResultFile,
    Row,
    file_state,
    open_result_file,
    run_fields,
    settings_of_run,
)
from edge_runtime.io.sources import find_images, read_stdin
from edge_runtime.io.walk import PassedOver
from edge_runtime.machine import available_cpus
from edge_runtime.prediction import Prediction

if TYPE_CHECKING:
    from edge_runtime.bundle.patient import PatientMetadata
    from edge_runtime.io.map_folder import MapFolder


def run_predict(options: PredictOptions) -> int:
    """Classify every image; returns 1 if any could not be read, after classifying the others."""
    passed_over = PassedOver()
    found = find_images(options.images, passed_over)
    first = list(islice(found, 2))
    cpus = options.threads or available_cpus()
    # One image: all threads on it. Several: one thread each, which is the higher throughput.
    threads, replicas = (1, cpus) if len(first) > 1 else (cpus, 1)
    with ExitStack() as stack:
        interruption = stack.enter_context(catch_stop_signals())
        classifier = stack.enter_context(
            load_classifier(options, warn=options.line_format in ("text", "table"), threads=threads, replicas=replicas)
        )
        patient = read_patient(options, classifier)
        run = _Run(chain(first, found), _open_output(options, classifier, patient, stack), interruption)
        predictions = classifier.predict_many(
            run.sources(), batch=options.batch, explain=bool(options.explain), patient=patient
        )
        run.write(_with_progress(predictions, options))
    for line in passed_over.summary():
        print(printable(line), file=sys.stderr)
    if options.output or interruption:
        print(f"{run.predicted} predicted, {run.failed} unusable, {run.skipped} already done", file=sys.stderr)
    return interruption.exit_status or (1 if run.failed else 0)


class _Run:
    """One pass over the images: which image belongs to the next prediction, and how many ended how."""

    def __init__(
        self,
        found: Iterable[tuple[str, ImageError | None]],
        output: _Output,
        interruption: Interruption,
    ) -> None:
        self.predicted = self.failed = self.skipped = 0
        self._found = found
        self._output = output
        self._interruption = interruption
        self._waiting: deque[tuple[str, FileState | None]] = deque()

    def sources(self) -> Iterator[Any]:
        """Yield what the classifier takes, recording each one's name and state, until a stop is requested."""
        for name, problem in self._found:
            if self._interruption:
                return
            if problem is not None:
                self._fail(name, problem)
                continue
            state = file_state(name) if name != "-" else None  # before it is read, so that a later change shows
            if self._output.holds(name, state):
                self.skipped += 1
            else:
                yield from self._source(name, state)

    def _source(self, name: str, state: FileState | None) -> Iterator[Any]:
        try:
            source = read_stdin() if name == "-" else name
        except ImageError as error:
            self._fail(name, error)
        else:
            self._waiting.append((name, state))
            yield source

    def write(self, predictions: Iterable[tuple[Any, Prediction | DermedgeError]]) -> None:
        """Write each line as soon as its prediction is there."""
        for _, prediction in predictions:
            name, state = self._waiting.popleft()
            if isinstance(prediction, DermedgeError):
                self._fail(name, prediction)
                continue
            try:
                heat_map = self._output.write_map(name, prediction)
            except DataError as error:
                self._fail(name, error)
            else:
                self.predicted += 1
                self._output.write_line(name, prediction, state, heat_map)

    def _fail(self, name: str, error: DermedgeError) -> None:
        self.failed += 1
        self._output.write_error(name, error)


class _Output:
    """Where a run's lines and heat maps go, and what of them a resumed result file already holds.

    ``fields`` are those that the run adds to each line of a result file; lines on standard output have none.
    """

    def __init__(self, writer: PredictionWriter, results: ResultFile | None, fields: dict[str, Any]) -> None:
        self._writer = writer
        self._results = results
        self._fields = fields
        self.maps: MapFolder | None = None

    def holds(self, name: str, state: FileState | None) -> bool:
        """Whether the result file has the prediction of this very file, and its heat map is there if one is wanted."""
        row = self._row(name)
        return (
            row is not None
            and not row.error
            and row.unchanged(state)
            and (self.maps is None or self.maps.holds(name, row))
        )

    def write_map(self, name: str, prediction: Prediction) -> str | None:
        """Write the heat map if one is wanted; return its path. Raises :class:`DataError`."""
        return None if self.maps is None else self.maps.write(name, self._row(name), prediction)

    def write_line(self, name: str, prediction: Prediction, state: FileState | None, heat_map: str | None) -> None:
        """Write the line, after the heat map: whoever reads a line finds its heat map there."""
        more: dict[str, Any] = {}
        if self._results is not None:
            more = {**self._fields, **({"heat_map": heat_map} if heat_map else {}), **(state.fields() if state else {})}
        self._writer.prediction(name, prediction, **more)

    def write_error(self, name: str, error: DermedgeError) -> None:
        """Write why an image has no prediction, unless a resumed file's last line of it says the same."""
        row = self._row(name)
        if row is None or row.error not in (str(error), printable(str(error))):
            self._writer.error(name, error)

    def _row(self, name: str) -> Row | None:
        return self._results.row(name) if self._results is not None else None


def _open_output(
    options: PredictOptions, classifier: Classifier, patient: PatientMetadata | None, stack: ExitStack
) -> _Output:
    """Open where predictions go. Refuses to resume a file of other settings."""
    results, fields, classes = None, run_fields(classifier, patient), classifier.manifest.class_set
    if options.output:
        results = stack.enter_context(open_result_file(options.output, classes.codes, options.resume))
        settings = settings_of_run(classifier, fields, options.explain)
        for row in results.rows.values():
            if row.settings is not None:
                settings.require(row.settings, options.output)
        writer = prediction_writer(
            results.file_format,
            results.stream,
            classes,
            new=results.new,
            name=results.name,
            columns=result_columns(classes.codes),
        )
    else:
        writer = prediction_writer(options.line_format, sys.stdout, classes)
    output = _Output(writer, results, fields)
    if options.explain:
        from edge_runtime.io.map_folder import MapFolder

        output.maps = MapFolder(options.explain, results.rows.values() if results else ())
    return output


def _with_progress(predictions: Iterable[Any], options: PredictOptions) -> Iterable[Any]:
    """Show a progress bar on a terminal, unless predictions go there too or there are only a few."""
    on_terminal = [stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr)]
    if not on_terminal[1] or (on_terminal[0] and not options.output):
        return predictions
    total = sum(1 for _ in find_images(options.images, PassedOver()))
    if total < 20:
        return predictions
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(predictions, total=total, unit="image", file=sys.stderr)
    return bar
