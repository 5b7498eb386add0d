"""fp32 TFLite → int8 (activations and weights, float borders), dynamic range and fp16, with ai-edge-quantizer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope, read_model

from export.activation_ranges import Range, TensorStatistics
from export.converter_output import capture_output

if TYPE_CHECKING:
    from numpy.typing import NDArray


def record_statistics(graph: bytes, images: Iterable[NDArray[np.uint8]], threads: int) -> dict[str, TensorStatistics]:
    """Run the float graph on pictures of shape (S, S, 3) and return what its float tensors looked like."""
    interpreter = Interpreter(model_content=graph, num_threads=threads, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    constants = constant_tensors(graph)
    floats = {
        detail["index"]: detail["name"]
        for detail in interpreter.get_tensor_details()
        if detail["dtype"] == np.float32 and detail["name"] not in constants and detail["name"]
    }
    statistics = {name: TensorStatistics() for name in floats.values()}
    (input_detail,) = interpreter.get_input_details()
    for image in images:
        interpreter.set_tensor(input_detail["index"], image[np.newaxis])
        interpreter.invoke()
        for index, name in floats.items():
            statistics[name].add(interpreter.get_tensor(index))
    return statistics


def quantise_int8(graph: bytes, ranges: dict[str, Range], float_scopes: Iterable[str] = ()) -> bytes:
    """Return the int8 file of a float graph; operators with the given scopes stay float, and so do the borders."""
    manager = RecipeManager()
    manager.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    manager.add_quantization_config(".*", TFLOperationName.OUTPUT, algorithm_key=AlgorithmName.NO_QUANTIZE)
    for scope in (*preprocessing_scopes(graph), *float_scopes):
        manager.add_quantization_config(
            f"^{re.escape(scope)}$", TFLOperationName.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
        )
    values = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }
    return _quantise(graph, manager.get_quantization_recipe(), values)


def quantise_dynamic(graph: bytes) -> bytes:
    """Return the file with int8 weights whose activations the engine quantises picture by picture."""
    return _quantise(graph, recipe.dynamic_wi8_afp32(), None)


def operator_scopes(graph: bytes) -> list[tuple[str, str]]:
    """Return (scope, operator) of each operator in order; a scope is the quantiser's name for an operator."""
    model = read_model(graph)
    (subgraph,) = model.subgraphs
    codes = {value: name for name, value in _builtin_operators().items()}
    return [
        (get_op_scope(operator, subgraph.tensors), codes[model.operatorCodes[operator.opcodeIndex].builtinCode])
        for operator in subgraph.operators
    ]


def operator_outputs(graph: bytes) -> list[tuple[int, str]]:
    """Return (operator code, name of the output tensor) of each operator in order."""
    model = read_model(graph)
    (subgraph,) = model.subgraphs
    return [
        (model.operatorCodes[operator.opcodeIndex].builtinCode, subgraph.tensors[operator.outputs[0]].name.decode())
        for operator in subgraph.operators
    ]


def preprocessing_scopes(graph: bytes) -> list[str]:
    """Return the scopes of the operators before the network's first own one: normalisation, which stays float."""
    scopes = []
    for scope, operator in operator_scopes(graph):
        if operator not in ("CAST", "SUB", "MUL", "TRANSPOSE"):
            break
        scopes.append(scope)
    return scopes


def constant_tensors(graph: bytes) -> set[str]:
    """Return the names of the tensors whose values are stored in the file."""
    model = read_model(graph)
    return {
        tensor.name.decode()
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if model.buffers[tensor.buffer].data is not None
    }


def _quantise(graph: bytes, quantisation_recipe: Any, values: Any) -> bytes:
    with capture_output("ai-edge-quantizer"):
        quantizer = Quantizer(graph, quantisation_recipe)
        result = quantizer.quantize(values, enable_progress_bar=False, enable_progress_report=False)
    assert result.quantized_model is not None
    return bytes(result.quantized_model)


def _builtin_operators() -> dict[str, int]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {name: value for name, value in vars(BuiltinOperator).items() if not name.startswith("_")}
