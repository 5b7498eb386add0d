"""Skin-lesion classification on the device: no torch, no network, one inference engine.

>>> from edge_runtime import Classifier
>>> with Classifier.load("models/demo") as classifier:          # doctest: +SKIP
...     prediction = classifier.predict("lesion.jpg", explain=True)
...     prediction.label, prediction.confidence
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_runtime.version import __version__

__all__ = ["Classifier", "DermedgeError", "Prediction", "__version__"]

# Since 1.32 onnxruntime for Linux records sessions in the temporary folder and sends telemetry. Nothing may leave the
# device and nothing may be written, so this is set before anything can import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from edge_runtime.classifier import Classifier, Prediction
    from edge_runtime.errors import DermedgeError


def __getattr__(name: str) -> object:
    """Import the public names on first use, so that ``import edge_runtime`` costs nothing."""
    if name in ("Classifier", "Prediction"):
        from edge_runtime import classifier

        return getattr(classifier, name)
    if name == "DermedgeError":
        from edge_runtime.errors import DermedgeError

        return DermedgeError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
