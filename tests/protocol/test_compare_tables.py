"""Tables and kernels of the comparisons against the formulas, bit by bit.

Also run with NUMBA_DISABLE_JIT=1 (test_without_jit).
"""

import itertools

import numpy as np
import pytest

from libmpc.protocol import combine_kernels as kernels
from libmpc.protocol import compare_deal_kernels as deal_kernels
from libmpc.protocol import compare_tables as tables
from tests.protocol.harness import run, words
from tests.protocol.steps import ALL, Promise


def g_polynomial(b: list[int]) -> int:
    eq_t, eq4, eq3, eq2, eq1, lt4, lt3, lt2, lt1, lt0 = b
    return eq_t & (lt4 ^ eq4 & (lt3 ^ eq3 & (lt2 ^ eq2 & (lt1 ^ eq1 & lt0))))


def c_polynomial(b: list[int]) -> int:
    eq3, eq2, eq1, lt2, lt1, lt0 = b
    return eq3 & (lt2 ^ eq2 & (lt1 ^ eq1 & lt0))


def bits(word: int, count: int) -> list[int]:
    return [word >> i & 1 for i in range(count)]


def needed(eqs: tuple[int, ...], lts: tuple[int, ...]) -> set[frozenset[int]]:
    """Every subset of every monomial."""
    return {
        frozenset(subset)
        for term in tables.monomials(eqs, lts)
        for size in range(len(term) + 1)
        for subset in itertools.combinations(sorted(term), size)
    }


def test_every_product_has_one_place() -> None:
    for places, eqs, lts, products in (
        (tables.places_of_g(), tables.EQS_G, tables.LTS_G, 83),
        (tables.places_of_c(), tables.EQS_C, tables.LTS_C, 15),
    ):
        assert len(set(places.values())) == len(places) == 1 + len(eqs + lts) + products
        assert needed(eqs, lts) == set(places)


def some(bits: int) -> list[int]:
    rng = np.random.default_rng(0)
    alone = [1 << i for i in range(bits)]
    return [0, 2**bits - 1, *alone, *rng.integers(0, 2**bits, 200).tolist()]


def test_products_of_g_are_at_their_places() -> None:
    for mu in some(10):
        words = (
            int(deal_kernels.products_in_row4(np.uint64(mu))),
            int(deal_kernels.products_in_row3(np.uint64(mu))) >> 32,
        )
        for subset, (where, place) in tables.places_of_g().items():
            if len(subset) >= 2:
                assert words[where] >> place & 1 == all(mu >> bit & 1 for bit in subset)
        assert int(deal_kernels.products_in_row3(np.uint64(mu))) % 2**32 == 0
        assert words[1] < 2**19


def test_products_of_c_are_at_their_places() -> None:
    for mu in some(6):
        spare = int(deal_kernels.products_in_spare(np.uint64(mu)))
        word = int(deal_kernels.products_in_word(np.uint64(mu)))
        rest = spare >> 51 | sum((word >> 16 * i + 15 & 1) << 11 + i for i in range(4))
        for subset, (_, place) in tables.places_of_c().items():
            if len(subset) >= 2:
                assert rest >> place & 1 == all(mu >> bit & 1 for bit in subset)
        assert spare % 2**51 == 0
        assert spare < 2**62
        assert word & ~0x8000_8000_8000_8000 == 0


def test_chosen_products_add_up_to_the_polynomials() -> None:
    rng = np.random.default_rng(1)
    for count, places, polynomial, in_word, in_rest in (
        (10, tables.places_of_g(), g_polynomial, tables.PRODUCTS_G, tables.REST_G),
        (6, tables.places_of_c(), c_polynomial, np.zeros(64, np.uint64), tables.REST_C),
    ):
        for _ in range(300):
            opened, mu = (int(v) for v in rng.integers(0, 2**count, 2))
            held = [0, 0]
            for subset, (where, place) in places.items():
                held[where] |= all(mu >> bit & 1 for bit in subset) << place
            chosen = (held[0] & int(in_word[opened]), held[1] & int(in_rest[opened]))
            parity = (chosen[0].bit_count() + chosen[1].bit_count()) % 2
            assert parity == polynomial(bits(opened ^ mu, count))


def test_parity() -> None:
    for x in [0, 1, 2**63, 2**64 - 1, 0x8000_0000_0000_0001, 0x1234_5678_9ABC_DEF1]:
        assert int(kernels.parity(np.uint64(x))) == x.bit_count() % 2


def tables_of_g(high: int, shift: int) -> list[int]:
    """Rows 0 to 3 of party 1 for 32 bits of λ, where party 0's and all mask bits are zero."""
    lam = words([high << shift | (2**shift - 1)])
    none = np.zeros(1, np.uint16)
    row = np.zeros((5, 1), np.uint64)
    deal_kernels.deal_sign(lam, np.uint64(shift), none, none, row)
    return [int(word) for word in row[:4, 0]]


@pytest.mark.parametrize("shift", [0, 16])
def test_tables_of_the_sign_are_thermometers(shift: int) -> None:
    rng = np.random.default_rng(2)
    for high in [0, 2**32 - 1, 2**31, *rng.integers(0, 2**32, 100).tolist()]:
        t0, t1, t2, t3 = tables_of_g(high, shift)
        chunks = [
            (t1, 0, 0, 32),
            (t1, 32, 5, 32),
            (t2, 0, 10, 32),
            (t2, 32, 15, 32),
            (t0, 0, 20, 64),
        ]
        for word, first, at, size in chunks:
            v = high >> at & (size - 1)
            assert bits(word >> first, size) == [int(a < v) for a in range(size)]
        top, sign = high >> 26 & 31, high >> 31
        assert bits(t3, 64) == [int(a < top) ^ sign for a in range(32)] + [0] * 32


def test_tables_of_the_borrow_are_thermometers() -> None:
    rng = np.random.default_rng(3)
    for low in [0, 2**16 - 1, *rng.integers(0, 2**16, 100).tolist()]:
        word = int(deal_kernels.tables_of_c(np.uint64(low)))
        for chunk in range(4):
            v = low >> 4 * chunk & 15
            assert bits(word >> 16 * chunk, 16) == [int(a < v) for a in range(16)]


@pytest.mark.parametrize("promise", ALL, ids=lambda p: p.name)
def test_whole_step_on_a_few_values(promise: Promise) -> None:
    numbers = promise.numbers()
    values = words([v for v in numbers if promise.low <= v <= promise.high][::20])
    lam = np.arange(values.size, dtype=np.uint64) * np.uint64(0x1FEDCBA98765)
    assert np.array_equal(run(promise.step, values, lam).result, promise.of(values))
