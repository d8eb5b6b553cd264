"""Messages and corrections, byte for byte, against a second implementation and frozen vectors."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.prg import Stream
from libmpc.protocol import Compute, opening
from libmpc.protocol.exchange import Payload
from libmpc.ring import unpack
from libmpc.runtime.channel import memory_pair
from tests.protocol import book_words, by_the_book, make_vectors
from tests.protocol.harness import MASK, OPENING, STEP, Transcript, run, words
from tests.protocol.steps import ALL, RECTIFY, RELU, Promise

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
PROMISES = {promise.name: promise for promise in ALL}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["kind"])
def test_the_book_gives_the_vectors(vector: dict[str, Any]) -> None:
    assert make_vectors.vector(vector["kind"]) == vector


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["kind"])
def test_the_library_gives_the_vectors(vector: dict[str, Any]) -> None:
    promise, index = PROMISES[vector["kind"]], vector["step"]
    keys = [bytes.fromhex(key) for key in vector["keys"]]
    count = len(vector["values"])
    ends, dealer = ([Stream(key) for key in keys] for _ in range(2))
    inputs = [unpack(bytes.fromhex(part), count) for part in vector["inputs"].values()]
    step = promise.step
    correction = bytearray(step.cost(count).correction_bytes)
    if step in OPENING:
        mask = step.deal(index, inputs[2], *dealer, correction)
        given_ = [inputs[j] + opening.draw(index, count, ends[j]) for j in (0, 1)]
        sources: list[Any] = [count, count]
    else:
        mask = step.deal(index, inputs[0] + inputs[1], *dealer, correction)
        given_ = [inputs[2], inputs[2]]
        sources = inputs[:2] if promise is RECTIFY else [count, count]
    assert correction.hex() == vector["correction"]
    prepared = [step.prepare(index, j, sources[j], ends[j], (None, correction)[j]) for j in (0, 1)]
    sent: tuple[list[str], list[str]] = ([], [])

    async def both() -> list[Any]:
        channels = memory_pair()

        async def evaluate(j: int) -> Any:
            async def exchange(tag: int, payload: Payload) -> Payload:
                sent[j].append(bytes(payload).hex())
                return await channels[j](tag, payload)

            return await step.evaluate(index, j, given_[j], prepared[j], exchange, Compute())

        return await asyncio.gather(evaluate(0), evaluate(1))

    m, _ = asyncio.run(both())
    assert list(sent) == vector["messages"]
    assert ((m - mask) & MASK).tolist() == [v % 2**48 for v in vector["results"]]


def book(promise: Promise, values: Any, lam: Any) -> by_the_book.Run:
    """What ``harness.run`` does, by the book."""
    keys = (bytes([0, 0]) + bytes(14), bytes([1, 0]) + bytes(14))
    first, second = [], []
    gammas = [
        book_words.numbers(book_words.draw(key, STEP, book_words.OPENING, 8 * len(values)), 8)
        for key in keys
    ]
    share = 0x0123_4567_89AB_CDEF
    for i, (value, mask) in enumerate(zip(values.tolist(), lam.tolist(), strict=True)):
        if promise.step in OPENING:
            missing = gammas[0][i] + gammas[1][i] - mask
            first += [share, value - missing - share]
            second.append(missing)
        else:
            first += [share, mask - share]
            second.append(value + mask)
    return by_the_book.run(promise.name, STEP, keys, first, second)


@pytest.mark.parametrize("promise", ALL, ids=lambda p: p.name)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_library_is_by_the_book(promise: Promise, data: st.DataObject) -> None:
    numbers = promise.numbers()
    inside = st.sampled_from([v for v in numbers if promise.low <= v <= promise.high])
    value = st.one_of(inside, st.integers(promise.low, promise.high))
    masks = st.one_of(st.sampled_from(numbers), st.integers(0, 2**48 - 1))
    pairs = data.draw(st.lists(st.tuples(value, masks), min_size=1, max_size=9))
    values, lam = words(v for v, _ in pairs), words(mask for _, mask in pairs)
    ours: Transcript = run(promise.step, values, lam)
    theirs = book(promise, values, lam)
    assert ours.correction == theirs.correction
    assert ours.messages == theirs.messages
    assert np.array_equal(ours.result, promise.of(values))


def test_every_step_has_a_vector() -> None:
    assert [vector["kind"] for vector in VECTORS] == list(PROMISES)
    assert VECTORS[0]["kind"] == RELU.name
