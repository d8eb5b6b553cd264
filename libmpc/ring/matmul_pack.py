"""Packing of the second matrix of a product into tiles, for ``matmul_tiles``.

A tile is sixteen columns, row by row; the last one is filled up with zeros. A row is sixteen words,
as many as it has numbers, in the order in which registers take them:

    words 0 to 3    lower 32 bits of columns 0 to 3; above them those of columns 4 to 7
    words 4 to 7    the same of columns 8 to 11; above them of columns 12 to 15
    words 8 to 11   sixteen bits a column: 32 to 47 of even columns, 0 to 15 of odd ones
    words 12 to 15  sixteen bits a column: 0 to 15 of even columns, 32 to 47 of odd ones

In words 0 to 7 every lane has two factors of 32 bits: one is where it is multiplied, the other one
is after a shift. In the other words even and odd columns take turns because their other factors
x_l, x_h, x_l, x_h, … come from a register with x in every word by one shuffle within words. Bits 0
to 15 are there twice, bits 48 to 63 not at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from libmpc.ring.jit import IN64_2D, OUT64_3D, kernel

LANES = 16
"""Columns of a tile, and words of its rows."""

LOW16 = np.uint64(0xFFFF)
UPPER16 = np.uint64(0xFFFF0000)
LOW32 = np.uint64(0xFFFFFFFF)
ZERO = np.uint64(0)


@kernel(IN64_2D, OUT64_3D)
def pack_tiles(w: Any, tiles: Any) -> None:
    """tiles (⌈m / 16⌉, k, 16) from w (k, m)."""
    depth, m = w.shape
    line = np.empty(LANES, np.uint64)
    for t in range(tiles.shape[0]):
        column = LANES * t
        line[:] = ZERO
        for k in range(depth):
            for c in range(column, min(m, column + LANES)):
                line[c - column] = w[k, c]
            row = tiles[t, k]
            for i in range(4):
                row[i] = (line[i] & LOW32) | (line[4 + i] << np.uint64(32))
                row[4 + i] = (line[8 + i] & LOW32) | (line[12 + i] << np.uint64(32))
                first = ZERO
                second = ZERO
                for j in range(0, 4, 2):
                    shift = np.uint64(16 * j)
                    even = line[4 * i + j]
                    odd = line[4 * i + j + 1]
                    low = (even & LOW16) | ((odd & LOW16) << np.uint64(16))
                    high = ((even >> np.uint64(32)) & LOW16) | ((odd >> np.uint64(16)) & UPPER16)
                    first |= ((high & LOW16) | (low & UPPER16)) << shift
                    second |= ((low & LOW16) | (high & UPPER16)) << shift
                row[8 + i] = first
                row[12 + i] = second


def parts(rows: Any) -> tuple[Any, Any, Any]:
    """Of a tile's rows (k, 16): w mod 2^32, w>>32 and w mod 2^16 by column, each (k, 16).

    In numpy, for what need not be quick.
    """
    pairs = rows[:, :8].reshape(-1, 2, 1, 4)
    low32 = np.concatenate((pairs & LOW32, pairs >> np.uint64(32)), axis=2).reshape(-1, LANES)
    halves = np.ascontiguousarray(rows[:, 8:]).view(np.uint16).astype(np.uint64)
    first, second = halves[:, :LANES], halves[:, LANES:]
    even = np.arange(LANES) % 2 == 0
    return low32, np.where(even, first, second), np.where(even, second, first)
