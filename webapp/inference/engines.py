"""The loaded variants of the bundle: one at the start, the others when a request names them."""

from __future__ import annotations

import threading
from pathlib import Path

from edge_runtime.bundle.manifest import Manifest
from edge_runtime.classifier import Classifier
from edge_runtime.engines import usable_variants
from webapp.configuration import WebConfiguration
from webapp.problems import RefusalError


class Engines:
    """The classifiers of one bundle, by engine and precision. Thread-safe.

    The default variant is loaded, and therefore verified, when the object is made; raises
    :class:`~edge_runtime.errors.DermedgeError` when that fails.
    """

    def __init__(self, configuration: WebConfiguration) -> None:
        self._threads = configuration.threads
        self._replicas = configuration.simultaneous_predictions
        self._max_pixels = configuration.max_pixels
        self._lock = threading.Lock()
        self.default = self._load(configuration.bundle, configuration.engine, configuration.precision)
        self._loaded = {self.default_variant: self.default}

    def _load(self, bundle: Path | None, engine: str, precision: str) -> Classifier:
        return Classifier.load(
            bundle,
            engine=engine,
            precision=precision,
            threads=self._threads,
            replicas=self._replicas,
            max_pixels=self._max_pixels,
        )

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.default.manifest

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.default.bundle

    @property
    def default_variant(self) -> str:
        """Name of the variant for requests that name none, like ``onnx-int8``."""
        return f"{self.default.engine}-{self.default.precision}"

    @property
    def variants(self) -> list[str]:
        """Names of the variants that this server can run: an installed engine and a precision it has graphs for."""
        return usable_variants(self.manifest.variants)

    def select(self, engine: str | None, precision: str | None) -> Classifier:
        """Return the classifier for a request. Raises :class:`RefusalError` (400) naming the choices."""
        if engine in (None, "", "auto"):
            engine = self.default.engine
        name = f"{engine}-{precision or self.default.precision}"
        if name in self._loaded:
            return self._loaded[name]
        if name not in self.variants:
            raise RefusalError(400, f"expected one of the variants {', '.join(self.variants)}, found {name[:40]!r}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(self.bundle, *name.split("-", 1))
            return self._loaded[name]

    def close(self) -> None:
        """Release all engines."""
        for classifier in self._loaded.values():
            classifier.close()
