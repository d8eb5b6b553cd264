"""The comparing steps against plain integers, with == for every value of the stated range."""

import asyncio
from typing import Any

import numpy as np
import pytest

from libmpc.protocol import Compute, ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.runtime.channel import Traffic
from tests import naive
from tests.protocol.harness import MASKED, STEP, ConstantStream, fresh, run, words
from tests.protocol.steps import ALL, POSITIVE, RECTIFY, RELU, TRUNCATE, Promise

each = pytest.mark.parametrize("promise", ALL, ids=lambda p: p.name)


def test_the_expectations_are_the_naive_ones() -> None:
    for promise, obvious in (
        (RELU, lambda z: max(z // 2**16, 0)),
        (TRUNCATE, lambda z: z // 2**16),
        (RECTIFY, lambda x: max(x, 0)),
        (POSITIVE, lambda x: 2**16 if x > 0 else 0),
    ):
        values, _ = promise.grid()
        signed = naive.signed(values, 64).tolist()
        assert promise.of(values).tolist() == [obvious(v) % 2**48 for v in signed]


@each
@pytest.mark.parametrize("share", [0, 2**64 - 1])
def test_edges_of_every_chunk(promise: Promise, share: int) -> None:
    values, lam = promise.grid()
    result = run(promise.step, values, lam, first=np.full_like(values, share)).result
    assert np.array_equal(result, promise.of(values))


@each
@pytest.mark.parametrize("byte0", [0x00, 0xFF, 0x55])
@pytest.mark.parametrize("byte1", [0x00, 0xFF])
def test_constant_streams(promise: Promise, byte0: int, byte1: int) -> None:
    values, lam = promise.grid()
    result = run(
        promise.step, values, lam, make=lambda party: ConstantStream((byte0, byte1)[party])
    ).result
    assert np.array_equal(result, promise.of(values))


@each
def test_a_million_random_values(promise: Promise) -> None:
    values = promise.random(1_000_001, 1)
    assert np.array_equal(run(promise.step, values).result, promise.of(values))


@each
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_eight_million_random_values(promise: Promise, seed: int) -> None:
    values = promise.random(1_000_000, seed)
    assert np.array_equal(run(promise.step, values, make=fresh(seed)).result, promise.of(values))


@pytest.mark.parametrize("promise", [RELU, TRUNCATE], ids=lambda p: p.name)
def test_every_low_part_against_every_low_mask_of_a_chunk(promise: Promise) -> None:
    """All pairs of 8-bit patterns in each half of the low 16 bits: the borrow c."""
    a, b = np.meshgrid(np.arange(256, dtype=np.uint64), np.arange(256, dtype=np.uint64))
    for shift in (np.uint64(0), np.uint64(4), np.uint64(8)):
        lam, low = a.ravel() << shift, b.ravel() << shift
        for z in (np.uint64(5 << 16) | low, low - np.uint64(5 << 16)):
            assert np.array_equal(run(promise.step, z, lam).result, promise.of(z))
        offset = np.uint64(7 << 40)
        z = low - lam  # so that the opened value has this low part
        assert np.array_equal(run(promise.step, z, lam + offset).result, promise.of(z))


@pytest.mark.parametrize("promise", [RECTIFY, POSITIVE], ids=lambda p: p.name)
def test_every_chunk_pattern_against_every_mask_of_the_sign(promise: Promise) -> None:
    """All pairs of 8-bit patterns at places that reach over every chunk's edge."""
    a, b = np.meshgrid(np.arange(256, dtype=np.uint64), np.arange(256, dtype=np.uint64))
    for shift in (0, 4, 9, 13, 18, 22, 24):
        lam = a.ravel() << np.uint64(shift)
        opened = (b.ravel() << np.uint64(shift)) + np.uint64(1)
        # The difference wraps where it does not fit 32 bits, so take its own residue.
        x = ((opened - lam) << np.uint64(32)).view(np.int64) >> 32
        x[x == -(2**31)] = 2**31
        values = x.view(np.uint64)
        assert np.array_equal(run(promise.step, values, lam).result, promise.of(values))


@each
def test_upper_end_is_sharp(promise: Promise) -> None:
    lam = np.random.default_rng(0).integers(0, 2**48, 4096, np.uint64)
    lam[:7] = [0, 2**47 - 1, 2**47, 2**48 - 1, 1, 2**31, 2**32 - 1]
    at_end = np.full(lam.size, promise.high, np.uint64)
    assert np.array_equal(run(promise.step, at_end, lam).result, promise.of(at_end))
    beyond = at_end + np.uint64(1)
    right = run(promise.step, beyond, lam).result == promise.of(beyond)
    assert not right.all()


@each
def test_lower_end_is_sharp(promise: Promise) -> None:
    lam = np.random.default_rng(0).integers(0, 2**48, 1 << 18, np.uint64)
    lam[:7] = [0, 2**47 - 1, 2**47, 2**48 - 1, 1, 2**31, 2**32 - 1]
    at_end = words([promise.low]).repeat(lam.size)
    assert np.array_equal(run(promise.step, at_end, lam).result, promise.of(at_end))
    beyond = at_end - np.uint64(1)
    wrong = run(promise.step, beyond, lam).result != promise.of(beyond)
    assert wrong.any()
    if promise is RELU:  # only where the low parts do not borrow: λ's are zero
        assert np.array_equal(wrong, lam & np.uint64(0xFFFF) == 0)


@each
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 9, 1001])
def test_cost_is_what_is_counted(promise: Promise, count: int) -> None:
    values = promise.random(count, count)
    traffic = Traffic()
    transcript = run(promise.step, values, traffic=traffic)
    assert np.array_equal(transcript.result, promise.of(values))
    declared = promise.step.cost(count)
    assert (traffic.rounds, traffic.sent) == (declared.rounds, (declared.online_bytes,) * 2)
    assert len(transcript.correction) == declared.correction_bytes


@each
def test_declared_cost(promise: Promise) -> None:
    cost = promise.step.cost(1000)
    assert cost.rounds == promise.rounds
    assert cost.online_bytes == 1000 * promise.online + 125 * promise.planes
    assert cost.correction_bytes == 1000 * promise.correction


def prepared(promise: Promise, party: int, count: int, correction: bytes | None) -> Any:
    source = np.arange(count, dtype=np.uint64) if promise is RECTIFY else count
    return promise.step.prepare(STEP, party, source, fresh()(party), correction)


@each
@pytest.mark.parametrize("difference", [None, -1, 1])
def test_corrections_of_the_wrong_length(promise: Promise, difference: int | None) -> None:
    good = promise.correction * 3
    correction = None if difference is None else bytes(good + difference)
    with pytest.raises(ProtocolError):
        prepared(promise, 1, 3, correction)
    assert prepared(promise, 1, 3, bytes(good)).mask.size == 3


@each
@pytest.mark.parametrize("failing_round", range(4))
@pytest.mark.parametrize("difference", [-1, 1])
def test_messages_of_the_wrong_length(
    promise: Promise, failing_round: int, difference: int
) -> None:
    failing_round = min(failing_round, promise.rounds - 1)
    seen: list[int] = []

    async def exchange(tag: int, payload: Payload) -> bytes:
        seen.append(tag)
        return bytes(len(payload) + (difference if len(seen) == failing_round + 1 else 0))

    share = np.zeros(3, np.uint64)
    inner = prepared(promise, 0, 3, None)
    with pytest.raises(ProtocolError):
        asyncio.run(promise.step.evaluate(STEP, 0, share, inner, exchange, Compute()))
    assert seen == [40, 41, 42, 43][: failing_round + 1]


@each
def test_threads_give_the_same_and_sources_stay_as_they_are(promise: Promise) -> None:
    share = np.arange(999, dtype=np.uint64) << np.uint64(30)
    before = share.copy()

    async def echo(tag: int, payload: Payload) -> Payload:
        return payload

    here, there = (
        asyncio.run(
            promise.step.evaluate(
                STEP, 0, share, prepared(promise, 0, 999, None), echo, Compute(threshold=threshold)
            )
        )
        for threshold in (1.0, 0.0)
    )
    assert np.array_equal(here, there)
    assert np.array_equal(share, before)


@each
def test_repr_has_no_value(promise: Promise) -> None:
    inner = prepared(promise, 0, 3, None)
    assert repr(inner) == f"Prepared{promise.name.capitalize()}(values=3)"
    if promise.step in MASKED:
        assert repr(inner.sign) == "PreparedSign(values=3)"


@each
def test_memory_is_counted(promise: Promise) -> None:
    def held(part: Any) -> int:
        if isinstance(part, np.ndarray):
            return part.nbytes
        return sum(held(inner) for inner in vars(part).values())

    inner = prepared(promise, 0, 100, None)
    assert inner.nbytes == held(inner) > 100 * 8
