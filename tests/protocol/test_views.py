"""What one evaluator sees of a comparing step is random, whatever the values.

Its view (all that it draws, is dealt and receives) must be uniform bits, none of which depends on
another. Both are measured on thousands of equal values: the share of ones of every bit, and the
correlation of every two bits. A mask that is missing, biased, used in two places or known to the
wrong party shows up as a correlation of 1/2 or 1. The dealer sees nothing: what it computes takes
no value and no message.
"""

import inspect
from typing import Any

import numpy as np
import pytest

from libmpc.prg import Stream
from tests.protocol.harness import OPENING, STEP, run, words
from tests.protocol.steps import ALL, Promise

COUNT = 1 << 13
SIGMAS = 7.0  # of 10^6 fair bits, once in 10^5 such tests one is farther away
Bits = np.ndarray[Any, np.dtype[np.float32]]


class Recorder(Stream):
    """Keeps what was drawn, by purpose."""

    def __init__(self, party: int) -> None:
        super().__init__(bytes([party, 7]) + bytes(14))
        self.drawn: dict[int, bytes] = {}

    def fill(self, layer: int, purpose: int, out: np.ndarray[Any, Any]) -> None:
        super().fill(layer, purpose, out)
        assert layer == STEP
        self.drawn[purpose] = out.tobytes()


def bits_of(data: bytes) -> Bits:
    """(values, bits): of each value the bits at its place in every row of the data."""
    rows = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").reshape(-1, COUNT)
    return rows.T.astype(np.float32)


def by_value(data: bytes, row_bytes: int) -> Bits:
    """The same where a row has whole bytes of each value: ``row_bytes``."""
    rows = np.frombuffer(data, np.uint8).reshape(-1, COUNT, row_bytes)
    bits = np.unpackbits(rows, axis=2, bitorder="little")
    return bits.transpose(1, 0, 2).reshape(COUNT, -1).astype(np.float32)


def messages(promise: Promise, sent: list[bytes]) -> list[Bits]:
    """The other evaluator's: maybe an opening, comparison bits, selections, the result."""
    opened = [by_value(sent[0], 6)] if promise.step in OPENING else []
    compared, selected, result = sent[-3:]
    width = len(compared) // COUNT
    return [*opened, by_value(compared, width), bits_of(selected), by_value(result, 6)]


def randomness(promise: Promise, drawn: dict[int, bytes], correction: bytes | None) -> list[Bits]:
    """Own masks, bits and selections, and own half of what the dealer shares."""
    layout = promise.step.LAYOUT
    parts = [by_value(drawn[1], 8), by_value(drawn[3], len(drawn[3]) // COUNT), bits_of(drawn[4])]
    if promise.step in OPENING:
        parts.append(by_value(drawn[2], 8))
    half = drawn[layout.purpose] if correction is None else correction
    words_bytes = 8 * layout.words * COUNT
    parts.append(by_value(half[:words_bytes], 8))
    if layout.ring:
        parts.append(by_value(half[words_bytes:], 6))
    return parts


def view(promise: Promise, value: int, party: int) -> Bits:
    recorders: list[Recorder] = []

    def make(end: int) -> Stream:
        recorder = Recorder(end)
        if end == party:
            recorders.append(recorder)
        return recorder

    # Of an opened value a constant share is known; of a masked one the own mask, and m.
    rng = np.random.default_rng(abs(value) % 2**32)
    masks = rng.integers(0, 2**64, (2, COUNT), np.uint64)
    values = words([value]).repeat(COUNT)
    if promise.step in OPENING:
        transcript = run(promise.step, values, make=make, missing=masks[0] * 0)
        known = []
    else:
        transcript = run(promise.step, values, masks[0] + masks[1], make=make, first=masks[0])
        m = values + masks[0] + masks[1]
        known = [by_value(part.tobytes(), 8)[:, :48] for part in (masks[party], m)]
    assert np.array_equal(transcript.result, promise.of(values))
    drawn = next(r.drawn for r in recorders if {1, 3, 4} <= set(r.drawn))
    if promise.step in OPENING:
        drawn[2] = next(r.drawn[2] for r in recorders if 2 in r.drawn)
    correction = transcript.correction if party else None
    known += randomness(promise, drawn, correction)
    return np.concatenate([*known, *messages(promise, transcript.messages[1 - party])], axis=1)


CASES = [(p, v) for p in ALL for v in (0, p.low)]
MORE = [(p, v) for p in ALL for v in (-1, 65536, p.high)]


def name(case: object) -> str:
    return case.name if isinstance(case, Promise) else str(case)


@pytest.mark.parametrize(
    ("promise", "value"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)],
    ids=name,
)
@pytest.mark.parametrize("party", [0, 1])
def test_views_are_uniform(promise: Promise, value: int, party: int) -> None:
    bits = view(promise, value, party) * 2 - 1
    assert bits.shape[1] > 250
    limit = SIGMAS / np.sqrt(COUNT)
    assert float(np.abs(bits.mean(axis=0)).max()) < limit
    together = np.abs(bits.T @ bits) / COUNT
    np.fill_diagonal(together, 0)
    assert float(together.max()) < limit


def test_the_measurement_notices_a_mask_that_is_used_twice() -> None:
    promise = ALL[0]
    bits = view(promise, 0, 0) * 2 - 1
    bits[:, 5] = bits[:, 300] * bits[:, 7]  # three bits that belong together are not noticed
    bits[:, 6] = bits[:, 301]  # two are
    together = np.abs(bits.T @ bits) / COUNT
    np.fill_diagonal(together, 0)
    assert (together > SIGMAS / np.sqrt(COUNT)).sum() == 2


@pytest.mark.parametrize("promise", ALL, ids=name)
def test_the_dealer_takes_no_value_and_no_message(promise: Promise) -> None:
    parameters = inspect.signature(promise.step.deal).parameters
    assert list(parameters) in (
        ["step", "missing", "stream0", "stream1", "correction"],
        ["step", "lam", "stream0", "stream1", "correction"],
    )
    assert not inspect.iscoroutinefunction(promise.step.deal)


@pytest.mark.parametrize("promise", ALL, ids=name)
def test_corrections_do_not_depend_on_values(promise: Promise) -> None:
    one, other = (
        run(promise.step, words([value]).repeat(16), np.arange(16, dtype=np.uint64)).correction
        for value in (promise.low, promise.high)
    )
    assert one == other
