"""What tells a folder of generated phantoms from one of real lesions."""

from __future__ import annotations

from pathlib import Path

DEMO_MARKER = "DEMO.txt"


def is_demo(folder: Path) -> bool:
    """Whether the images are generated phantoms, not lesions: the folder holds the marker ``DEMO.txt``."""
    return (folder / DEMO_MARKER).is_file()
