"""How good is a bundle on your own images? A folder with a subfolder per class code of the bundle.

python -m examples.evaluate_your_data photos/ --bundle models/ham10000-resnet18

Prints sensitivity by class with a 95 % interval, and balanced accuracy. It needs the device's packages only. For
calibration, subgroups and curves, `python -m train.evaluate --bundle … --data photos/ --split all` writes a report.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from math import sqrt
from pathlib import Path

from edge_runtime import Classifier, DermedgeError


def wilson_interval(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927)."""
    z = 1.96
    centre, spread = hits + z * z / 2, z * sqrt(hits * (total - hits) / total + z * z / 4)
    return (centre - spread) / (total + z * z), (centre + spread) / (total + z * z)


def main() -> int:
    """Read the arguments, classify, print the results, and return the exit status."""
    parser = argparse.ArgumentParser(description="How good is a bundle on your own images?")
    parser.add_argument("folder", type=Path, help="with a subfolder per class code")
    parser.add_argument("--bundle", help="default: the newest one under models/")
    arguments = parser.parse_args()

    seen: Counter[str] = Counter()
    right: Counter[str] = Counter()
    with Classifier.load(arguments.bundle) as classifier:
        codes = [one.code for one in classifier.manifest.classes]
        images = [path for code in codes for path in sorted((arguments.folder / code).glob("*"))]
        for path, prediction in classifier.predict_many(images):
            if isinstance(prediction, DermedgeError):
                print(f"skipped: {prediction}", file=sys.stderr)
                continue
            seen[path.parent.name] += 1
            right[path.parent.name] += prediction.label == path.parent.name
    if not seen:
        print(f"error: {arguments.folder}: expected images in subfolders named {' '.join(codes)}", file=sys.stderr)
        return 1
    for code in filter(seen.__getitem__, codes):
        low, high = wilson_interval(right[code], seen[code])
        print(f"{code:>6}  sensitivity {right[code] / seen[code]:.3f} ({low:.3f} to {high:.3f})  {seen[code]} images")
    balanced = sum(right[code] / seen[code] for code in seen) / len(seen)
    print(f"balanced accuracy {balanced:.3f} over {len(seen)} classes and {seen.total()} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
