"""Kernels of ``top``: over all pairs of the groups, and over one-hot tables.

Evaluators' indices are open to both of them. SECURITY: ``deal_one_hot`` handles secret places: no
branch and no index may depend on one; in ``patterns`` and ``differences``, which the dealer runs,
too, none does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN8, IN64, IN64_2D, INOUT64_2D, INT, OUT64, U64, kernel

ZERO = np.uint64(0)
ONE = np.uint64(1)
LOW6 = np.uint64(63)


@kernel(IN64, INT, INT, OUT64)
def differences(values: Any, candidates: Any, groups: Any, out: Any) -> None:
    """values[i] − values[j] of every pair i < j of every sample."""
    pair = 0
    start = 0
    for number in range(values.size // candidates * groups):
        size = candidates // groups
        if number % groups < candidates % groups:
            size += 1
        for i in range(start, start + size):
            for j in range(i + 1, start + size):
                out[pair] = values[i] - values[j]
                pair += 1
        start += size


@kernel(IN8, IN8, U64, INT, INT, OUT64)
def patterns(ours: Any, theirs: Any, flip: Any, candidates: Any, groups: Any, out: Any) -> None:
    """For every candidate its pairs' bits, the others of its group in order from bit 0 on.

    A pair's bit is the XOR of both halves; ``flip`` is XORed to it at the first of the pair.
    """
    pair = 0
    start = 0
    for i in range(out.size):
        out[i] = ZERO
    for number in range(out.size // candidates * groups):
        size = candidates // groups
        if number % groups < candidates % groups:
            size += 1
        for i in range(size):
            for j in range(i + 1, size):
                both = np.uint64(ours[pair >> 3] ^ theirs[pair >> 3])
                bit = (both >> np.uint64(pair & 7)) & ONE
                out[start + i] |= (bit ^ flip) << np.uint64(j - 1)
                out[start + j] |= bit << np.uint64(i)
                pair += 1
        start += size


@kernel(IN8, IN8, IN64, U64, INT, INT, OUT64)
def scores(
    ours: Any, theirs: Any, shares: Any, one: Any, candidates: Any, groups: Any, out: Any
) -> None:
    """Shares, modulo 2^16, of how many of its group a candidate beats.

    ``shares`` are of r, from bit 48 on; a pair's ĝ = g ⊕ r is the XOR of both halves.
    """
    pair = 0
    start = 0
    for i in range(out.size):
        out[i] = ZERO
    for number in range(out.size // candidates * groups):
        size = candidates // groups
        if number % groups < candidates % groups:
            size += 1
        for i in range(start, start + size):
            for j in range(i + 1, start + size):
                both = np.uint64(ours[pair >> 3] ^ theirs[pair >> 3])
                bit = (both >> np.uint64(pair & 7)) & ONE
                r = shares[pair] >> np.uint64(48)
                g = bit * one + r - np.uint64(2) * bit * r
                out[i] += g
                out[j] += one - g
                pair += 1
        start += size


@kernel(IN64, IN64_2D, OUT64)
def read_winner(places: Any, tables: Any, out: Any) -> None:
    """The bit at an open place of every candidate's table, (words, candidates)."""
    for i in range(places.size):
        at = places[i]
        out[i] = (tables[np.int64(at >> np.uint64(6)), i] >> (at & LOW6)) & ONE


@kernel(IN64, IN64_2D, INT, INT, INT, OUT64)
def read_ranks(opened: Any, tables: Any, candidates: Any, groups: Any, keep: Any, out: Any) -> None:
    """One-hot rows of the first, second, … of every group, from opened scores.

    A table has its one at the mask t of the score s; s + t is open, and s is the group's size less
    1 less the rank.
    """
    modulus = np.uint64(64 * tables.shape[0] - 1)
    start = 0
    at = 0
    for number in range(opened.size // candidates * groups):
        size = candidates // groups
        if number % groups < candidates % groups:
            size += 1
        for rank in range(keep):
            beaten = np.uint64(size - 1 - rank)
            for i in range(start, start + size):
                place = (opened[i] - beaten) & modulus
                out[at] = (tables[np.int64(place >> np.uint64(6)), i] >> (place & LOW6)) & ONE
                at += 1
        start += size


@kernel(IN64, INOUT64_2D)
def deal_one_hot(places: Any, tables: Any) -> None:
    """Party 0's half of tables with a single one at a secret place becomes party 1's."""
    for row in range(tables.shape[0]):
        for i in range(places.size):
            other = np.uint64(row) ^ (places[i] >> np.uint64(6))
            here = ZERO - ((other - ONE) >> np.uint64(63))
            tables[row, i] ^= (ONE << (places[i] & LOW6)) & here
