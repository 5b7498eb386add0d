"""The ten-line scripts that the command line's cold start and memory are held against."""

from __future__ import annotations

_ONNX = """
import sys
import numpy as np
import onnxruntime
from PIL import Image
bundle, picture = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(f"{bundle}/model.int8.onnx", options, providers=["CPUExecutionProvider"])
image = np.asarray(Image.open(picture).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
print(session.run(None, {"image_nhwc": image[None]})[0])
"""

_TFLITE = """
import sys
import numpy as np
from PIL import Image
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter
bundle, picture = sys.argv[1:]
interpreter = Interpreter(f"{bundle}/model.int8.tflite", num_threads=1)
interpreter.allocate_tensors()
image = np.asarray(Image.open(picture).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""

LAUNCHER = """
import os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0o600)])
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - started, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts the command in its arguments and prints its seconds and its peak memory in MiB."""

COLD_START_SCRIPTS = {"onnx": _ONNX, "tflite": _TFLITE}
"""By engine; each takes a bundle and a picture and prints probabilities."""
