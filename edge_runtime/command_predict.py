"""``python -m edge_runtime predict``: files, folders and stdin in; lines of text or JSON out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_runtime.classes import CLASSES
from edge_runtime.classifier import Classifier, Prediction, available_processors
from edge_runtime.errors import DermedgeError, ImageError
from edge_runtime.preprocessing import IMAGE_SUFFIXES

_FULL_NAMES = {lesion_class.code: lesion_class.name for lesion_class in CLASSES}


def run_predict(options: argparse.Namespace) -> int:
    """Answer every picture; returns 1 if any could not be read, after answering the others."""
    sources, problems = find_images(options.images)
    several = len(sources) > 1
    processors = options.threads or available_processors()
    # One picture: all threads on it. Several: one thread each, which is the higher throughput.
    threads, replicas = (1, processors) if several else (processors, 1)
    maps = _map_folder(options.explain)
    failed = 0
    with Classifier.load(
        options.bundle, engine=options.engine, precision=options.precision, threads=threads, replicas=replicas
    ) as classifier:
        patient = _patient(options, classifier)
        if classifier.manifest.demo and not options.json:
            print("warning: demo model, trained on generated phantoms: not for any medical purpose", file=sys.stderr)
        answers: Iterable[tuple[Any, Prediction | DermedgeError]] = classifier.predict_many(
            (source if name != "-" else sys.stdin.buffer.read() for name, source in sources),
            explain=maps is not None,
            patient=patient,
        )
        names = [name for name, _ in sources]
        for name, error in problems:
            failed += 1
            _print_error(name, error, options.json)
        for name, (_, answer) in zip(names, _with_progress(answers, len(sources)), strict=True):
            if isinstance(answer, ImageError):
                failed += 1
                _print_error(name, answer, options.json)
            elif isinstance(answer, DermedgeError):
                raise answer
            else:
                if maps is not None:
                    maps.write(name, answer)
                _print_answer(name, answer, options.json)
    return 1 if failed else 0


def find_images(arguments: list[str]) -> tuple[list[tuple[str, str]], list[tuple[str, ImageError]]]:
    """Expand files, folders (recursively, sorted) and ``-`` to ``(name, path)``; also what cannot be expanded."""
    found: list[tuple[str, str]] = []
    problems: list[tuple[str, ImageError]] = []
    for argument in arguments:
        if argument == "-" or not Path(argument).is_dir():
            found.append((argument, argument))
            continue
        pictures = sorted(
            os.path.join(folder, file)
            for folder, _, files in os.walk(argument)
            for file in files
            if file.lower().endswith(IMAGE_SUFFIXES)
        )
        if not pictures:
            problems.append((argument, ImageError(f"{argument}: expected pictures in this folder, found none")))
        found.extend((picture, picture) for picture in pictures)
    return found, problems


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
        from edge_runtime.overlay import encode_png, render_side_by_side

        assert prediction.class_activation_map is not None
        stem = base = Path(name).stem if name != "-" else "stdin"
        number = 1
        while stem in self._used:
            number += 1
            stem = f"{base}-{number}"
        self._used.add(stem)
        path = self._folder / f"{stem}.png"
        try:
            path.write_bytes(encode_png(render_side_by_side(prediction.image_hwc, prediction.class_activation_map)))
        except OSError as error:
            path.unlink(missing_ok=True)
            raise ImageError(f"{path}: cannot be written: {error.strerror or error}") from None


def _map_folder(folder: str | None) -> _MapFolder | None:
    return _MapFolder(Path(folder)) if folder else None


def _patient(options: argparse.Namespace, classifier: Classifier) -> Any:
    given = {"age": options.age, "sex": options.sex, "site": options.site}
    if all(value is None for value in given.values()):
        return None
    if classifier.manifest.patient_metadata is None:
        print("warning: this model does not take age, sex or site; they are ignored", file=sys.stderr)
        return None
    from edge_runtime.patient import PatientMetadata

    return PatientMetadata(**given)


def _with_progress(answers: Iterable[Any], total: int) -> Iterator[Any]:
    if total < 20 or not sys.stderr.isatty():
        yield from answers
        return
    from tqdm import tqdm

    yield from tqdm(answers, total=total, unit="image", file=sys.stderr)


def _print_answer(name: str, prediction: Prediction, as_json: bool) -> None:
    if as_json:
        print(json.dumps(prediction.to_json(name), ensure_ascii=False), flush=True)
        return
    verdicts = {"diagnosis": "", "not_sure": "not sure, most likely ", "not_a_lesion_image": "not a lesion image? "}
    others = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[1:3]
    total_ms = sum(prediction.timing_ms.values())
    print(
        f"{name}: {verdicts[prediction.verdict]}{prediction.label} ({_FULL_NAMES[prediction.label]}) "
        f"{prediction.confidence:.1%}, then {', '.join(f'{code} {value:.1%}' for code, value in others)} "
        f"[{prediction.engine} {prediction.precision}, {total_ms:.1f} ms]",
        flush=True,
    )


def _print_error(name: str, error: ImageError, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"image": name, "error": str(error)}, ensure_ascii=False), flush=True)
    else:
        print(f"error: {error}", file=sys.stderr)
