"""Secret shares of ring tensors, as a client and the parties hold them.

*Additive*: x = x0 + x1; party j holds xj. *Masked*: m = x + λ0 + λ1; parties 0 and 1 hold m, party
j also holds λj, and the dealer holds λ0 and λ1. Either half alone is uniformly random.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import SEED_BYTES, seed_stream
from libmpc.ring.packing import MASK

Ring = NDArray[np.uint64]
_INPUT_LABEL = b"libmpc input share v1"


@dataclass(frozen=True, eq=False, repr=False)
class AdditiveShare:
    """One of two summands of a tensor. Prints its shape and nothing else."""

    values: Ring

    def __repr__(self) -> str:
        return f"AdditiveShare(shape={self.values.shape})"


@dataclass(frozen=True, eq=False, repr=False)
class MaskedShare:
    """A masked tensor m = x + λ0 + λ1 and one's own mask λj. Prints its shape and nothing else."""

    masked: Ring
    mask: Ring

    def __repr__(self) -> str:
        return f"MaskedShare(shape={self.masked.shape})"


def new_seed() -> bytes:
    """32 fresh random bytes of the operating system."""
    return secrets.token_bytes(SEED_BYTES)


def expand_seed(seed: bytes, shape: tuple[int, ...]) -> Ring:
    """The additive share that a 32-byte seed stands for: uniform in Z_2^48, of this shape."""
    count = math.prod(shape)
    values: Ring = seed_stream(seed, _INPUT_LABEL).words(0, 0, count).reshape(shape) & MASK
    return values


def split(encoded: Ring) -> tuple[AdditiveShare, AdditiveShare]:
    """Split a tensor into two fresh additive shares."""
    return split_with_seed(encoded, new_seed())


def split_with_seed(encoded: Ring, seed: bytes) -> tuple[AdditiveShare, AdditiveShare]:
    """Split a tensor; the second share is the expansion of the seed, which can be sent for it.

    The seed must be fresh (``new_seed``) for every tensor.
    """
    second = expand_seed(seed, encoded.shape)
    return AdditiveShare((encoded - second) & MASK), AdditiveShare(second)


def expand_bits(seed: bytes, shape: tuple[int, ...]) -> Ring:
    """The XOR share of bits that the seed of an input stands for as well, of this shape."""
    count = int(np.prod(shape, dtype=np.int64))
    # SECURITY: another purpose than the input's: no word is used for both.
    words = seed_stream(seed, _INPUT_LABEL).words(0, 1, count).reshape(shape)
    return words & np.uint64(1)


def split_bits(bits: Ring) -> tuple[Ring, Ring]:
    """Two fresh XOR shares of a tensor of zeros and ones."""
    second = expand_seed(new_seed(), bits.shape) & np.uint64(1)
    return bits ^ second, second


def reconstruct(first: AdditiveShare, second: AdditiveShare) -> Ring:
    """The tensor that two additive shares of it add up to.

    Raises:
        ValueError: the shapes differ.
    """
    if first.values.shape != second.values.shape:
        raise ValueError("two shares of one tensor have the same shape")
    values: Ring = (first.values + second.values) & MASK
    return values
