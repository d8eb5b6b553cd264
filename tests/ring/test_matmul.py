"""Products with packed matrices against naive ones. Also run with NUMBA_DISABLE_JIT=1."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.ring import MASK
from libmpc.ring.matmul import NARROW, PackedMatrix, matmul_add, pack_matrix
from libmpc.ring.matmul_pack import LANES
from libmpc.ring.matmul_tiles import DEPTH, ROWS
from tests import naive

Words = np.ndarray[Any, np.dtype[np.uint64]]
SHAPES = [
    *[(1, 1, 1), (1, 1, 16), (1, 9, 17), (2, 1, 31), (3, 2, 32), (4, 5, 33), (7, 11, 5)],
    *[(1, 3, 32), (1, 5, 48), (1, 4, 70), (1, DEPTH + 3, 33)],
    *[(0, 3, 20), (2, 0, 20), (3, 2, 0), (0, 0, 0)],
    *[(2, DEPTH - 1, 3), (2, DEPTH, 3), (3, DEPTH + 1, 17), (1, 2 * DEPTH + 1, 2)],
    *[(ROWS - 1, 2, 17), (ROWS, 2, 3), (ROWS + 1, 2, 17), (2 * ROWS + 1, 3, 1)],
]


def words(seed: int, *shape: int) -> Words:
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)


def expected(x: Words, w: Words, out: Words) -> Words:
    total = naive.matmul(naive.ints(x), naive.ints(w)) + naive.ints(out)
    return naive.ring(total) & MASK


@pytest.mark.parametrize("shape", SHAPES)
def test_product(shape: tuple[int, int, int]) -> None:
    n, k, m = shape
    x, w, out = words(1, n, k), words(2, k, m), words(3, n, m)
    sources = x.copy(), w.copy()
    right = expected(x, w, out)
    again = expected(x, w, right)
    packed = PackedMatrix.of(w)
    matmul_add(x, packed, out)
    assert np.array_equal(out & MASK, right)
    matmul_add(x, packed, out)
    assert np.array_equal(out & MASK, again)
    assert np.array_equal(x, sources[0])
    assert np.array_equal(w, sources[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.integers(0, 20), st.integers(0, 40), st.integers(0, 2**32))
def test_any_small_product(n: int, k: int, m: int, seed: int) -> None:
    x, w, out = words(seed, n, k), words(seed + 1, k, m), words(seed + 2, n, m)
    right = expected(x, w, out)
    matmul_add(x, pack_matrix(w), out)
    assert np.array_equal(out & MASK, right)


EDGES = [0, 1, 2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**47, 2**48 - 1, 2**48, 2**63, 2**64 - 1]


@pytest.mark.parametrize("a", EDGES)
@pytest.mark.parametrize("b", EDGES)
def test_at_the_edges_of_words(a: int, b: int) -> None:
    """Also sums that wrap around: of 2^64 of the lower halves, of 2^16 of the brackets."""
    out = np.full((3, 21), b, np.uint64)
    matmul_add(np.full((3, 7), a, np.uint64), PackedMatrix.of(np.full((7, 21), b, np.uint64)), out)
    assert (out & MASK).tolist() == [[(b + 7 * a * b) % 2**48] * 21] * 3


def test_all_ones_and_deep() -> None:
    ones, k = 2**64 - 1, 3 * DEPTH + 5
    out = np.full((5, 18), ones, np.uint64)
    packed = PackedMatrix.of(np.full((k, 18), ones, np.uint64))
    matmul_add(np.full((5, k), ones, np.uint64), packed, out)
    assert (out & MASK).tolist() == [[(ones + k * ones * ones) % 2**48] * 18] * 5


def test_what_lies_above_bit_47_does_not_matter() -> None:
    x, w = words(1, 5, 30), words(2, 30, 19)
    results = []
    for high in (np.uint64(0), ~MASK):
        out = np.zeros((5, 19), np.uint64)
        matmul_add((x & MASK) | high, PackedMatrix.of((w & MASK) | high), out)
        results.append(out & MASK)
    assert np.array_equal(results[0], results[1])


def test_every_number_meets_its_own_factor() -> None:
    """One product at a time: an exchange of two columns or rows cannot cancel out."""
    k, m = 3, 2 * LANES + 3
    w = words(5, k, m)
    out = np.zeros((2 * k, m), np.uint64)
    x = np.concatenate((np.eye(k, dtype=np.uint64), np.eye(k, dtype=np.uint64) << np.uint64(32)))
    matmul_add(x, PackedMatrix.of(w), out)
    assert np.array_equal(out[:k] & MASK, w & MASK)
    assert np.array_equal(out[k:] & MASK, (w << np.uint64(32)) & MASK)


@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (2, 33), (5, 4), (0, 7), (4, 0)])
def test_packing_there_and_back(shape: tuple[int, int]) -> None:
    w = words(1, *shape)
    packed = PackedMatrix.of(w)
    assert packed.shape == shape
    assert np.array_equal(packed.unpack(), w & MASK)
    assert packed.unpack().shape == shape
    assert packed.nbytes == 8 * shape[0] * (-(-shape[1] // LANES) * LANES)


def test_layout() -> None:
    """As ``matmul_pack`` describes it."""
    low, high = 0x1000_0000, 0xA000
    w = np.array([[(high + c) << 32 | low + c for c in range(17)]], np.uint64)
    tiles = PackedMatrix.of(w).tiles
    assert tiles.shape == (2, 1, 16)
    assert tiles.ctypes.data % 64 == 0
    pairs = [(0, 4), (1, 5), (2, 6), (3, 7), (8, 12), (9, 13), (10, 14), (11, 15)]
    assert tiles[0, 0, :8].tolist() == [low + a | (low + b) << 32 for a, b in pairs]
    halves = tiles[0, 0, 8:].view(np.uint16).tolist()
    assert halves[:16] == [high + c if c % 2 == 0 else c for c in range(16)]
    assert halves[16:] == [c if c % 2 == 0 else high + c for c in range(16)]
    rest = tiles[1, 0].tolist()
    assert [rest.index(v) for v in rest if v] == [0, 8, 12]
    assert (rest[0], rest[8], rest[12]) == (low + 16, high + 16, 16)


def test_narrow_matrices_stay_as_they_are() -> None:
    x, out = words(2, 3, 5), np.zeros((3, NARROW - 1), np.uint64)
    w = words(1, 5, NARROW - 1)
    assert pack_matrix(w) is w
    matmul_add(x, w, out)
    assert np.array_equal(out & MASK, expected(x, w, np.zeros_like(out)))
    assert isinstance(pack_matrix(words(1, 5, NARROW)), PackedMatrix)


def test_sources_from_the_network() -> None:
    """Read-only, and at an odd address."""
    w = words(1, 6, 18)
    x = np.frombuffer(b"." + words(2, 3, 6).tobytes(), np.uint64, 18, 1).reshape(3, 6)
    assert not x.flags.writeable
    assert not x.flags.aligned
    out = np.zeros((3, 18), np.uint64)
    matmul_add(x, PackedMatrix.of(w), out)
    assert np.array_equal(out & MASK, expected(x.copy(), w, np.zeros_like(out)))


@pytest.mark.parametrize(
    ("x", "out"), [((3, 7), (3, 20)), ((3, 6), (2, 20)), ((3, 6), (3, 33)), ((3, 6), (3, 16))]
)
def test_shapes_that_do_not_fit(x: tuple[int, int], out: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="shapes"):
        matmul_add(words(1, *x), PackedMatrix.of(words(2, 6, 20)), words(3, *out))


def test_two_threads_at_once() -> None:
    packed = PackedMatrix.of(words(1, 40, 19))
    sources = [words(2 + i, 5, 40) for i in range(8)]
    right = [expected(x, packed.unpack(), np.zeros((5, 19), np.uint64)) for x in sources]

    def work(i: int) -> bool:
        out = np.zeros((5, 19), np.uint64)
        matmul_add(sources[i % 8], packed, out)
        return np.array_equal(out & MASK, right[i % 8])

    with ThreadPoolExecutor(2) as threads:
        assert all(threads.map(work, range(400)))


def test_nothing_prints_a_value() -> None:
    assert repr(PackedMatrix.of(words(1, 2, 3))) == "PackedMatrix(shape=(2, 3))"
