"""From a picture to a calibrated answer: ``Classifier.load(bundle)`` → ``classifier.predict(image)`` → ``Prediction``.

The device has no architecture-specific code. It runs ``features`` once, then ``head`` for the answer and, when asked,
``explain`` for the map, all from one variant of the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.backends import backend
from edge_runtime.bundle import find_bundle, read_variant_files
from edge_runtime.classes import CLASS_CODES
from edge_runtime.errors import DermedgeError, EngineError
from edge_runtime.manifest import Manifest, read_manifest
from edge_runtime.preprocessing import load_image_hwc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.patient import PatientMetadata

DEMO_WARNING = "demo model: trained on generated phantoms, not on patients; its answers mean nothing medically"


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture.

    ``probabilities`` are calibrated, finite and sum to one, in class order. ``verdict`` is ``"diagnosis"``,
    ``"not_sure"`` (confidence under the bundle's threshold) or ``"not_a_lesion_image"``; ``label`` is the most probable
    class in any case. ``timing_ms`` holds milliseconds for ``decode``, ``features``, ``head`` and, if asked,
    ``explain``. ``image_hwc`` is what the graph saw, uint8 (size, size, 3); ``class_activation_map`` is float32
    (rows, columns), non-negative, for ``explained_class``.
    """

    label: str
    probabilities: dict[str, float]
    verdict: str
    engine: str
    precision: str
    timing_ms: dict[str, float]
    warnings: tuple[str, ...]
    image_hwc: NDArray[np.uint8]
    class_activation_map: NDArray[np.float32] | None = None
    explained_class: str | None = None

    @property
    def confidence(self) -> float:
        """Probability of ``label``, 0..1."""
        return self.probabilities[self.label]

    def to_json(self, image: str | None = None) -> dict[str, Any]:
        """Return the object that ``--json`` and the web app answer with, ready for ``json.dumps``."""
        return {
            "image": image,
            "label": self.label,
            "probabilities": self.probabilities,
            "verdict": self.verdict,
            "engine": self.engine,
            "precision": self.precision,
            "timing_ms": {stage: round(milliseconds, 3) for stage, milliseconds in self.timing_ms.items()},
            "warnings": list(self.warnings),
        }


