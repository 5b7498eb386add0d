"""Export a checkpoint and see on your own images what int8 changes: for each image both precisions, side by side.

python -m examples.export_your_checkpoint runs/demo/best.pt models/mine data/demo/HAM10000_images_part_1/*.jpg

What follows -- goes to `python -m export`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from edge_runtime import Classifier


def main() -> int:
    """Read the arguments, export, compare, and return the exit status."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description="Export a checkpoint and compare int8 with fp32 on your images.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path, help="folder to write")
    parser.add_argument("images", type=Path, nargs="+")
    arguments = parser.parse_args(given[:end])

    command = [
        sys.executable,
        "-m",
        "export",
        "--checkpoint",
        str(arguments.checkpoint),
        "--output",
        str(arguments.bundle),
    ]
    if status := subprocess.run([*command, *given[end + 1 :]], check=False).returncode:
        return status
    agreed = 0
    with Classifier.load(arguments.bundle, precision="fp32") as exact, Classifier.load(arguments.bundle) as quantised:
        for image in arguments.images:
            first, second = exact.predict(image), quantised.predict(image)
            shift = max(abs(first.probabilities[code] - second.probabilities[code]) for code in first.probabilities)
            agreed += first.label == second.label
            both = f"fp32 {first.label} {first.confidence:.3f}, int8 {second.label} {second.confidence:.3f}"
            print(f"{image.name}: {both}, largest difference of a probability {shift:.3f}")
    print(f"the same label on {agreed} of {len(arguments.images)} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
