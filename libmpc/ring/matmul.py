"""Matrix products modulo 2^48 with a second matrix that is prepared once and used often."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.ring import linear, matmul_pack, matmul_tiles

Ring = NDArray[np.uint64]

NARROW = 4
"""Matrices with fewer columns stay as they are: most of a tile would be zeros."""
_LINE = 8  # words of a cache line


@dataclass(frozen=True, eq=False, repr=False)
class PackedMatrix:
    """A (k, m) matrix in tiles of sixteen columns, eight bytes a number; prints its shape only.

    Attributes:
        tiles: (⌈m / 16⌉, k, 16), as ``matmul_pack`` describes.
        columns: m.
    """

    tiles: Ring
    columns: int

    def __repr__(self) -> str:
        return f"PackedMatrix(shape={self.shape})"

    @property
    def shape(self) -> tuple[int, int]:
        """(k, m)."""
        return self.tiles.shape[1], self.columns

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.tiles.nbytes

    @classmethod
    def of(cls, matrix: Ring) -> PackedMatrix:
        """Pack a contiguous matrix of any size; what lies above bit 47 is dropped."""
        (depth, columns), lanes = matrix.shape, matmul_pack.LANES
        shape = (-(-columns // lanes), depth, lanes)
        room = np.empty(shape[0] * depth * lanes + _LINE - 1, np.uint64)
        start = -(room.ctypes.data // room.itemsize) % _LINE
        tiles = room[start : start + room.size - _LINE + 1].reshape(shape)
        matmul_pack.pack_tiles(matrix, tiles)
        return cls(tiles, columns)

    def unpack(self) -> Ring:
        """The matrix, below 2^48."""
        lanes = matmul_pack.LANES
        whole = np.empty((self.tiles.shape[1], lanes * len(self.tiles)), np.uint64)
        for t, tile in enumerate(self.tiles):
            low, high, _ = matmul_pack.parts(tile)
            whole[:, lanes * t : lanes * (t + 1)] = low | (high << np.uint64(32))
        return whole[:, : self.columns].copy()


Matrix = Ring | PackedMatrix


def pack_matrix(matrix: Ring) -> Matrix:
    """The form in which products with a contiguous matrix are quickest."""
    return matrix if matrix.shape[1] < NARROW else PackedMatrix.of(matrix)


def matmul_add(x: Ring, w: Matrix, out: Ring) -> None:
    """out (n, m) += x (n, k) · w (k, m), modulo 2^48; all contiguous.

    Above bit 47 of ``x`` and ``w`` anything may lie, and of ``out`` afterwards. Any number of
    threads may use one matrix.

    Raises:
        ValueError: the shapes do not fit a packed matrix; of others they are not looked at.
    """
    if isinstance(w, PackedMatrix):
        matmul_tiles.tiles_matmul_add(x, w.tiles, out)
    else:
        linear.matmul_add(x, w, out)
