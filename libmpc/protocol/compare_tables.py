"""Where the products of mask bits lie, and which of them to add once the bits are open.

A comparison polynomial is a sum of monomials in bits b_i; each b_i = o_i ⊕ μ_i with o_i opened and
μ_i a mask bit whose products the dealer has shared. Expanding a monomial over a set T of bits:

    Π_{i∈T} (o_i ⊕ μ_i) = ⊕_{S⊆T} (Π_{i∈T∖S} o_i) · (Π_{i∈S} μ_i)

so for given opened bits the share of the polynomial is the parity of the shared products under a
constant mask. These constants are ``PRODUCTS_G`` and ``REST_G`` (indexed by the ten opened bits of
g) and ``REST_C`` (by the six of c), built below from the formulas.

The opened bits, from bit 0 on:

    eqT  eq4  eq3  eq2  eq1  lt4  lt3  lt2  lt1  lt0      of g
    eq3  eq2  eq1  lt2  lt1  lt0                          of c

An evaluator's ``rest`` word: from bit 0 on products (19 of g, 15 of c), from bit 32 on its own mask
bits, bit 50 the constant one (set at party 0 only).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

OWN_MASKS = 32  # first place of the own mask bits in the rest word
ONE = 50

EQS_G, LTS_G = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)
EQS_C, LTS_C = (0, 1, 2), (3, 4, 5)

Place = tuple[int, int]  # 0: the word of products, 1: the rest word; and the bit
Places = dict[frozenset[int], Place]


def places_of_g() -> Places:
    """The place of every product of g's mask bits, by the set of opened bits it belongs to."""
    result = _own(10)
    _put(result, EQS_G, 9, range(1, 32), (0, 0))
    _put(result, EQS_G, 8, range(1, 16), (0, 31))
    _put(result, EQS_G, 7, range(1, 8), (0, 46))
    _put(result, EQS_G, 6, range(1, 4), (0, 53))
    _put(result, EQS_G, 5, range(1, 2), (0, 56))
    _put(result, EQS_G, None, range(9, 16), (0, 57))
    _put(result, EQS_G, None, range(17, 32), (1, 0))
    _put(result, EQS_G, None, range(5, 8), (1, 15))
    _put(result, EQS_G, None, range(3, 4), (1, 18))
    return result


def places_of_c() -> Places:
    """The place of every product of c's mask bits, likewise."""
    result = _own(6)
    _put(result, EQS_C, 5, range(1, 8), (1, 0))
    _put(result, EQS_C, 4, range(1, 4), (1, 7))
    _put(result, EQS_C, 3, range(1, 2), (1, 10))
    _put(result, EQS_C, None, range(5, 8), (1, 11))
    _put(result, EQS_C, None, range(3, 4), (1, 14))
    return result


def monomials(eqs: tuple[int, ...], lts: tuple[int, ...]) -> list[frozenset[int]]:
    """Of eq_0·(lt_0 ⊕ eq_1·(lt_1 ⊕ …)), with as many eqs as lts."""
    return [frozenset((*eqs[: i + 1], lt)) for i, lt in enumerate(lts)]


def _own(bits: int) -> Places:
    single = {frozenset({bit}): (1, OWN_MASKS + bit) for bit in range(bits)}
    return {frozenset(): (1, ONE), **single}


def _put(result: Places, eqs: tuple[int, ...], lt: int | None, numbers: range, at: Place) -> None:
    """Subsets of eqs with these numbers (bit i: the i-th of them), times lt, from ``at`` on."""
    for offset, number in enumerate(numbers):
        subset = {eq for i, eq in enumerate(eqs) if number >> i & 1}
        result[frozenset(subset if lt is None else {*subset, lt})] = (at[0], at[1] + offset)


def _build(where: Places, terms: list[frozenset[int]], bits: int) -> tuple[NDArray[np.uint64], ...]:
    opened = np.arange(1 << bits, dtype=np.uint64)
    tables = (np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.uint64))
    for term in terms:
        for size in range(len(term) + 1):
            for chosen in combinations(sorted(term), size):
                word, place = where[frozenset(chosen)]
                factor = np.ones(1 << bits, np.uint64)
                for bit in term - set(chosen):
                    factor &= opened >> np.uint64(bit)
                tables[word][:] ^= (factor & np.uint64(1)) << np.uint64(place)
    for table in tables:
        table.flags.writeable = False
    return tables


PRODUCTS_G, REST_G = _build(places_of_g(), monomials(EQS_G, LTS_G), 10)
_, REST_C = _build(places_of_c(), monomials(EQS_C, LTS_C), 6)
