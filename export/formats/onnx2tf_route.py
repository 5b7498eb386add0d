"""The second way to TFLite: PyTorch → ONNX → onnx2tf, which needs TensorFlow and so an environment of its own.

``make setup-onnx2tf`` builds that environment; :mod:`export.formats.onnx2tf_child` runs in it as a child process.
Only the conversion differs between the routes: int8, fp16 and dynamic range are made from either route's fp32 files by
the same code, so that any difference between their files comes from the converters. onnx2tf 1.29.24 is the newest for
Python 3.11; its successors' back end without TensorFlow needs Python 3.12.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from edge_runtime.bundle.manifest import Role
from edge_runtime.errors import ExportError
from export.formats import onnx2tf_child
from export.formats.onnx_writer import write_onnx
from export.roles.split_model import RoleGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

INTERPRETER = Path(__file__).resolve().parents[2] / ".venv-onnx2tf" / "bin" / "python"
LOG_CHARACTERS = 4000


def check_environment() -> None:
    """Raise :class:`ExportError` that says what to do when onnx2tf's environment is not there."""
    if not INTERPRETER.is_file():
        raise ExportError("onnx2tf is not installed: make setup-onnx2tf, or use --tflite-via litert-torch")


def convert_roles(graphs: dict[Role, RoleGraph], images: NDArray[np.uint8]) -> dict[Role, bytes]:
    """Return the roles as fp32 TFLite files.

    ``graphs`` are channels first, images included: onnx2tf transposes inputs and outputs to NHWC itself, and where it
    need not be told to keep any, no transposition is left. ``images`` [N,S,S,3] are some images of the real kind.
    """
    check_environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for role, graph in graphs.items():
            write_onnx(graph, folder / f"{role}.onnx", {}, fixed_batch=True)
        np.save(folder / "sample.npy", sample_images(images))
        _run_child(folder)
        return {role: (folder / f"{role}.tflite").read_bytes() for role in graphs}


def sample_images(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 [20,128,128,3] in 0..1 of the images, again from the first one where they are too few."""
    side = (128, 128)
    chosen = [Image.fromarray(images[index % len(images)]).resize(side) for index in range(20)]
    return np.stack([np.asarray(image, np.float32) / 255 for image in chosen])


def _run_child(folder: Path) -> None:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | quiet
    command = [str(INTERPRETER), "-W", "ignore", str(onnx2tf_child.__file__), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        if os.environ.get("DERMEDGE_VERBOSE"):
            print((result.stdout + result.stderr)[-LOG_CHARACTERS:], file=sys.stderr)
        raise ExportError(f"onnx2tf failed: {lines[-1]}")
