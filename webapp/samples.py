"""The sample images of the page: synthetic lesions drawn by this project, none of a patient.

Made with ``python tests/fixtures/make_web_samples.py``.
"""

from __future__ import annotations

from pathlib import Path

SAMPLES_FOLDER = Path(__file__).parent / "static" / "samples"


def list_samples() -> list[str]:
    """Return the file names of the samples, in class order (a name is ``<class code>.jpg``)."""
    return sorted(path.name for path in SAMPLES_FOLDER.glob("*.jpg"))
