"""Reading ahead: the same batches in the same order, one before it is asked for, errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from train.dataset import Batch, read_ahead


def numbered(number: int) -> Batch:
    return Batch(torch.full((2, 4, 4, 3), number, dtype=torch.uint8), torch.tensor([number, number]), None)


def test_the_batches_come_in_order() -> None:
    assert [int(batch.labels[0]) for batch in read_ahead(numbered(number) for number in range(9))] == list(range(9))
    assert list(read_ahead([])) == []


def test_the_next_batch_is_read_while_the_last_is_worked_on() -> None:
    second_read = threading.Event()

    def batches() -> Iterator[Batch]:
        yield numbered(0)
        second_read.set()
        yield numbered(1)

    next(read_ahead(batches()))
    assert second_read.wait(timeout=30)


def test_an_error_in_reading_reaches_the_caller_after_the_good_batches() -> None:
    def batches() -> Iterator[Batch]:
        yield numbered(0)
        raise OSError("the disk went away")

    reading = read_ahead(batches())
    assert int(next(reading).labels[0]) == 0
    with pytest.raises(OSError, match="the disk went away"):
        next(reading)
