"""fp32 TFLite → int8 (float inputs and outputs), dynamic range and fp16, with ai-edge-quantizer."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray
from ai_edge_quantizer import recipe
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import (
    ComputePrecision,
    OpQuantizationConfig,
    TensorDataType,
    TensorQuantizationConfig,
    TFLOperationName,
)
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope, read_model

from export.formats.converter_output import capture_output
from export.int8.activation_ranges import Range, TensorStatistics
from export.int8.layer_inputs import LayerInputs
from export.int8.weight_rounding import RoundedWeights

if TYPE_CHECKING:
    from numpy.typing import NDArray


def record_statistics(graph: bytes, images: Iterable[NDArray[np.uint8]], threads: int) -> dict[str, TensorStatistics]:
    """Run the float graph on images of shape (S, S, 3) and return what its float tensors looked like."""
    with warnings.catch_warnings(), capture_output("LiteRT on the float graph"):
        warnings.simplefilter("ignore")  # keeping all tensors costs memory: that is what this is for
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
    """Return the int8 file of a float graph; operators with the given scopes stay float, as do inputs and outputs."""
    manager = RecipeManager()
    manager.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for boundary in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):  # the patient's vector comes in as float32
        manager.add_quantization_config(".*", boundary, algorithm_key=AlgorithmName.NO_QUANTIZE)
    _keep_float(manager, (*preprocessing_scopes(graph), *float_scopes))
    values = {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }
    return _quantise(graph, manager.get_quantization_recipe(), values)


def quantise_dynamic(graph: bytes, float_scopes: Iterable[str] = ()) -> bytes:
    """Return the file with int8 weights whose activations the engine quantises image by image."""
    manager = RecipeManager()
    manager.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    _keep_float(manager, float_scopes)
    return _quantise(graph, manager.get_quantization_recipe(), None)


def to_fp16(graph: bytes, float_scopes: Iterable[str] = ()) -> bytes:
    """Return the file with half-precision weights; the engine computes in whatever the CPU is fast at."""
    manager = RecipeManager()
    half = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
    configuration = OpQuantizationConfig(
        weight_tensor_config=half, compute_precision=ComputePrecision.FLOAT, explicit_dequantize=True
    )
    for operator in (
        TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D, TFLOperationName.FULLY_CONNECTED
    ):  # fmt: skip
        manager.add_quantization_config(".*", operator, configuration, AlgorithmName.FLOAT_CASTING)
    _keep_float(manager, float_scopes)
    return _quantise(graph, manager.get_quantization_recipe(), None)


def _keep_float(manager: RecipeManager, scopes: Iterable[str]) -> None:
    for scope in scopes:
        manager.add_quantization_config(
            f"^{re.escape(scope)}$", TFLOperationName.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE
        )


def with_rounded_weights(graph: bytes, layers: dict[str, LayerInputs], rounded: dict[str, RoundedWeights]) -> bytes:
    """Return the float graph with the weights that rounded levels stand for, and biases that keep the mean output.

    A layer is found by its float weights, which are the same in both formats but for their order.
    """
    model = read_model(graph)
    (subgraph,) = model.subgraphs
    by_weight = {_fingerprint(_to_tflite(layer.weight, layer.groups)): name for name, layer in layers.items()}
    for operator in subgraph.operators:
        if len(operator.inputs) < 3:
            continue
        weight, bias = (subgraph.tensors[index] for index in operator.inputs[1:3])
        values = model.buffers[weight.buffer].data
        name = None if values is None else by_weight.get(_fingerprint(np.frombuffer(bytes(values), np.float32)))
        if name is None:
            continue
        prepared = _to_tflite(rounded[name].values, layers[name].groups)
        old_bias = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.float32)
        model.buffers[weight.buffer].data = _as_bytes(prepared)
        model.buffers[bias.buffer].data = _as_bytes(old_bias + rounded[name].bias_change)
    return bytes(convert_object_to_bytearray(model))


def scopes_of_layers(graph: bytes, layers: dict[str, LayerInputs], names: Iterable[str]) -> list[str]:
    """Return the scopes of the named layers in a float graph, found by their weights."""
    model = read_model(graph)
    (subgraph,) = model.subgraphs
    wanted = {_fingerprint(_to_tflite(layers[name].weight, layers[name].groups)) for name in names}
    scopes = []
    for operator in subgraph.operators:
        if wanted and len(operator.inputs) > 2:
            values = model.buffers[subgraph.tensors[operator.inputs[1]].buffer].data
            if values is not None and bytes(values) in wanted:
                scopes.append(get_op_scope(operator, subgraph.tensors))
    return scopes


def _to_tflite(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """Transpose [O,I/G,kh,kw] to TFLite's order: [O,kh,kw,I], or [1,kh,kw,O] where every channel is its own group."""
    depthwise = groups > 1 and weight.shape[1] == 1
    return weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)


def _fingerprint(values: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _as_bytes(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    return np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)


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
