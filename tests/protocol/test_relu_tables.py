"""Tables and kernels of the comparison against the formulas, bit by bit.

Also run with NUMBA_DISABLE_JIT=1 (test_without_jit).
"""

import itertools

import numpy as np

from libmpc.protocol import relu_deal_kernels as deal_kernels
from libmpc.protocol import relu_kernels as kernels
from libmpc.protocol import relu_tables as tables
from tests.protocol.harness import run_relu


def g_polynomial(b: list[int]) -> int:
    eq_t, eq4, eq3, eq2, eq1, lt4, lt3, lt2, lt1, lt0 = b[:10]
    return eq_t & (lt4 ^ eq4 & (lt3 ^ eq3 & (lt2 ^ eq2 & (lt1 ^ eq1 & lt0))))


def c_polynomial(b: list[int]) -> int:
    eq3, eq2, eq1, lt2, lt1, lt0 = b[10:]
    return eq3 & (lt2 ^ eq2 & (lt1 ^ eq1 & lt0))


def bits(word: int, count: int = 16) -> list[int]:
    return [word >> i & 1 for i in range(count)]


def test_every_product_has_one_place() -> None:
    places = tables.places()
    assert len(set(places.values())) == len(places) == 1 + 16 + 83 + 15
    needed = {
        frozenset(subset)
        for eqs, lts in (((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)), ((10, 11, 12), (13, 14, 15)))
        for term in tables.monomials(eqs, lts)
        for size in range(len(term) + 1)
        for subset in itertools.combinations(sorted(term), size)
    }
    assert needed <= set(places)


def test_products_are_at_their_places() -> None:
    rng = np.random.default_rng(0)
    for mu in [0, 0xFFFF, *(1 << i for i in range(16)), *rng.integers(0, 2**16, 200).tolist()]:
        word = int(deal_kernels.products_in_row5(np.uint64(mu)))
        high = int(deal_kernels.products_in_row3(np.uint64(mu)))
        spare = int(deal_kernels.products_in_row4(np.uint64(mu)))
        rest = high >> 32 | (spare >> 15 & 1) << 48 | (spare >> 31 & 1) << 49
        for subset, (where, place) in tables.places().items():
            if len(subset) >= 2:
                product = all(mu >> bit & 1 for bit in subset)
                assert (word, rest)[where] >> place & 1 == product
        assert spare & ~(1 << 15 | 1 << 31) == 0
        assert high % 2**32 == 0


def test_chosen_products_add_up_to_the_polynomials() -> None:
    rng = np.random.default_rng(1)
    places = tables.places()
    for _ in range(300):
        opened, mu = (int(v) for v in rng.integers(0, 2**16, 2))
        words = [0, 0]
        for subset, (where, place) in places.items():
            words[where] |= all(mu >> bit & 1 for bit in subset) << place
        true = bits(opened ^ mu)
        of_g, of_c = opened & 1023, opened >> 10
        g = words[0] & int(tables.PRODUCTS_G[of_g]), words[1] & int(tables.REST_G[of_g])
        assert (g[0].bit_count() + g[1].bit_count()) % 2 == g_polynomial(true)
        assert (words[1] & int(tables.REST_C[of_c])).bit_count() % 2 == c_polynomial(true)


def test_parity() -> None:
    for x in [0, 1, 2**63, 2**64 - 1, 0x8000_0000_0000_0001, 0x1234_5678_9ABC_DEF1]:
        assert int(kernels.parity(np.uint64(x))) == x.bit_count() % 2


def tables_of_g(high: int) -> list[int]:
    """Rows 0 to 3 of party 1 for λ's bits 16 to 47, where party 0's and all mask bits are zero."""
    lam = np.array([high << 16], np.uint64)
    none = np.zeros(1, np.uint16)
    out = np.empty((8, 1), np.uint64)
    deal_kernels.deal_tables(lam, np.zeros((8, 1), np.uint64), none, none, out)
    return [int(word) for word in out[:4, 0]]


def test_tables_are_thermometers() -> None:
    rng = np.random.default_rng(2)
    for high in [0, 2**32 - 1, 2**31, *rng.integers(0, 2**32, 100).tolist()]:
        t0, t1, t2, t3 = tables_of_g(high)
        chunks = [
            (t1, 0, 0, 32),
            (t1, 32, 5, 32),
            (t2, 0, 10, 32),
            (t2, 32, 15, 32),
            (t0, 0, 20, 64),
        ]
        for word, first, shift, size in chunks:
            v = high >> shift & (size - 1)
            assert bits(word >> first, size) == [int(a < v) for a in range(size)]
        top, sign = high >> 26 & 31, high >> 31
        assert bits(t3, 64) == [int(a < top) ^ sign for a in range(32)] + [0] * 32
    for low in [0, 2**16 - 1, *rng.integers(0, 2**16, 100).tolist()]:
        word = int(deal_kernels.tables_of_c(np.uint64(low)))
        for chunk in range(4):
            v = low >> 4 * chunk & 15
            assert bits(word >> 16 * chunk, 16) == [int(a < v) for a in range(16)]


def test_whole_step_on_a_few_values() -> None:
    z = np.array([0, 65535, 65536, -1, -65536, 2**47, -(2**47) + 2**16, 12345678], np.int64)
    y, _ = run_relu(z.view(np.uint64), np.arange(8, dtype=np.uint64) * np.uint64(0x1FEDCBA98765))
    assert y.tolist() == [max(v >> 16, 0) for v in z.tolist()]
