"""Where the products of mask bits lie, and which of them to add once the bits are open.

A comparison polynomial is a sum of monomials in bits b_i; each b_i = o_i ⊕ μ_i with o_i opened and
μ_i a mask bit whose products the dealer has shared. Expanding a monomial over a set T of bits:

    Π_{i∈T} (o_i ⊕ μ_i) = ⊕_{S⊆T} (Π_{i∈T∖S} o_i) · (Π_{i∈S} μ_i)

so for given opened bits the share of the polynomial is the parity of the shared products under a
constant mask. These constants are ``PRODUCTS_G`` and ``REST_G`` (indexed by the ten opened bits of
g) and ``REST_C`` (by the six of c), built below from the formulas.

The opened bits of a value, 16 in a word:

    0 eqT  1 eq4  2 eq3  3 eq2  4 eq1  5 lt4  6 lt3  7 lt2  8 lt1  9 lt0      g
    10 eq3  11 eq2  12 eq1  13 lt2  14 lt1  15 lt0                            c

An evaluator's ``rest`` word: bits 0–31 are products, 32–47 its own 16 mask bits, 48 and 49 two
more products, 50 the constant one (set at party 0 only).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

G_BITS = 10
C_BITS = 6
OWN_MASKS = 32  # first place of the own mask bits in the rest word
SPARE = 48
ONE = 50

_EQ_G = (0, 1, 2, 3, 4)  # eqT, eq4, eq3, eq2, eq1
_LT_G = (5, 6, 7, 8, 9)  # lt4, lt3, lt2, lt1, lt0
_EQ_C = (10, 11, 12)
_LT_C = (13, 14, 15)

Place = tuple[int, int]  # 0: the word of products, 1: the rest word; and the bit


def _subset(eqs: tuple[int, ...], number: int) -> frozenset[int]:
    return frozenset(e for i, e in enumerate(eqs) if number >> i & 1)


def places() -> dict[frozenset[int], Place]:
    """The place of every product of mask bits, by the set of opened bits it belongs to."""
    result: dict[frozenset[int], Place] = {frozenset(): (1, ONE)}
    for bit in range(G_BITS + C_BITS):
        result[frozenset({bit})] = (1, OWN_MASKS + bit)

    def put(lt: int | None, eqs: tuple[int, ...], first: int, count: int, place: Place) -> None:
        """``count`` subsets of eqs from number ``first`` on, times lt, from ``place`` on."""
        for i in range(count):
            extra = frozenset() if lt is None else frozenset({lt})
            result[_subset(eqs, first + i) | extra] = (place[0], place[1] + i)

    put(9, _EQ_G, 1, 31, (0, 0))
    put(8, _EQ_G, 1, 15, (0, 31))
    put(7, _EQ_G, 1, 7, (0, 46))
    put(6, _EQ_G, 1, 3, (0, 53))
    put(5, _EQ_G, 1, 1, (0, 56))
    put(None, _EQ_G, 9, 7, (0, 57))
    put(None, _EQ_G, 17, 15, (1, 0))
    put(None, _EQ_G, 5, 3, (1, 15))
    put(None, _EQ_G, 3, 1, (1, 18))
    put(15, _EQ_C, 1, 7, (1, 19))
    put(14, _EQ_C, 1, 3, (1, 26))
    put(None, _EQ_C, 5, 3, (1, 29))
    put(13, _EQ_C, 1, 1, (1, SPARE))
    put(None, _EQ_C, 3, 1, (1, SPARE + 1))
    return result


def monomials(eqs: tuple[int, ...], lts: tuple[int, ...]) -> list[frozenset[int]]:
    """Of eq_0·(lt_0 ⊕ eq_1·(lt_1 ⊕ …)), with as many eqs as lts."""
    return [frozenset((*eqs[: i + 1], lt)) for i, lt in enumerate(lts)]


def _build(terms: list[frozenset[int]], first: int, bits: int) -> tuple[NDArray[np.uint64], ...]:
    where = places()
    opened = np.arange(1 << bits, dtype=np.uint64)
    tables = (np.zeros(1 << bits, np.uint64), np.zeros(1 << bits, np.uint64))
    for term in terms:
        for size in range(len(term) + 1):
            for chosen in combinations(sorted(term), size):
                word, place = where[frozenset(chosen)]
                factor = np.ones(1 << bits, np.uint64)
                for bit in term - set(chosen):
                    factor &= opened >> np.uint64(bit - first)
                tables[word][:] ^= (factor & np.uint64(1)) << np.uint64(place)
    return tables


PRODUCTS_G, REST_G = _build(monomials(_EQ_G, _LT_G), 0, G_BITS)
_, REST_C = _build(monomials(_EQ_C, _LT_C), G_BITS, C_BITS)
for _table in (PRODUCTS_G, REST_G, REST_C):
    _table.flags.writeable = False
