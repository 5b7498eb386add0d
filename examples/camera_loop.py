"""Watch a camera and say so when the prediction has settled: the same label in several frames in a row.

python -m examples.camera_loop 0                     # a USB camera
python -m examples.camera_loop picamera              # a Raspberry Pi's camera
python -m examples.camera_loop photos/ --steady 1    # a folder of images instead of a camera
"""

from __future__ import annotations

import argparse
import sys
from collections import deque

import numpy as np

from edge_runtime import Classifier, DermedgeError
from edge_runtime.io.frames import open_frames


def main() -> int:
    """Read the arguments, watch until the frames end or Ctrl-C, and return the exit status."""
    parser = argparse.ArgumentParser(description="Watch a camera and say when the prediction has settled.")
    parser.add_argument("source", help="a camera's number, picamera, a video file or a folder of images")
    parser.add_argument("--bundle", help="default: the newest one under models/")
    parser.add_argument("--steady", type=int, default=5, help="frames that must agree (default: 5)")
    arguments = parser.parse_args()

    recent: deque[dict[str, float]] = deque(maxlen=arguments.steady)
    settled = None
    with Classifier.load(arguments.bundle) as classifier:
        for frame_hwc in open_frames(arguments.source):
            prediction = classifier.predict(frame_hwc)
            recent.append(prediction.probabilities)
            labels = {max(probabilities, key=probabilities.__getitem__) for probabilities in recent}
            if len(recent) == arguments.steady and len(labels) == 1 and labels != {settled}:
                (settled,) = labels
                confidence = float(np.mean([probabilities[settled] for probabilities in recent]))
                print(f"{settled}  {confidence:.0%} over {arguments.steady} frames  {prediction.verdict}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except DermedgeError as error:
        sys.exit(f"error: {error}")
