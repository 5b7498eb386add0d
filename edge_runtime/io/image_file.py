"""Writing an image file atomically."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from PIL import Image

from edge_runtime.errors import DataError
from edge_runtime.imaging.overlay import encode_png


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG next to ``path``, then move it there. Raises :class:`DataError` when that fails."""
    # Not made from the name, which may be as long as the file system allows.
    temporary = path.with_name(f".dermedge-{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(encode_png(image))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
