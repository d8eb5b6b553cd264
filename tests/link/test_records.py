"""Messages of any length and in any number of pieces, as records and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from libmpc.link.records import (
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    RECORD_OVERHEAD,
    Message,
    Opener,
    Sealer,
)
from libmpc.link.stream import Buffer

KEY = bytes(range(32))
RECORD = MAX_RECORD_BYTES


def there_and_back(*messages: tuple[Buffer, ...]) -> tuple[list[Message], list[int]]:
    """What arrives, and the lengths of all records."""
    sealer, opener = Sealer(KEY), Opener(KEY, 1 << 30)
    records = [record for buffers in messages for record in sealer.seal(3, 5, 7, buffers)]
    found = [message for record in records for message in opener.feed(record)]
    return found, [len(record) - RECORD_OVERHEAD for record in records]


@pytest.mark.parametrize("records", [1, 2, 3])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_lengths_around_whole_records(records: int, more: int) -> None:
    size = records * RECORD - HEADER_BYTES + more
    payload = np.random.default_rng(size).bytes(size)
    cuts = (0, 1, 1, RECORD - HEADER_BYTES, RECORD, 2 * RECORD, size)
    pieces = tuple(memoryview(payload)[a:b] for a, b in itertools.pairwise(cuts) if b <= size)
    pieces = (*pieces, payload[sum(map(len, pieces)) :])
    (message,), lengths = there_and_back(pieces)
    assert message.payload == payload
    assert (message.kind, message.bundle, message.step) == (3, 5, 7)
    # All but the last are full.
    assert lengths == [RECORD] * (len(lengths) - 1) + [
        HEADER_BYTES + size - RECORD * (len(lengths) - 1)
    ]
    assert len(lengths) == records + (more > 0)


def test_arrays_of_any_shape() -> None:
    array = np.arange(3 << 18, dtype=np.uint64).reshape(3, 2, -1)
    empty = np.empty((0, 4), np.uint64)
    (long, short), _ = there_and_back(
        (empty.data, array.data, b"", empty.data), (array[:1, :1, :2].copy().data, empty.data)
    )
    assert long.payload == array.tobytes()
    assert short.payload == array.ravel()[:2].tobytes()
