"""Arithmetic in Z_2^48 on numpy ``uint64`` arrays.

Registers are computed modulo 2^64 and may hold anything above bit 47; they are reduced when they
are packed, decoded or compared. Nothing here knows a party, a share or a network.
"""

from libmpc.ring.packing import BYTES, MASK, WIDTH, pack, unpack

__all__ = ["BYTES", "MASK", "WIDTH", "pack", "unpack"]
