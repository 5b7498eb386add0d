"""Classify every image of a folder and write a table.

python -m examples.classify_folder photos/ > predictions.csv

An image that cannot be read gets a row with its error; the others go on. The exit status is 1 if there was one.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from edge_runtime import Classifier, DermedgeError


def main() -> int:
    """Read the arguments, classify, and return the exit status."""
    parser = argparse.ArgumentParser(description="Classify every image of a folder and write a table.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path, help="default: the newest one under models/")
    arguments = parser.parse_args()
    images = sorted(path for path in arguments.folder.rglob("*") if path.is_file())

    table = csv.writer(sys.stdout)
    table.writerow(["image", "label", "confidence", "verdict", "error"])
    failed = False
    with Classifier.load(arguments.bundle) as classifier:
        for path, prediction in classifier.predict_many(images):
            if isinstance(prediction, DermedgeError):
                table.writerow([path, "", "", "", prediction])
                failed = True
            else:
                table.writerow([path, prediction.label, f"{prediction.confidence:.3f}", prediction.verdict, ""])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
