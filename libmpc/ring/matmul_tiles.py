"""The matrix product modulo 2^48, with a packed second matrix (``matmul_pack``).

With x = x_l + 2^32·x_h and w = w_l + 2^32·w_h, where x_l and w_l are below 2^32,

    x·w = x_l·w_l + 2^32·(x_l·w_h + x_h·w_l)  modulo 2^48,

and of the bracket 16 bits count, so that its factors may be reduced modulo 2^16. A product is then
one multiplication of 32 by 32 bits and two of 16 bits. Processors do four and sixteen of those at a
time (``vpmuludq`` and ``vpmullw`` of AVX2; ``umlal`` and ``mla`` of arm64), but have no quick
multiplication of 64-bit numbers. The two sums, Σ x_l·w_l modulo 2^64 and that of the brackets
modulo 2^16, are put together at the end.

What makes it quick is a block of the result, two rows by sixteen columns (one by thirty-two, where
there is but one row), whose sums stay in registers: numba makes no such loop of Python's, so the
innermost one is written in LLVM's language, for vectors of any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from libmpc.ring.jit import IN64_2D, IN64_3D, INT, OUT64_2D, kernel, llvm, written
from libmpc.ring.matmul_pack import LANES, LOW16, LOW32, ZERO, parts

DEPTH = 256
"""Rows of a tile between two additions to the result: 32 kB, for the first cache."""
ROWS = 64
"""Rows of x that meet a tile while it is there: 128 kB of x, for the second cache."""

AHEAD = 8
"""Rows of a tile that are asked for before they are needed, where each is used only once."""

_TYPES = (IN64_2D, INT, INT, INT, IN64_3D, INT, OUT64_2D, INT, INT)
"""Of the arguments of ``_tile1``, ``_tile2`` and ``_pair1``: see ``_plain``."""


def _plain(rows: int, side: int) -> Callable[..., None]:
    """What ``_write`` writes, in numpy."""

    def tile(
        x: Any, row: int, k: int, depth: int, tiles: Any, t: int, out: Any, r: int, c: int
    ) -> None:
        """out[r + i, c + j] += Σ x[row + i, k + l]·w[k + l, 16t + j], for l below ``depth`` ≥ 1."""
        a = x[row : row + rows, k : k + depth]
        for s in range(side):
            low32, high, low16 = parts(tiles[t + s, k : k + depth])
            bracket = (a & LOW16) @ high + ((a >> np.uint64(32)) & LOW16) @ low16
            some = out[r : r + rows, c + s * LANES : c + (s + 1) * LANES]
            some += (a & LOW32) @ low32 + (bracket << np.uint64(32))

    return tile


_WORD, _HALF, _LANE = llvm.IntType(64), llvm.IntType(16), llvm.IntType(32)
_WORDS, _HALVES = llvm.VectorType(_WORD, 4), llvm.VectorType(_HALF, LANES)


def _write(rows: int, side: int) -> Callable[..., None]:
    """A writer of the loop over ``depth`` for ``rows`` rows of x and ``side`` tiles side by side.

    Every row has four registers of Σ x_l·w_l and one of brackets in every tile. SSA form: ``sums``
    and ``brackets`` are the values at the loop's top, which come from before it (zero) or from its
    end.
    """
    blocks = [(i, s) for s in range(side) for i in range(rows)]

    def write(
        b: Any, x: Any, row: Any, k: Any, depth: Any, tiles: Any, t: Any, out: Any, r: Any, c: Any
    ) -> None:
        def load(array: Any, place: Any, kind: Any, align: int) -> Any:
            return b.load(_address(b, array, place, kind), align=align)

        x_at = [b.add(b.mul(b.add(row, _word(i)), x.shape[1]), k) for i in range(rows)]
        w_at = [b.add(b.mul(b.add(t, _word(s)), tiles.shape[1]), k) for s in range(side)]
        before = b.block
        loop, after = b.append_basic_block("tile.loop"), b.append_basic_block("tile.end")
        b.branch(loop)
        b.position_at_end(loop)
        at = b.phi(_WORD)
        sums = {block: [b.phi(_WORDS) for _ in range(4)] for block in blocks}
        brackets = {block: b.phi(_HALVES) for block in blocks}

        # In an order in which few values wait in registers: there are sixteen, and ten have sums.
        # x is read once and spread over a register; all its parts are taken from there.
        of_x = [_repeat(b, load(x, b.add(place, at), _WORD, 1), _WORDS) for place in x_at]
        x_low = [b.and_(value, _words(2**32 - 1)) for value in of_x]
        new_sums: dict[tuple[int, int], list[Any]] = {block: [] for block in blocks}
        new_brackets = dict(brackets)
        for s in range(side):
            line = b.mul(b.add(w_at[s], at), _word(LANES))
            if rows == 1:
                _prefetch(b, tiles, line)
            for q in range(2):
                pairs = load(tiles, b.add(line, _word(4 * q)), _WORDS, 8)
                for w_low in (b.and_(pairs, _words(2**32 - 1)), b.lshr(pairs, _words(32))):
                    for i in range(rows):
                        new = new_sums[i, s]
                        new.append(b.add(sums[i, s][len(new)], b.mul(x_low[i], w_low)))
            for q in range(2):  # 0: x_l·w_h of even columns, x_h·w_l of odd ones; then the others
                w_16 = load(tiles, b.add(line, _word(8 + 4 * q)), _HALVES, 8)
                for i in range(rows):
                    from_x = [4 * (j // 4) + 2 * ((j + q) % 2) for j in range(LANES)]
                    x_16 = _choose(b, b.bitcast(of_x[i], _HALVES), from_x)
                    new_brackets[i, s] = b.add(new_brackets[i, s], b.mul(x_16, w_16))

        following = b.add(at, _word(1))
        _link(at, (before, _word(0)), (loop, following))
        for block in blocks:
            for old, new in zip(sums[block], new_sums[block], strict=True):
                _link(old, (before, _words(0)), (loop, new))
            zeros = llvm.Constant(_HALVES, [0] * LANES)
            _link(brackets[block], (before, zeros), (loop, new_brackets[block]))
        b.cbranch(b.icmp_signed("<", following, depth), loop, after)
        b.position_at_end(after)

        for i, s in blocks:
            start = b.add(b.mul(b.add(r, _word(i)), out.shape[1]), b.add(c, _word(LANES * s)))
            for q in range(4):
                bracket = _choose(b, new_brackets[i, s], list(range(4 * q, 4 * q + 4)))
                high = b.shl(b.zext(bracket, _WORDS), _words(32))
                place = _address(b, out, b.add(start, _word(4 * q)), _WORDS)
                total = b.add(b.load(place, align=8), b.add(new_sums[i, s][q], high))
                b.store(total, place, align=8)

    return write


def _word(value: int) -> Any:
    return llvm.Constant(_WORD, value)


def _words(value: int) -> Any:
    return llvm.Constant(_WORDS, [value] * 4)


def _address(b: Any, array: Any, place: Any, kind: Any) -> Any:
    """Of the vector, or number, of this kind that begins with a word of an array."""
    return b.bitcast(b.gep(array.data, [place]), kind.as_pointer())


def _prefetch(b: Any, array: Any, place: Any) -> None:
    """Ask for the row of a tile that lies ``AHEAD`` rows behind this place."""
    byte = llvm.IntType(8).as_pointer()
    kind = llvm.FunctionType(llvm.VoidType(), [byte, _LANE, _LANE, _LANE])
    function = b.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
    for words in (0, LANES // 2):
        address = b.gep(array.data, [b.add(place, _word(AHEAD * LANES + words))])
        options = [llvm.Constant(_LANE, value) for value in (0, 3, 1)]  # to read, often, data
        b.call(function, [b.bitcast(address, byte), *options])


def _choose(b: Any, vector: Any, lanes: list[int]) -> Any:
    """The vector of some lanes of another one."""
    numbers = llvm.Constant(llvm.VectorType(_LANE, len(lanes)), lanes)
    return b.shuffle_vector(vector, vector, numbers)


def _repeat(b: Any, value: Any, kind: Any) -> Any:
    """The vector with this number in every lane."""
    first = b.insert_element(llvm.Constant(kind, llvm.Undefined), value, llvm.Constant(_LANE, 0))
    return _choose(b, first, [0] * kind.count)


def _link(phi: Any, *edges: tuple[Any, Any]) -> None:
    for block, value in edges:
        phi.add_incoming(value, block)


_tile1 = written(_plain(1, 1), *_TYPES)(_write(1, 1))
_tile2 = written(_plain(2, 1), *_TYPES)(_write(2, 1))
_pair1 = written(_plain(1, 2), *_TYPES)(_write(1, 2))


@kernel(IN64_2D, IN64_3D, OUT64_2D)
def tiles_matmul_add(x: Any, tiles: Any, out: Any) -> None:
    """out (n, m) += x (n, k) · w (k, m), modulo 2^48, with ``tiles`` (⌈m / 16⌉, k, 16) of w.

    What lies above bit 47 of ``x`` does not matter; above bit 47 of ``out`` anything may lie.

    Raises:
        ValueError: the shapes do not fit.
    """
    n, depth = x.shape
    m = out.shape[1]
    if out.shape[0] != n or tiles.shape[1] != depth or tiles.shape[0] != (m + LANES - 1) // LANES:
        raise ValueError("the matrices' shapes do not fit")
    whole = m // LANES
    edge = np.empty((2, LANES), np.uint64)
    if n == 1 and depth > 0:  # every tile is used once: the way to memory is what takes time
        for t in range(0, whole - 1, 2):
            _pair1(x, 0, 0, depth, tiles, t, out, 0, LANES * t)
    done = whole // 2 * 2 if n == 1 else 0
    for k in range(0, depth, DEPTH):
        some = min(DEPTH, depth - k)
        for first in range(0, n, ROWS):
            last = min(n, first + ROWS)
            for t in range(done, tiles.shape[0]):
                column = LANES * t
                i = first
                if t < whole:
                    while i + 1 < last:
                        _tile2(x, i, k, some, tiles, t, out, i, column)
                        i += 2
                    if i < last:
                        _tile1(x, i, k, some, tiles, t, out, i, column)
                    continue
                while i < last:
                    edge[:] = ZERO
                    rows = min(2, last - i)
                    if rows == 2:
                        _tile2(x, i, k, some, tiles, t, edge, 0, 0)
                    else:
                        _tile1(x, i, k, some, tiles, t, edge, 0, 0)
                    for r in range(rows):
                        for c in range(column, m):
                            out[i + r, c] += edge[r, c - column]
                    i += rows
