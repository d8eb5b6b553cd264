"""Packing for the parties: the same six bytes as ``packing``, by kernels, several times faster.

A packed value is three little-endian 16-bit words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.ring.jit import IN16, IN64, OUT16, OUT64, kernel
from libmpc.ring.packing import BYTES, Buffer, LengthError

LOW16 = np.uint64(0xFFFF)


@kernel(IN64, OUT16)
def pack_words(values: Any, out: Any) -> None:
    """out (3 n,) from values (n,)."""
    for i in range(values.size):
        v = values[i]
        out[3 * i] = np.uint16(v & LOW16)
        out[3 * i + 1] = np.uint16((v >> np.uint64(16)) & LOW16)
        out[3 * i + 2] = np.uint16((v >> np.uint64(32)) & LOW16)


@kernel(IN64, IN64, OUT64, OUT16)
def add_pack(a: Any, b: Any, total: Any, packed: Any) -> None:
    """total (n,) = a (n,) + b (n,), also packed (3 n,)."""
    for i in range(a.size):
        v = a[i] + b[i]
        total[i] = v
        packed[3 * i] = np.uint16(v & LOW16)
        packed[3 * i + 1] = np.uint16((v >> np.uint64(16)) & LOW16)
        packed[3 * i + 2] = np.uint16((v >> np.uint64(32)) & LOW16)


@kernel(IN16, OUT64)
def accumulate(packed: Any, total: Any) -> None:
    """total (n,) += what is packed (3 n,)."""
    for i in range(total.size):
        low = np.uint64(packed[3 * i]) | (np.uint64(packed[3 * i + 1]) << np.uint64(16))
        total[i] += low | (np.uint64(packed[3 * i + 2]) << np.uint64(32))


@kernel(IN64, IN16, OUT64)
def add_words(values: Any, packed: Any, out: Any) -> None:
    """out (n,) = values (n,) + what is packed (3 n,)."""
    for i in range(values.size):
        low = np.uint64(packed[3 * i]) | (np.uint64(packed[3 * i + 1]) << np.uint64(16))
        out[i] = values[i] + (low | (np.uint64(packed[3 * i + 2]) << np.uint64(32)))


def packed(values: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """A contiguous array as three words a value; whatever is above bit 47 is dropped."""
    out = np.empty(3 * values.size, np.uint16)
    pack_words(values.reshape(-1), out)
    return out


def receive_added(values: NDArray[np.uint64], buffer: Buffer) -> NDArray[np.uint64]:
    """``values`` plus the packed ones, in the shape of ``values`` (contiguous), as a new array.

    Raises:
        LengthError: the buffer does not have six bytes per value.
    """
    if len(buffer) != BYTES * values.size:
        raise LengthError("a buffer of ring elements has the wrong length")
    out = np.empty(values.shape, np.uint64)
    add_words(values.reshape(-1), np.frombuffer(buffer, np.uint16), out.reshape(-1))
    return out
