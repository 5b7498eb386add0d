"""Any number of pictures through one classifier: decoding and inference in parallel, answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DermedgeError, ImageError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from edge_runtime.classifier import Classifier
    from edge_runtime.prediction import Prediction

_PENDING_PER_REPLICA = 4


def answer_stream(
    classifier: Classifier, sources: Iterable[Any], batch: int, options: dict[str, Any]
) -> Iterator[tuple[Any, Prediction | DermedgeError]]:
    """Yield ``(source, answer or error)`` in order; see :meth:`Classifier.predict_many`."""
    chunks = _chunks(sources, batch)
    if classifier.replicas == 1:
        for chunk in chunks:
            yield from zip(chunk, _answer_chunk(classifier, chunk, options), strict=True)
    else:
        yield from _answer_in_parallel(classifier, chunks, options)


def _chunks(sources: Iterable[Any], size: int) -> Iterator[list[Any]]:
    remaining = iter(sources)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _answer_in_parallel(
    classifier: Classifier, chunks: Iterator[list[Any]], options: dict[str, Any]
) -> Iterator[tuple[Any, Prediction | DermedgeError]]:
    """Answer on ``replicas`` threads. Python's lock is free while pictures are decoded and graphs run."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and one picture does not need it

    with ThreadPoolExecutor(classifier.replicas, thread_name_prefix="dermedge") as pool:
        pending: deque[tuple[list[Any], Future[list[Prediction | DermedgeError]]]] = deque()

        def submit(chunk: list[Any]) -> None:
            pending.append((chunk, pool.submit(_answer_chunk, classifier, chunk, options)))

        for chunk in islice(chunks, _PENDING_PER_REPLICA * classifier.replicas):
            submit(chunk)
        try:
            while pending:
                chunk, future = pending.popleft()
                answers = future.result()
                for following in islice(chunks, 1):
                    submit(following)
                yield from zip(chunk, answers, strict=True)
        finally:  # whoever listened has gone: do not start what nobody will hear
            for _, future in pending:
                future.cancel()


def _answer_chunk(
    classifier: Classifier, chunk: list[Any], options: dict[str, Any]
) -> list[Prediction | DermedgeError]:
    if len(chunk) > 1:
        try:
            return list(classifier.predict_batch(chunk, **options))
        except ImageError:
            pass  # one picture of the batch is unusable: find out which
    return [_answer(classifier, source, options) for source in chunk]


def _answer(classifier: Classifier, source: Any, options: dict[str, Any]) -> Prediction | DermedgeError:
    try:
        return classifier.predict(source, **options)
    except DermedgeError as error:
        return error
