"""The ten-line scripts that the command line's cold start and memory are compared with."""

from __future__ import annotations

_ONNX = """
import sys
import numpy as np
import onnxruntime
from PIL import Image
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
values = np.asarray(Image.open(sys.argv[1]).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))[None]
for path in sys.argv[2:]:
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = session.run(None, {session.get_inputs()[0].name: values})[0]
print(values)
"""

_TFLITE = """
import sys
import numpy as np
from PIL import Image
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter
values = np.asarray(Image.open(sys.argv[1]).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))[None]
for path in sys.argv[2:]:
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    values = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
print(values)
"""

COLD_START_SCRIPTS = {"onnx": _ONNX, "tflite": _TFLITE}
"""By engine: what somebody would write to classify the image with the graph files in ``sys.argv``."""

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
