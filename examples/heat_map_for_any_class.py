"""Where would the model look for a class that it did not predict? One heat map per class, beside the image.

python -m examples.heat_map_for_any_class lesion.jpg maps/ --classes mel bcc

A map is scaled to its own maximum: it says where the evidence for its class lies, not how strong it is. The
probability in the file's name says that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_runtime import Classifier, DermedgeError
from edge_runtime.imaging.overlay import render_side_by_side


def main() -> int:
    """Read the arguments, write the maps, and return the exit status."""
    parser = argparse.ArgumentParser(description="Write a heat map for each of these classes.")
    parser.add_argument("image", type=Path)
    parser.add_argument("output", type=Path, help="folder for the PNG files")
    parser.add_argument("--classes", nargs="+", metavar="CODE", help="default: all of the bundle")
    parser.add_argument("--bundle", help="default: the newest one under models/")
    arguments = parser.parse_args()

    arguments.output.mkdir(parents=True, exist_ok=True)
    with Classifier.load(arguments.bundle) as classifier:
        for code in arguments.classes or classifier.class_codes:
            prediction = classifier.predict(arguments.image, explain_class=code)
            assert prediction.class_activation_map is not None
            path = arguments.output / f"{arguments.image.stem}-{code}-{prediction.probabilities[code]:.3f}.png"
            render_side_by_side(prediction.image_hwc, prediction.class_activation_map).save(path)
            print(path)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DermedgeError as error:
        sys.exit(f"error: {error}")
