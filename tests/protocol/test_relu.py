"""The fused ReLU against max(⌊z / 2^16⌋, 0), with == for every value of the stated range."""

import asyncio

import numpy as np
import pytest

from libmpc.protocol import Compute, ProtocolError, relu
from libmpc.protocol.exchange import Payload
from libmpc.runtime import Traffic
from tests import naive
from tests.protocol.harness import ConstantStream, fresh, run_relu

LOW, HIGH = -(2**47) + 2**16, 2**47
CHUNK_EDGES = (0, 4, 8, 12, 16, 21, 26, 31, 36, 42, 47, 48)


def edges() -> list[int]:
    """Integers at and next to every chunk's edge, of both signs, and runs of ones."""
    values = {0}
    for bit in CHUNK_EDGES:
        for near in (-1, 0, 1):
            values |= {2**bit + near, -(2**bit) + near, 2**16 + 2**bit + near}
    for low in CHUNK_EDGES:
        values |= {2**high - 2**low for high in CHUNK_EDGES if high > low}
    return sorted(values)


def words(values: object) -> np.ndarray:
    return np.array([v % 2**64 for v in values], np.uint64)  # type: ignore[attr-defined]


def expected(z: np.ndarray) -> np.ndarray:
    """In numpy on signed 64-bit integers, for many values."""
    return np.maximum(z.astype(np.int64) >> 16, 0).astype(np.uint64)


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Every edge value in range under every mask at an edge, and with every edge opened."""
    zs = [z for z in edges() if LOW <= z <= HIGH] + [LOW, HIGH, HIGH - 1, LOW + 1]
    lams = [lam % 2**48 for lam in edges()]
    pairs = [(z, lam) for z in zs for lam in lams]
    pairs += [(z, (m - z) % 2**48) for z in zs for m in lams]
    return words([z for z, _ in pairs]), words([lam for _, lam in pairs])


def test_the_numpy_expectation_is_the_naive_one() -> None:
    z = words([v for v in edges() if LOW <= v <= HIGH])
    assert expected(z).tolist() == naive.relu(naive.signed(z, 64)).tolist()


@pytest.mark.parametrize("split", [0, 1])
def test_edges_of_every_chunk(split: int) -> None:
    z, lam = grid()
    y, _ = run_relu(z, lam, split=split)
    assert np.array_equal(y, expected(z))


@pytest.mark.parametrize("byte0", [0x00, 0xFF, 0x55])
@pytest.mark.parametrize("byte1", [0x00, 0xFF])
def test_constant_streams(byte0: int, byte1: int) -> None:
    z, lam = grid()
    y, _ = run_relu(z, lam, make=lambda party: ConstantStream((byte0, byte1)[party]))
    assert np.array_equal(y, expected(z))


@pytest.mark.parametrize("seed", range(2))
def test_a_million_random_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.integers(LOW, HIGH, 700_001, np.int64, endpoint=True)
    # Of all magnitudes, not only the largest.
    z[:500_000] >>= rng.integers(0, 47, 500_000)
    y, _ = run_relu(z.view(np.uint64), make=fresh(seed))
    assert np.array_equal(y, expected(z))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 10))
def test_eight_million_random_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.integers(LOW, HIGH, 1_000_000, np.int64, endpoint=True)
    z[:500_000] >>= rng.integers(0, 47, 500_000)
    y, _ = run_relu(z.view(np.uint64), make=fresh(seed))
    assert np.array_equal(y, expected(z))


def test_every_low_part_against_every_low_mask_of_a_chunk() -> None:
    """All pairs of 8-bit patterns in each half of the low 16 bits: the borrow c."""
    a, b = np.meshgrid(np.arange(256, dtype=np.uint64), np.arange(256, dtype=np.uint64))
    for shift in (np.uint64(0), np.uint64(4), np.uint64(8)):
        lam, low = a.ravel() << shift, b.ravel() << shift
        z = np.uint64(5 << 16) | low
        assert np.array_equal(run_relu(z, lam)[0], expected(z))
        offset = np.uint64(7 << 40)
        z = low - lam  # so that the opened value has this low part
        assert np.array_equal(run_relu(z, lam + offset)[0], expected(z))


def test_upper_end_is_sharp() -> None:
    lam = np.random.default_rng(0).integers(0, 2**48, 4096, np.uint64)
    lam[:4] = [0, 2**47, 2**48 - 1, 1]
    at_end = np.full(lam.size, HIGH, np.uint64)
    assert np.array_equal(run_relu(at_end, lam)[0], expected(at_end))
    beyond = at_end + np.uint64(1)
    right = run_relu(beyond, lam)[0] == expected(beyond)
    assert right.any()
    assert not right.all()


def test_lower_end_is_sharp() -> None:
    lam = np.random.default_rng(0).integers(0, 2**48, 1 << 20, np.uint64)
    lam[:4] = [0, 2**47, 2**48 - 1, 1]
    at_end = np.full(lam.size, LOW % 2**64, np.uint64)
    assert not run_relu(at_end, lam)[0].any()
    beyond = at_end - np.uint64(1)
    wrong = run_relu(beyond, lam)[0] != 0
    # Only where the low parts do not borrow: λ's are zero.
    assert np.array_equal(wrong, lam & np.uint64(0xFFFF) == 0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 8, 1001])
def test_cost_is_what_is_counted(count: int) -> None:
    z = np.random.default_rng(count).integers(LOW, HIGH, count, np.int64).view(np.uint64)
    traffic = Traffic()
    y, correction = run_relu(z, traffic=traffic)
    assert np.array_equal(y, expected(z))
    declared = relu.cost(count)
    assert (traffic.rounds, traffic.sent) == (declared.rounds, (declared.online_bytes,) * 2)
    assert correction == declared.correction_bytes


def test_declared_cost() -> None:
    cost = relu.cost(1000)
    assert (cost.rounds, cost.online_bytes, cost.correction_bytes) == (4, 14_250, 82_000)


@pytest.mark.parametrize("size", [None, 0, 81, 83, 164])
def test_corrections_of_the_wrong_length(size: int | None) -> None:
    correction = None if size is None else bytes(size)
    with pytest.raises(ProtocolError):
        relu.prepare(5, 1, 1, fresh()(1), correction)


@pytest.mark.parametrize("failing_round", range(4))
@pytest.mark.parametrize("difference", [-1, 1])
def test_messages_of_the_wrong_length(failing_round: int, difference: int) -> None:
    stream = fresh()(0)
    prepared = relu.prepare(5, 0, 3, stream, None)
    seen: list[int] = []

    async def exchange(tag: int, payload: Payload) -> bytes:
        seen.append(tag)
        return bytes(len(payload) + (difference if len(seen) == failing_round + 1 else 0))

    share = np.zeros(3, np.uint64)
    with pytest.raises(ProtocolError):
        asyncio.run(relu.evaluate(5, 0, share, prepared, exchange, Compute()))
    assert seen == [40, 41, 42, 43][: failing_round + 1]


def test_threads_give_the_same() -> None:
    prepared = [relu.prepare(5, 0, 999, fresh()(0), None) for _ in range(2)]
    share = np.arange(999, dtype=np.uint64) << np.uint64(30)

    async def echo(tag: int, payload: Payload) -> Payload:
        return payload

    here, there = (
        asyncio.run(relu.evaluate(5, 0, share, p, echo, Compute(threshold=threshold)))
        for p, threshold in zip(prepared, (1.0, 0.0), strict=True)
    )
    assert np.array_equal(here, there)


def test_repr_has_no_value() -> None:
    assert repr(relu.prepare(5, 0, 3, fresh()(0), None)) == "PreparedRelu(values=3)"
