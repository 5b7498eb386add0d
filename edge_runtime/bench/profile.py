"""``bench --profile``: which kinds of operators onnxruntime spends a graph's time in.

onnxruntime's own profiler says how long each node of the optimised graph took. Shares are compared, not milliseconds:
profiling slows a graph, and so do other programs, but both slow all of its nodes.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.bench.timing import lower_quartile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUFFIX = "_kernel_time"
_WARM_UPS = 2


def operator_shares(graph: bytes, image_nhwc: NDArray[np.uint8], threads: int, runs: int) -> dict[str, float]:
    """Return each kind of operator's share (0..1) of the nodes' time on ``image_nhwc`` [1,S,S,3], largest first.

    A node's time is the lower quartile of its runs: other programs only ever add time.
    """
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        for _ in range(_WARM_UPS + runs):
            session.run(None, {"image_nhwc": image_nhwc})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _shares(events)


def _shares(events: list[dict[str, Any]]) -> dict[str, float]:
    microseconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            microseconds[event["args"]["op_name"], event["name"]].append(event["dur"])
    totals: dict[str, float] = defaultdict(float)
    for (operator, _), durations in microseconds.items():
        totals[operator] += lower_quartile(durations[_WARM_UPS:])
    whole = sum(totals.values())
    return {name: time / whole for name, time in sorted(totals.items(), key=lambda item: -item[1])}
