"""The names that may not be imported where they are offered are the names of the real things."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import import_module
from typing import get_args

import numpy as np
import pytest

from edge_runtime import vocabulary
from edge_runtime.bundle.classes import ham10000
from edge_runtime.bundle.manifest import Variant
from edge_runtime.cli.parser import COMMANDS
from edge_runtime.engines import ENGINES, GRAPH_FORMATS
from edge_runtime.imaging.views import apply_symmetry
from edge_runtime.io.output import prediction_writer
from tests.conftest import REPOSITORY


def test_engines_and_formats() -> None:
    assert get_args(vocabulary.Engine) == ENGINES
    assert get_args(vocabulary.EngineChoice) == ("auto", *ENGINES)
    assert set(get_args(vocabulary.GraphFormat)) == set(GRAPH_FORMATS.values())


def test_classes_views_and_roles() -> None:
    image_nhwc = np.arange(1 * 4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    assert len({apply_symmetry(image_nhwc, index).tobytes() for index in range(16)}) == max(vocabulary.VIEW_COUNTS)
    assert Variant.__struct_fields__ == vocabulary.ROLES


def test_every_output_format_has_a_writer_of_its_own() -> None:
    formats = get_args(vocabulary.OutputFormat)
    assert len({type(prediction_writer(name, io.StringIO(), ham10000())) for name in formats}) == len(formats)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_a_function_that_exists(name: str) -> None:
    module, function = COMMANDS[name].run
    assert callable(getattr(import_module(module), function))


def test_the_parser_is_known_without_numpy_pillow_or_an_engine() -> None:
    code = (
        "import json, sys; from edge_runtime.cli.parser import build_parser; build_parser().format_help();"
        "print(json.dumps(sorted(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=REPOSITORY, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(finished.stdout)}
    assert not loaded & {"numpy", "PIL", "onnxruntime", "ai_edge_litert", "openvino"}
