"""The main job on generated data, in four commands that anyone can type: ``python -m tools.demo`` (``make demo``)."""

from __future__ import annotations

import shlex
import subprocess
import sys

from tools.processes import REPOSITORY

IMAGES = "data/demo/HAM10000_images_part_1/ISIC_0000001.jpg data/demo/HAM10000_images_part_1/ISIC_0000002.jpg"
COMMANDS = (
    "train --preset demo --name demo",
    "export --checkpoint runs/demo/best.pt --output models/demo",
    f"edge_runtime predict {IMAGES} --bundle models/demo --engine onnx --explain runs/demo/maps",
    f"edge_runtime predict {IMAGES} --bundle models/demo --engine tflite",
)
NEXT = """
Done. The bundle is models/demo/, the Grad-CAM overlays are in runs/demo/maps/.
Next: make web (then open http://127.0.0.1:8000), make evaluate, make bench, or train on real data:
make train DATA=path/to/ham10000"""


def main() -> int:
    """Run the commands one after the other and stop at the first that fails, with its exit status."""
    for command in COMMANDS:
        print(f"python -m {command}", flush=True)
        status = subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=REPOSITORY, check=False).returncode  # noqa: S603
        if status:
            return status
    print(NEXT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