class Classifier:
    """A loaded bundle variant. :meth:`predict` may be called from any number of threads.

    Use :meth:`load`; as a context manager it releases the engine's memory at the end.
    """

    def __init__(self, bundle: Path, manifest: Manifest, engine: str, precision: str, threads: int, replicas: int):
        module = backend(engine)
        files = read_variant_files(bundle, manifest, f"{engine}-{precision}")
        self.bundle = bundle
        self.manifest = manifest
        self.engine = engine
        self.precision = precision
        self.threads = threads
        self.replicas = replicas
        self._module = module
        self._explain_data = files["explain"]
        self._features = module.load_graph(files["features"], threads, replicas)
        self._head = module.load_graph(files["head"], 1, replicas)
        self._explain: Any = None
        self._warnings = (DEMO_WARNING,) if manifest.demo else ()

    @classmethod
    def load(
        cls,
        bundle: str | os.PathLike[str] | None = None,
        *,
        engine: str = "auto",
        precision: str = "int8",
        threads: int | None = None,
        replicas: int = 1,
    ) -> Classifier:
        """Load a bundle: ``bundle`` or, if ``None``, what :func:`edge_runtime.bundle.find_bundle` finds.

        ``engine`` is ``"onnx"``, ``"tflite"`` or ``"auto"`` (the faster one here, measured once and remembered).
        ``threads`` are the engine's for one prediction (default: all processors); ``replicas`` is how many
        predictions run at the same time at most. Raises :class:`BundleError` or :class:`EngineError`.
        """
        folder = find_bundle(bundle)
        manifest = read_manifest(folder)
        thread_count = threads if threads is not None else available_processors()
        if thread_count < 1:
            raise EngineError(f"expected at least one thread, found {thread_count}")
        if engine == "auto":
            from edge_runtime.engine_choice import choose_engine

            engine = choose_engine(folder, manifest, precision, thread_count)
        return cls(folder, manifest, engine, precision, thread_count, replicas)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the engine. A closed classifier cannot predict any more."""
        self._features = self._head = self._explain = self._closed

    @staticmethod
    def _closed(_: object) -> Any:
        raise EngineError("this classifier is closed")

    def predict(
        self,
        source: Any,
        *,
        explain: bool = False,
        explain_class: str | None = None,
        patient: PatientMetadata | None = None,
    ) -> Prediction:
        """Classify one picture: a path, the bytes of a file, a PIL image or a uint8 array of shape (H, W, 3).

        ``explain=True`` adds the class-activation map of the most probable class, or of ``explain_class``.
        Raises :class:`ImageError` for an unusable picture and :class:`EngineError` when the engine fails.
        """
        started = perf_counter()
        image_hwc = load_image_hwc(source, self.manifest.input.size)
        decoded = perf_counter()
        return self._classify(image_hwc, 1e3 * (decoded - started), explain, explain_class, patient)

    def predict_batch(self, sources: Iterable[Any], **options: Any) -> list[Prediction]:
        """Classify several pictures, in order; the first unusable one raises."""
        return [self.predict(source, **options) for source in sources]

    def predict_many(self, sources: Iterable[Any], **options: Any) -> Iterator[tuple[Any, Prediction | DermedgeError]]:
        """Classify any number of pictures on ``replicas`` threads; yield ``(source, answer or error)`` in order.

        At most four pictures per replica are in memory, however long ``sources`` is.
        """
        remaining = iter(sources)
        with ThreadPoolExecutor(self.replicas) as pool:
            pending: list[tuple[Any, Future[Prediction | DermedgeError]]] = []

            def submit(source: Any) -> None:
                pending.append((source, pool.submit(self._predict_or_error, source, options)))

            for source in islice(remaining, 4 * self.replicas):
                submit(source)
            while pending:
                source, future = pending.pop(0)
                answer = future.result()
                for following in islice(remaining, 1):
                    submit(following)
                yield source, answer

    def _predict_or_error(self, source: Any, options: dict[str, Any]) -> Prediction | DermedgeError:
        try:
            return self.predict(source, **options)
        except DermedgeError as error:
            return error

    def _classify(
        self,
        image_hwc: NDArray[np.uint8],
        decode_ms: float,
        explain: bool,
        explain_class: str | None,
        patient: PatientMetadata | None,
    ) -> Prediction:
        started = perf_counter()
        feature_map = self._features({"image_nhwc": image_hwc[np.newaxis]})["feature_map"]
        featured = perf_counter()
        head_inputs: dict[str, Any] = {"feature_map": feature_map, **self._patient_input(patient)}
        outputs = self._head(head_inputs)
        probabilities = calibrated_probabilities(outputs["logits"])[0]
        answered = perf_counter()
        timing_ms = {"decode": decode_ms, "features": 1e3 * (featured - started), "head": 1e3 * (answered - featured)}
        label = CLASS_CODES[int(probabilities.argmax())]
        class_activation_map = None
        explained_class = None
        if explain or explain_class is not None:
            explained_class = explain_class or label
            class_activation_map = self._explain_class(head_inputs, explained_class)
            timing_ms["explain"] = 1e3 * (perf_counter() - answered)
        verdict, warning = self._verdict(float(probabilities.max()), outputs)
        return Prediction(
            label=label,
            probabilities=dict(zip(CLASS_CODES, probabilities.tolist(), strict=True)),
            verdict=verdict,
            engine=self.engine,
            precision=self.precision,
            timing_ms=timing_ms,
            warnings=(*self._warnings, *warning),
            image_hwc=image_hwc,
            class_activation_map=class_activation_map,
            explained_class=explained_class,
        )

    def _verdict(self, confidence: float, outputs: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
        thresholds = self.manifest.thresholds
        outlier_score = outputs.get("outlier_score")
        limit = thresholds.not_lesion_above
        if limit is not None and outlier_score is not None and not float(outlier_score.reshape(-1)[0]) <= limit:
            return "not_a_lesion_image", ("this does not look like a dermatoscopic image",)
        if thresholds.not_sure_below is not None and confidence < thresholds.not_sure_below:
            return "not_sure", (f"not sure: confidence is below {thresholds.not_sure_below:.2f}",)
        return "diagnosis", ()

    def _explain_class(self, head_inputs: dict[str, Any], code: str) -> NDArray[np.float32]:
        if code not in CLASS_CODES:
            raise EngineError(f"unknown class {code!r}, expected one of {' '.join(CLASS_CODES)}")
        if self._explain is None:  # loaded on first use: most predictions need no map
            self._explain = self._module.load_graph(self._explain_data, 1, self.replicas)
        class_weights = np.zeros((1, len(CLASS_CODES)), dtype=np.float32)
        class_weights[0, CLASS_CODES.index(code)] = 1.0
        class_activation_map = self._explain({**head_inputs, "class_weights": class_weights})["class_activation_map"][0]
        if not np.isfinite(class_activation_map).all():
            raise EngineError(f"{self.engine} returned a class-activation map that is not finite")
        return class_activation_map

    def _patient_input(self, patient: PatientMetadata | None) -> dict[str, NDArray[np.float32]]:
        specification = self.manifest.patient_metadata
        if specification is None:
            return {}
        from edge_runtime.patient import PatientMetadata, encode_patient

        return {"metadata": encode_patient(patient or PatientMetadata(), specification)[np.newaxis]}


def calibrated_probabilities(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Softmax over the last axis in float64. Raises :class:`EngineError` when a logit is not finite."""
    if not np.isfinite(logits).all():
        raise EngineError("the engine returned logits that are not finite")
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def available_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
