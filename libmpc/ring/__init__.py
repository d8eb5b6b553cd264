"""Arithmetic in Z_2^48 on numpy ``uint64`` arrays.

Registers may hold anything above bit 47: sums and single products are modulo 2^64, matrix products
modulo 2^48. They are reduced when they are packed, decoded or compared. Nothing here knows a party,
a share or a network.
"""

from libmpc.ring.lazy import lazy_modules
from libmpc.ring.packing import BYTES, MASK, WIDTH, pack, pack_bits, unpack, unpack_bits

# Kernels; ``matmul``, which chooses among some of them, is none.
lazy_modules(__name__, "conv", "linear", "matmul_pack", "matmul_tiles", "transfer")

__all__ = ["BYTES", "MASK", "WIDTH", "pack", "pack_bits", "unpack", "unpack_bits"]
