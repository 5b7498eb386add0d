"""The names that command lines, web API and manifest offer as choices; imports nothing of the project.

They are types, so that msgspec structs, argparse and mypy read one list each, and they stand apart from what they name,
so that a parser can offer them without loading an engine or numpy.
"""

from __future__ import annotations

from typing import Literal, get_args

Engine = Literal["onnx", "tflite", "openvino"]
EngineChoice = Literal["auto", "onnx", "tflite", "openvino"]
Precision = Literal["int8", "fp32", "fp16", "dynamic"]
GraphFormat = Literal["onnx", "tflite"]
Role = Literal["features", "head", "explain", "model"]

ViewCount = Literal[1, 4, 8]
"""Views of test-time augmentation: the upright image, its four rotations, or all eight symmetries of the square."""

Verdict = Literal["diagnosis", "not_sure", "not_a_lesion_image"]
OutputFormat = Literal["text", "table", "jsonl", "csv"]
OverlayStyle = Literal["side-by-side", "overlay", "heat"]
Shell = Literal["bash", "zsh", "fish"]

ENGINE_CHOICES: tuple[EngineChoice, ...] = get_args(EngineChoice)
ROLES: tuple[Role, ...] = get_args(Role)
VIEW_COUNTS: tuple[int, ...] = get_args(ViewCount)
