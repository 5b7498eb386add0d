"""From an image to calibrated probabilities: ``Classifier.load(bundle).predict(image)`` → ``Prediction``.

The device has no architecture-specific code. It runs ``features`` once, then ``head`` for the prediction and, on
request, ``explain`` for the class-activation map, all from one variant of the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.bundle.location import find_bundle, read_variant_files
from edge_runtime.bundle.manifest import Manifest, read_manifest
from edge_runtime.engines import backend, variant_read_by
from edge_runtime.errors import DermedgeError, EngineError, ImageError
from edge_runtime.imaging.preprocessing import MAX_PIXELS, load_image_hwc
from edge_runtime.imaging.views import apply_symmetry
from edge_runtime.machine import available_cpus
from edge_runtime.prediction import DEMO_WARNING, Prediction, calibrated_probabilities
from edge_runtime.vocabulary import VIEW_COUNTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_runtime.bundle.patient import PatientMetadata
    from edge_runtime.vocabulary import Verdict

__all__ = ["DEMO_WARNING", "Classifier", "Prediction", "calibrated_probabilities"]


class Classifier:
    """A loaded bundle variant.

    Use :meth:`load`; as a context manager it releases the engine's memory at the end. All methods but :meth:`close`
    may be called from any number of threads at once; ``replicas`` of them run at the same time, the others wait.
    Not to be shared by ``fork``: load one in each process.
    """

    def __init__(
        self,
        bundle: Path,
        manifest: Manifest,
        *,
        engine: str,
        precision: str,
        threads: int,
        replicas: int = 1,
        views: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        module = backend(engine)
        files = read_variant_files(bundle, manifest, variant_read_by(engine, precision))
        self.bundle = bundle
        self.manifest = manifest
        self.class_codes = manifest.class_set.codes
        self.engine = engine
        self.precision = precision
        self.threads = threads
        self.replicas = replicas
        self.views = views
        self.max_pixels = max_pixels
        self._module = module
        self._explain_data = files["explain"]
        self._explain_lock = Lock()
        self._features = module.load_graph(files.pop("features"), threads, replicas)
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
        views: int = 1,
        max_pixels: int | None = None,
    ) -> Classifier:
        """Load a bundle: ``bundle`` or, if ``None``, what :func:`edge_runtime.bundle.location.find_bundle` finds.

        ``engine`` is ``"onnx"``, ``"tflite"``, ``"openvino"`` (which reads the ONNX graphs) or ``"auto"``: the fastest
        installed one, measured once on this machine and remembered.
        ``threads`` is the number of engine threads for one prediction (default: all CPUs); ``replicas`` is the largest
        number of predictions that run at the same time. With ``views`` of 4 or 8 the probabilities are the mean over
        the image's four rotations or all eight symmetries, at 4 or 8 times the cost; class-activation map and outlier
        score stay those of the upright image. Images of more than ``max_pixels`` (default:
        :data:`edge_runtime.imaging.preprocessing.MAX_PIXELS`) are refused before they are decoded.
        Raises :class:`BundleError` or :class:`EngineError`.
        """
        folder = find_bundle(bundle)
        manifest = read_manifest(folder)
        thread_count = threads if threads is not None else available_cpus()
        if thread_count < 1 or replicas < 1:
            raise EngineError(f"expected at least one thread and replica, found {thread_count} and {replicas}")
        if views not in VIEW_COUNTS:
            raise EngineError(f"expected {', '.join(map(str, VIEW_COUNTS))} views, found {views}")
        if engine == "auto":
            from edge_runtime.engines.selection import choose_engine

            engine = choose_engine(folder, manifest, precision, thread_count)
        return cls(
            folder,
            manifest,
            engine=engine,
            precision=precision,
            threads=thread_count,
            replicas=replicas,
            views=views,
            max_pixels=MAX_PIXELS if max_pixels is None else max_pixels,
        )

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the engine. A closed classifier can no longer predict."""
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
        """Classify one image: a path, the bytes of a file, a PIL image or a uint8 array of shape (H, W, 3).

        ``explain=True`` adds the class-activation map of the most probable class, or of ``explain_class``, the code of
        one of the manifest's classes.
        Raises :class:`ImageError` for an unusable image and :class:`EngineError` when the engine fails.
        """
        self._check_class(explain_class)
        image_hwc, decode_ms = self._decode(source)
        return self._classify([image_hwc], [decode_ms], explain, explain_class, patient)[0]

    def predict_batch(
        self,
        sources: Iterable[Any],
        *,
        explain: bool = False,
        explain_class: str | None = None,
        patient: PatientMetadata | None = None,
    ) -> list[Prediction]:
        """Classify several images in one call of the engine, in order; the first unusable one raises.

        ``sources`` are what :meth:`predict` takes; all images are of the same ``patient``. Engines whose graphs take
        one image at a time (TFLite, OpenVINO) are called once per image.
        """
        self._check_class(explain_class)
        decoded = [self._decode(source) for source in sources]
        if not decoded:
            return []
        images, decode_ms = zip(*decoded, strict=True)
        return self._classify(images, decode_ms, explain, explain_class, patient)

    def predict_many(
        self, sources: Iterable[Any], *, batch: int = 1, **options: Any
    ) -> Iterator[tuple[Any, Prediction | DermedgeError]]:
        """Classify any number of images on ``replicas`` threads; yield ``(source, prediction or error)`` in order.

        Decoding runs in parallel with inference. At most four batches per replica are in memory, however long
        ``sources`` is. ``options`` are those of :meth:`predict`.
        """
        from edge_runtime.stream import prediction_stream

        return prediction_stream(lambda chunk: self._predict_chunk(chunk, options), sources, batch, self.replicas)

    def _predict_chunk(self, chunk: list[Any], options: dict[str, Any]) -> list[Prediction | DermedgeError]:
        if len(chunk) > 1:
            try:
                return list(self.predict_batch(chunk, **options))
            except ImageError:
                pass  # one image of the batch is unusable: find out which
        return [self._predict_or_error(source, options) for source in chunk]

    def _predict_or_error(self, source: Any, options: dict[str, Any]) -> Prediction | DermedgeError:
        try:
            return self.predict(source, **options)
        except DermedgeError as error:
            return error

    def _check_class(self, code: str | None) -> None:
        if code is not None and code not in self.class_codes:
            raise EngineError(f"unknown class {code!r}, expected one of {' '.join(self.class_codes)}")

    def _decode(self, source: Any) -> tuple[NDArray[np.uint8], float]:
        started = perf_counter()
        image_hwc = load_image_hwc(source, self.manifest.input.size, max_pixels=self.max_pixels)
        return image_hwc, 1e3 * (perf_counter() - started)

    def _classify(
        self,
        images: Sequence[NDArray[np.uint8]],
        decode_ms: Sequence[float],
        explain: bool,
        explain_class: str | None,
        patient: PatientMetadata | None,
    ) -> list[Prediction]:
        if len(images) > 1 and not self._module.TAKES_BATCHES:
            return [
                self._classify([image], [milliseconds], explain, explain_class, patient)[0]
                for image, milliseconds in zip(images, decode_ms, strict=True)
            ]
        started = perf_counter()
        batch_nhwc = images[0][np.newaxis] if len(images) == 1 else np.stack(images)
        others = [self._features({"image_nhwc": apply_symmetry(batch_nhwc, view)}) for view in range(1, self.views)]
        feature_map = self._features({"image_nhwc": batch_nhwc})["feature_map"]
        featured = perf_counter()
        head_inputs: dict[str, Any] = {"feature_map": feature_map, **self._patient_input(patient, len(images))}
        outputs = self._head(head_inputs)
        probabilities = calibrated_probabilities(outputs["logits"])
        if others:
            logits = [self._head({**head_inputs, **other})["logits"] for other in others]
            probabilities = np.mean([probabilities, *map(calibrated_probabilities, logits)], axis=0)
        predicted = perf_counter()
        timing_ms = {
            "features": 1e3 * (featured - started) / len(images),
            "head": 1e3 * (predicted - featured) / len(images),
        }
        explained = [explain_class or self.class_codes[index] for index in probabilities.argmax(axis=1)]
        maps: Any = [None] * len(images)
        if explain or explain_class is not None:
            maps = self._class_activation_maps(head_inputs, explained)
            timing_ms["explain"] = 1e3 * (perf_counter() - predicted) / len(images)
        return [
            self._prediction(
                image_hwc,
                probabilities[index],
                self._outlier_score(outputs, index),
                {"decode": decode_ms[index], **timing_ms},
                maps[index],
                explained[index],
            )
            for index, image_hwc in enumerate(images)
        ]

    def _prediction(
        self,
        image_hwc: NDArray[np.uint8],
        probabilities: NDArray[np.float64],
        outlier_score: float | None,
        timing_ms: dict[str, float],
        class_activation_map: NDArray[np.float32] | None,
        explained_class: str,
    ) -> Prediction:
        verdict, warning = self._verdict(float(probabilities.max()), outlier_score)
        return Prediction(
            label=self.class_codes[int(probabilities.argmax())],
            probabilities=dict(zip(self.class_codes, probabilities.tolist(), strict=True)),
            verdict=verdict,
            engine=self.engine,
            precision=self.precision,
            timing_ms=timing_ms,
            warnings=(*self._warnings, *warning),
            image_hwc=image_hwc,
            class_activation_map=class_activation_map,
            explained_class=None if class_activation_map is None else explained_class,
            outlier_score=outlier_score,
            views=self.views,
        )

    @staticmethod
    def _outlier_score(outputs: dict[str, Any], index: int) -> float | None:
        scores = outputs.get("outlier_score")
        return None if scores is None else float(scores.reshape(-1)[index])

    def _verdict(self, confidence: float, outlier_score: float | None) -> tuple[Verdict, tuple[str, ...]]:
        thresholds = self.manifest.thresholds
        limit = thresholds.not_lesion_above
        if limit is not None and outlier_score is not None and not outlier_score <= limit:  # also when it is NaN
            return "not_a_lesion_image", ("this does not look like a dermoscopic image",)
        if thresholds.not_sure_below is not None and confidence < thresholds.not_sure_below:
            return "not_sure", (f"not sure: confidence is below {thresholds.not_sure_below:.2f}",)
        return "diagnosis", ()

    def _class_activation_maps(self, head_inputs: dict[str, Any], codes: list[str]) -> NDArray[np.float32]:
        with self._explain_lock:
            if self._explain is None:  # loaded on first use: most predictions need no map
                self._explain = self._module.load_graph(self._explain_data, 1, self.replicas)
        class_weights = np.zeros((len(codes), len(self.class_codes)), dtype=np.float32)
        class_weights[range(len(codes)), [self.class_codes.index(code) for code in codes]] = 1.0
        outputs = self._explain({**head_inputs, "class_weights": class_weights})
        maps: NDArray[np.float32] = outputs["class_activation_map"]
        if not np.isfinite(maps).all():
            raise EngineError(f"{self.engine} returned a class-activation map that is not finite")
        return maps

    def _patient_input(self, patient: PatientMetadata | None, count: int) -> dict[str, NDArray[np.float32]]:
        specification = self.manifest.patient_metadata
        if specification is None:
            return {}
        from edge_runtime.bundle.patient import encode_patient

        return {"metadata": np.repeat(encode_patient(patient, specification)[np.newaxis], count, axis=0)}
