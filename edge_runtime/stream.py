"""Any number of images through one classifier: decoding and inference in parallel, predictions in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DermedgeError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from edge_runtime.prediction import Prediction

    PredictChunk = Callable[[list[Any]], list[Prediction | DermedgeError]]
    """Several sources → a prediction or an error for each, in order."""

_PENDING_PER_REPLICA = 4


def prediction_stream(
    predict_chunk: PredictChunk, sources: Iterable[Any], batch: int, replicas: int
) -> Iterator[tuple[Any, Prediction | DermedgeError]]:
    """Yield ``(source, prediction or error)`` in order, ``batch`` sources to a call, ``replicas`` calls at a time.

    At most four chunks per replica are in memory, however long ``sources`` is.
    """
    remaining = iter(sources)
    chunks = iter(lambda: list(islice(remaining, batch)), [])
    if replicas == 1:
        for chunk in chunks:
            yield from zip(chunk, predict_chunk(chunk), strict=True)
    else:
        yield from _predict_in_parallel(predict_chunk, chunks, replicas)


def _predict_in_parallel(
    predict_chunk: PredictChunk, chunks: Iterator[list[Any]], replicas: int
) -> Iterator[tuple[Any, Prediction | DermedgeError]]:
    """Predict on ``replicas`` threads. Python's lock is free while images are decoded and graphs run."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and one image does not need it

    with ThreadPoolExecutor(replicas, thread_name_prefix="dermedge") as pool:
        pending: deque[tuple[list[Any], Future[list[Prediction | DermedgeError]]]] = deque()

        def submit(chunk: list[Any]) -> None:
            pending.append((chunk, pool.submit(predict_chunk, chunk)))

        for chunk in islice(chunks, _PENDING_PER_REPLICA * replicas):
            submit(chunk)
        try:
            while pending:
                chunk, future = pending.popleft()
                predictions = future.result()
                for following in islice(chunks, 1):
                    submit(following)
                yield from zip(chunk, predictions, strict=True)
        finally:  # the consumer has stopped: do not start what nobody will read
            for _, future in pending:
                future.cancel()
