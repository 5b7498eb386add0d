"""Two TFLite files → one: the whole network is its backbone followed by its head, so it need not be converted again."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import (
    BuiltinOperator,
    BuiltinOptions,
    OperatorCodeT,
    OperatorT,
    SoftmaxOptionsT,
    TensorMapT,
)
from ai_edge_litert.tools.flatbuffer_utils import convert_object_to_bytearray
from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

HEAD_SCOPE = b"head/"
"""In front of the names of the head's tensors, so that none is also the name of one of the backbone's."""

RUNTIME_VERSION = b"min_runtime_version"


def compose_model(features: bytes, head: bytes) -> bytes:
    """Return the ``model`` graph of a float ``features`` graph and a float ``head`` graph.

    The head's ``logits`` become ``probabilities``; its other outputs, and what only they need, are left out. The
    operators of ``features`` come first, with the names and weights that they have there.
    """
    composition = _Composition(read_model(features), read_model(head))
    composition.append_head()
    composition.append_softmax()
    return bytes(convert_object_to_bytearray(composition.model))


class _Composition:
    """The flatbuffer objects of a backbone while a head is appended to it."""

    def __init__(self, model: Any, head: Any) -> None:
        self.model = model
        self.head = head
        (self.subgraph,), (self.head_subgraph,) = model.subgraphs, head.subgraphs
        (self.signature,), (self.head_signature,) = model.signatureDefs, head.signatureDefs
        self.places: dict[int, int] = {-1: -1}
        """By a tensor's index in the head: its index in the whole; -1 stands for an input that is not given."""

    def append_head(self) -> None:
        """Append the operators between the feature map and the logits."""
        (feature_map,) = self.signature.outputs
        added: list[Any] = []
        for entry in self.head_signature.inputs:
            if entry.name == b"feature_map":
                self.places[entry.tensorIndex] = feature_map.tensorIndex
            else:
                added.append(_named_tensor(entry.name, self._place(entry.tensorIndex)))
        for operator in _needed_for(self.head_subgraph.operators, self._logits):
            moved = copy.copy(operator)
            moved.opcodeIndex = self._code_index(self.head.operatorCodes[operator.opcodeIndex])
            moved.inputs = np.array([self._place(int(index)) for index in operator.inputs], np.int32)
            moved.outputs = np.array([self._place(int(index)) for index in operator.outputs], np.int32)
            self.subgraph.operators.append(moved)
        self.signature.inputs += added
        self.subgraph.inputs = [*map(int, self.subgraph.inputs), *(entry.tensorIndex for entry in added)]
        self._raise_runtime_version()

    def append_softmax(self) -> None:
        """Make the softmax of the logits the only output."""
        logits = self.places[self._logits]
        tensor = copy.copy(self.subgraph.tensors[logits])
        tensor.name = b"serving_default_probabilities_output"
        self.subgraph.tensors.append(tensor)
        output = len(self.subgraph.tensors) - 1
        code = OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = BuiltinOperator.SOFTMAX
        operator = OperatorT()
        operator.opcodeIndex = self._code_index(code)
        operator.inputs, operator.outputs = np.array([logits], np.int32), np.array([output], np.int32)
        operator.builtinOptionsType, operator.builtinOptions = BuiltinOptions.SoftmaxOptions, SoftmaxOptionsT()
        operator.builtinOptions.beta = 1.0
        self.subgraph.operators.append(operator)
        self.subgraph.outputs = [output]
        self.signature.outputs = [_named_tensor(b"probabilities", output)]

    @property
    def _logits(self) -> int:
        return next(int(entry.tensorIndex) for entry in self.head_signature.outputs if entry.name == b"logits")

    def _place(self, index: int) -> int:
        """Return the index that a tensor of the head has in the whole, where it is appended if it is new."""
        if index not in self.places:
            tensor = copy.copy(self.head_subgraph.tensors[index])
            tensor.name = HEAD_SCOPE + tensor.name
            if tensor.buffer:  # buffer 0 is the empty one of all computed tensors
                self.model.buffers.append(self.head.buffers[tensor.buffer])
                tensor.buffer = len(self.model.buffers) - 1
            self.subgraph.tensors.append(tensor)
            self.places[index] = len(self.subgraph.tensors) - 1
        return self.places[index]

    def _code_index(self, code: Any) -> int:
        """Return the index of an operator's code among the whole's, where it is appended if it is new."""
        codes = [(one.builtinCode, one.version, one.customCode) for one in self.model.operatorCodes]
        wanted = (code.builtinCode, code.version, code.customCode)
        if wanted not in codes:
            self.model.operatorCodes.append(code)
            return len(codes)
        return codes.index(wanted)

    def _raise_runtime_version(self) -> None:
        """Let the whole ask for the newer of both files' oldest runtimes."""
        mine, heads = _runtime_version(self.model), _runtime_version(self.head)
        if mine is not None and heads is not None and _numbers(heads) > _numbers(mine):
            mine.data = heads.data


def _needed_for(operators: list[Any], tensor: int) -> list[Any]:
    """Return the operators that a tensor is computed by, in order."""
    needed, kept = {tensor}, []
    for operator in reversed(operators):
        if needed & {int(index) for index in operator.outputs}:
            needed.update(int(index) for index in operator.inputs)
            kept.append(operator)
    return kept[::-1]


def _named_tensor(name: bytes, index: int) -> Any:
    entry = TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def _runtime_version(model: Any) -> Any:
    """Return the buffer that holds the oldest runtime which reads a file, or ``None``."""
    return next((model.buffers[entry.buffer] for entry in model.metadata or [] if entry.name == RUNTIME_VERSION), None)


def _numbers(version: Any) -> tuple[int, ...]:
    return tuple(int(number) for number in bytes(version.data).rstrip(b"\0").split(b"."))
