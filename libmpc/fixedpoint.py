"""Real numbers as ring elements: two's complement with a fixed number of fraction bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from libmpc.errors import InputError
from libmpc.ring.packing import MASK, WIDTH

FRACTION_BITS = 16
PRODUCT_BITS = 2 * FRACTION_BITS


def encode(x: ArrayLike, scale_bits: int = FRACTION_BITS) -> NDArray[np.uint64]:
    """Round ``float64(x) * 2**scale_bits`` half to even; two's complement modulo 2^48.

    Args:
        x: real numbers of any shape.
        scale_bits: 16 for activations and weights, 32 for products and biases.

    Raises:
        InputError: a value is not a finite real number, or does not fit into 48 bits.
    """
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise InputError(f"cannot encode an array of dtype {values.dtype}; give real numbers")
    real = values.astype(np.float64)
    if not np.isfinite(real).all():
        raise InputError("cannot encode NaN or infinity")
    scaled = np.rint(np.ldexp(real, scale_bits))
    limit = 2.0 ** (WIDTH - 1)
    if scaled.size and (scaled.min() < -limit or scaled.max() >= limit):
        bound = 2.0 ** (WIDTH - 1 - scale_bits)
        raise InputError(f"a value does not fit: |x| must stay below {bound:g}")
    encoded: NDArray[np.uint64] = scaled.astype(np.int64).view(np.uint64) & MASK
    return encoded


def to_signed(ring: NDArray[np.uint64], width: int = WIDTH) -> NDArray[np.int64]:
    """The signed integers that two's complement ring elements stand for."""
    shift = 64 - width
    signed: NDArray[np.int64] = (ring << np.uint64(shift)).view(np.int64) >> np.int64(shift)
    return signed


def decode(
    ring: NDArray[np.uint64], scale_bits: int = FRACTION_BITS, width: int = WIDTH
) -> NDArray[np.float64]:
    """The real numbers that ring elements stand for; exact, since 48 bits fit into a double."""
    decoded: NDArray[np.float64] = np.ldexp(
        to_signed(np.asarray(ring, np.uint64), width).astype(np.float64), -scale_bits
    )
    return decoded
