"""``python -m edge_runtime predict``: files, folders, patterns and stdin in; lines of text, JSON or CSV out."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

from edge_runtime.classifier import Classifier
from edge_runtime.cli.options import load_classifier, read_patient
from edge_runtime.errors import DataError, DermedgeError, ImageError
from edge_runtime.interruption import Interruption, catch_stop_signals
from edge_runtime.io.output import AnswerWriter, answer_writer, variant_name
from edge_runtime.io.sources import find_images
from edge_runtime.machine import available_cpus
from edge_runtime.prediction import Prediction


def run_predict(options: argparse.Namespace) -> int:
    """Answer every image; returns 1 if any could not be read, after answering the others."""
    found = find_images(options.images)
    first = list(islice(found, 2))
    processors = options.threads or available_cpus()
    # One image: all threads on it. Several: one thread each, which is the higher throughput.
    threads, replicas = (1, processors) if len(first) > 1 else (processors, 1)
    with ExitStack() as stack:
        interruption = stack.enter_context(catch_stop_signals())
        classifier = stack.enter_context(
            load_classifier(options, warn=options.format in ("text", "table"), threads=threads, replicas=replicas)
        )
        writer, done = _open_writer(options, classifier, stack)
        run = _Run(chain(first, found), done, writer, interruption)
        answers = classifier.predict_many(
            run.sources(), batch=options.batch, explain=bool(options.explain), patient=read_patient(options, classifier)
        )
        run.write(_with_progress(answers, options), _MapFolder(Path(options.explain)) if options.explain else None)
    if options.output or interruption:
        print(f"{run.answered} answered, {run.failed} unusable, {run.skipped} done before", file=sys.stderr)
    return interruption.exit_status or (1 if run.failed else 0)


class _Run:
    """One pass over the images: which name belongs to the next answer, and how many went which way."""

    def __init__(
        self,
        found: Iterable[tuple[str, ImageError | None]],
        done: set[str],
        writer: AnswerWriter,
        interruption: Interruption,
    ) -> None:
        self.answered = self.failed = self.skipped = 0
        self._found = found
        self._done = done
        self._writer = writer
        self._interruption = interruption
        self._names: deque[str] = deque()

    def sources(self) -> Iterator[Any]:
        """Yield what the classifier takes, noting each one's name; stop when asked to."""
        for name, problem in self._found:
            if self._interruption:
                return
            if name in self._done:
                self.skipped += 1
            elif problem is not None:
                self.failed += 1
                self._writer.error(name, problem)
            else:
                self._names.append(name)
                yield sys.stdin.buffer.read() if name == "-" else name

    def write(self, answers: Iterable[tuple[Any, Prediction | DermedgeError]], maps: _MapFolder | None) -> None:
        """Write each answer's line as soon as it is there."""
        for _, answer in answers:
            name = self._names.popleft()
            if isinstance(answer, ImageError):
                self.failed += 1
                self._writer.error(name, answer)
            elif isinstance(answer, DermedgeError):
                raise answer
            else:
                self.answered += 1
                if maps is not None:
                    maps.write(name, answer)
                self._writer.answer(name, answer)


class _MapFolder:
    """Writes overlays as ``<stem>.png``, numbering the stems that occur twice."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{folder}: cannot be made: {error.strerror or error}") from None
        self._folder = folder
        self._used: set[str] = set()

    def write(self, name: str, prediction: Prediction) -> None:
        from edge_runtime.imaging.overlay import render_side_by_side
        from edge_runtime.io.image_file import write_png

        assert prediction.class_activation_map is not None
        stem = base = Path(name).stem if name != "-" else "stdin"
        number = 1
        while stem in self._used:
            number += 1
            stem = f"{base}-{number}"
        self._used.add(stem)
        write_png(
            self._folder / f"{stem}.png", render_side_by_side(prediction.image_hwc, prediction.class_activation_map)
        )


def _open_writer(
    options: argparse.Namespace, classifier: Classifier, stack: ExitStack
) -> tuple[AnswerWriter, set[str]]:
    """Return where the answers go, and the names of the images that a resumed file already has."""
    if not options.output:
        return answer_writer(options.format, sys.stdout), set()
    from edge_runtime.io.result_file import open_result_file

    results = stack.enter_context(open_result_file(Path(options.output), options.resume))
    now = variant_name(classifier.engine, classifier.precision, classifier.views)
    for row in results.rows:
        if "engine" not in row:  # an unusable image
            continue
        before = variant_name(row["engine"], row["precision"], int(row.get("views", 1)))
        if before != now:
            raise DataError(f"{options.output}: was begun with {before}, and this is {now}")
    return answer_writer(results.file_format, results.stream, new=results.new), {row["image"] for row in results.rows}


def _with_progress(answers: Iterable[Any], options: argparse.Namespace) -> Iterable[Any]:
    """Show a bar on a terminal, unless the answers go to the same terminal or there are only a few."""
    if not sys.stderr.isatty() or (sys.stdout.isatty() and not options.output):
        return answers
    total = sum(1 for _ in find_images(options.images))
    if total < 20:
        return answers
    from tqdm import tqdm

    return tqdm(answers, total=total, unit="image", file=sys.stderr)
