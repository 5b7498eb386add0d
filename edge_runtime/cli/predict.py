"""``python -m edge_runtime predict``: files, folders, patterns and stdin in; lines of text, JSON or CSV out."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

from edge_runtime.classifier import Classifier
from edge_runtime.cli.loading import load_classifier, read_patient
from edge_runtime.cli.options import PredictOptions
from edge_runtime.errors import DataError, DermedgeError, ImageError, printable
from edge_runtime.interruption import Interruption, catch_stop_signals
from edge_runtime.io.output import PredictionWriter, prediction_writer, variant_name
from edge_runtime.io.sources import find_images, read_stdin
from edge_runtime.io.walk import PassedOver
from edge_runtime.machine import available_cpus
from edge_runtime.prediction import Prediction


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
        writer, rows = _open_writer(options, classifier, stack)
        run = _Run(chain(first, found), {row["image"] for row in rows}, writer, interruption)
        maps = _MapFolder(options.explain, rows) if options.explain else None
        predictions = classifier.predict_many(
            run.sources(), batch=options.batch, explain=bool(options.explain), patient=read_patient(options, classifier)
        )
        run.write(_with_progress(predictions, options), maps)
    for line in passed_over.summary():
        print(printable(line), file=sys.stderr)
    if options.output or interruption:
        print(f"{run.predicted} predicted, {run.failed} unusable, {run.skipped} already done", file=sys.stderr)
    return interruption.exit_status or (1 if run.failed else 0)


class _Run:
    """One pass over the images: which name belongs to the next prediction, and how many ended how."""

    def __init__(
        self,
        found: Iterable[tuple[str, ImageError | None]],
        done: set[str],
        writer: PredictionWriter,
        interruption: Interruption,
    ) -> None:
        self.predicted = self.failed = self.skipped = 0
        self._found = found
        self._done = done
        self._writer = writer
        self._interruption = interruption
        self._names: deque[str] = deque()

    def sources(self) -> Iterator[Any]:
        """Yield what the classifier takes, recording each one's name, until a stop is requested."""
        for name, problem in self._found:
            if self._interruption:
                return
            if name in self._done or printable(name) in self._done:  # as CSV has it
                self.skipped += 1
            elif problem is not None:
                self.failed += 1
                self._writer.error(name, problem)
            else:
                yield from self._source(name)

    def _source(self, name: str) -> Iterator[Any]:
        try:
            source = read_stdin() if name == "-" else name
        except ImageError as error:
            self.failed += 1
            self._writer.error(name, error)
        else:
            self._names.append(name)
            yield source

    def write(self, predictions: Iterable[tuple[Any, Prediction | DermedgeError]], maps: _MapFolder | None) -> None:
        """Write each line as soon as its prediction is there."""
        for _, prediction in predictions:
            name = self._names.popleft()
            if isinstance(prediction, DermedgeError):
                self.failed += 1
                self._writer.error(name, prediction)
            else:
                self._write_one(name, prediction, maps)

    def _write_one(self, name: str, prediction: Prediction, maps: _MapFolder | None) -> None:
        """Write the heat map, then the line: whoever reads a line finds its heat map there."""
        try:
            if maps is not None:
                maps.write(name, prediction)
        except DataError as error:
            self.failed += 1
            self._writer.error(name, error)
        else:
            self.predicted += 1
            self._writer.prediction(name, prediction)


class _MapFolder:
    """Writes overlays as ``<stem>.png``, numbering the stems that occur twice.

    ``rows`` are the predictions that a resumed file already has, in its order: their overlays keep their names.
    """

    def __init__(self, folder: Path, rows: Iterable[dict[str, Any]]) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{folder}: cannot be made: {error.strerror or error}") from None
        self._folder = folder
        self._used: set[str] = set()
        for row in rows:
            if "engine" in row:  # an unusable image has no overlay
                self._used.add(self._free_stem(row["image"]).casefold())

    def write(self, name: str, prediction: Prediction) -> None:
        from edge_runtime.imaging.overlay import render_side_by_side
        from edge_runtime.io.image_file import write_png

        assert prediction.class_activation_map is not None
        stem = self._free_stem(name)
        write_png(
            self._folder / f"{stem}.png", render_side_by_side(prediction.image_hwc, prediction.class_activation_map)
        )
        self._used.add(stem.casefold())  # only what was written counts, as only that has a line to resume from

    def _free_stem(self, name: str) -> str:
        """Return the stem for an image, not taken yet on file systems that ignore case either."""
        stem = base = Path(name).stem if name != "-" else "stdin"
        number = 1
        while stem.casefold() in self._used:
            number += 1
            stem = f"{base}-{number}"
        return stem


def _open_writer(
    options: PredictOptions, classifier: Classifier, stack: ExitStack
) -> tuple[PredictionWriter, list[dict[str, Any]]]:
    """Return where predictions go, and the rows that a resumed file already has."""
    if not options.output:
        return prediction_writer(options.line_format, sys.stdout), []
    from edge_runtime.io.result_file import open_result_file

    results = stack.enter_context(open_result_file(options.output, options.resume))
    now = variant_name(classifier.engine, classifier.precision, classifier.views)
    for row in results.rows:
        if "engine" not in row:  # an unusable image
            continue
        before = variant_name(row["engine"], row["precision"], int(row.get("views", 1)))
        if before != now:
            raise DataError(f"{options.output}: was begun with {before}, but this run uses {now}")
    writer = prediction_writer(results.file_format, results.stream, new=results.new, name=results.name)
    return writer, results.rows


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
