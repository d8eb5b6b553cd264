"""Every use of a common stream: the layout that a plan's version stands for.

A draw is named by the index of the step it belongs to and one of these purposes; the table is the
whole truth about which random numbers two parties have in common. The number of a purpose is never
given to another one.
"""

from __future__ import annotations

from enum import IntEnum


class Purpose(IntEnum):
    """Streams of a bundle, (party 0, dealer) and (party 1, dealer), unless noted otherwise."""

    MASK = 1
    """λ_j of the masked value that an input or comparing step makes: one word a value."""
    OPENING = 2
    """γ_j, under which a step opens its source: one word a value."""
    BITS = 3
    """Masks of opened comparison bits: two bytes a value, at ``truncate`` one."""
    SELECT_BITS = 4
    """Masks of g, then of c: one bit a value each, eight values a byte."""
    RELU_SHARES = 5
    """Party 0's half of tables, products and arithmetic: 82 bytes a value; only party 0."""
    OUTPUT = 6
    """γ_0 of the missing part of the output: one word a value; only party 0."""
    TRUNCATE_SHARES = 7
    """As ``RELU_SHARES``, of ``truncate``: 24 bytes a value."""
    RECTIFY_SHARES = 8
    """As ``RELU_SHARES``, of ``rectify``: 52 bytes a value."""
    POSITIVE_SHARES = 9
    """As ``RELU_SHARES``, of ``positive``: 46 bytes a value."""
    AUDIT = 10
    """Salt of the dealer's word for party 0's masks, 32 bytes; only party 0."""
    RERANDOMISE = 16
    """Stream of the evaluators: r of what leaves for the client, one word a value."""
    TOP_SHARES = 17
    """As ``RELU_SHARES``, of ``top``: fourteen words a comparison."""
    TOP_TABLES = 18
    """Party 0's half of the one-hot tables of ``top``: whole words a candidate; only party 0."""
    RANK = 19
    """Masks of opened scores of ``top``: two bytes a candidate."""
    PICK_SHARES = 20
    """As ``RELU_SHARES``, of ``pick``: 12 bytes a one-hot bit."""
    PICK_BITS_SHARES = 21
    """As ``RELU_SHARES``, of ``pick_bits``: one bit a result, eight a byte."""
    LOOKUP_SHARES = 22
    """As ``RELU_SHARES``, of ``lookup``: six bytes a place of the table."""
    WEIGHT_MASK = 32
    """Streams of the owner's seeds: λ_Wj of a linear step, one word a weight."""
    BIAS = 33
    """Stream of the owner's seed 0: party 0's share of a linear step's bias."""
