"""ONNX graphs through onnxruntime's CPU provider."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from edge_runtime.engines.external_data import refuse_external_data
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.engines import RunGraph

PACKAGES = ("onnxruntime",)
TAKES_BATCHES = True


def is_installed() -> bool:
    """Whether onnxruntime can be imported; does not import it."""
    return find_spec("onnxruntime") is not None


def version() -> str:
    """Return the engine's name and version."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def package_file() -> str:
    """Return a file that changes whenever another version of the engine is installed."""
    specification = find_spec("onnxruntime")
    return (specification.origin or "") if specification else ""


def load_graph(data: bytes, threads: int, replicas: int) -> RunGraph:
    """Load a graph. One session serves any number of threads; ``replicas`` only says that several will."""
    refuse_external_data(data)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if replicas > 1:  # several predictions at once: waiting threads must not burn the others' CPU time
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own that share no public base
        raise EngineError(f"onnxruntime refused the graph: {_first_line(error)}") from None
    # The session would keep the file's bytes, as much memory again as the weights, in case its providers change.
    session._model_bytes = None
    output_names = [output.name for output in session.get_outputs()]

    def run(inputs: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        try:
            return dict(zip(output_names, session.run(output_names, inputs), strict=True))
        except Exception as error:
            raise EngineError(f"onnxruntime failed: {_first_line(error)}") from None

    return run


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
