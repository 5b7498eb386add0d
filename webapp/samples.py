"""The sample images of the page: synthetic lesions drawn by this project, none of a patient.

Made with ``python tests/fixtures/make_web_samples.py``.
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.bundle.classes import ClassSet

SAMPLES_FOLDER = Path(__file__).parent / "static" / "samples"


def list_samples(classes: ClassSet) -> dict[str, str]:
    """Return the samples that show one of a model's classes: file name (``<diagnosis>.jpg``) → name of the class."""
    found = {path.name: classes.index_of(path.stem) for path in sorted(SAMPLES_FOLDER.glob("*.jpg"))}
    return {name: classes.classes[index].name for name, index in found.items() if index is not None}
