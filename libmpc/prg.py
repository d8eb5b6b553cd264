"""Pseudo-random streams that two parties derive from a common key: AES-128 in counter mode.

A draw is named by a layer and a purpose, which are part of the counter block, so its bytes do not
depend on the order of draws:

    counter block = layer (32 bits) | purpose (16) | 0 (16) | block number (64), all big-endian

Words are the key stream's bytes, little-endian.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from typing import Any, Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from libmpc.errors import LibmpcError

KEY_BYTES = 16
SEED_BYTES = 32
BLOCK_BYTES = 16
_ZEROS = memoryview(bytes(1 << 18))
_COUNTER = struct.Struct(">IHHQ")

if sys.byteorder != "little":  # words are written over arrays in place
    raise ImportError("libmpc needs a little-endian machine")


class MaskReuseError(LibmpcError):
    """Masks would be used a second time, which would reveal what they hide; nothing was done."""


class Observer(Protocol):
    """Told of every draw, for tests that look for a reuse of masks."""

    def __call__(
        self, key_id: bytes, layer: int, purpose: int, first_block: int, blocks: int
    ) -> None: ...


class Stream:
    """The key stream of one key. Not for use by two threads at once.

    Args:
        key: 16 bytes, used for this object only and by the party that shares it.
        observer: told of every draw; ``key_id`` is a hash of the key.
    """

    def __init__(self, key: bytes, observer: Observer | None = None) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream's key has {KEY_BYTES} bytes")
        self._cipher: Any = Cipher(algorithms.AES(key), modes.CTR(bytes(BLOCK_BYTES))).encryptor()
        self._drawn: set[tuple[int, int]] = set()
        self._observer = observer
        self._key_id = hashlib.sha256(key).digest()[:8] if observer is not None else b""

    def __repr__(self) -> str:
        return f"<Stream, {len(self._drawn)} draws>"

    def fill(self, layer: int, purpose: int, out: NDArray[Any]) -> None:
        """Overwrite a C-contiguous array with the bytes of one draw.

        Raises:
            MaskReuseError: this layer and purpose have been drawn before.
        """
        # SECURITY: a second draw would give the same bytes, that is, the same masks.
        if (layer, purpose) in self._drawn:
            raise MaskReuseError("a stream's layer and purpose were drawn twice")
        self._drawn.add((layer, purpose))
        cipher, size = self._cipher, out.nbytes
        cipher.reset_nonce(_COUNTER.pack(layer, purpose, 0, 0))
        if size:
            target = out.data.cast("B")
            if size <= len(_ZEROS):
                cipher.update_into(_ZEROS[:size], target)
            else:
                for start in range(0, size, len(_ZEROS)):
                    part = target[start : start + len(_ZEROS)]
                    cipher.update_into(_ZEROS[: len(part)], part)
        if self._observer is not None:
            blocks = -(-size // BLOCK_BYTES)
            self._observer(self._key_id, layer, purpose, 0, blocks)

    def words(self, layer: int, purpose: int, count: int) -> NDArray[np.uint64]:
        """``count`` random 64-bit words; as ring elements they are used modulo 2^48."""
        out = np.empty(count, np.uint64)
        self.fill(layer, purpose, out)
        return out

    def bytes(self, layer: int, purpose: int, count: int) -> NDArray[np.uint8]:
        """``count`` random bytes."""
        out = np.empty(count, np.uint8)
        self.fill(layer, purpose, out)
        return out


def seed_stream(seed: bytes, label: bytes, observer: Observer | None = None) -> Stream:
    """The stream of a 32-byte seed for one use, named by the label (HKDF-SHA256).

    Raises:
        ValueError: the seed has another length.
    """
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes")
    key = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=label).derive(seed)
    return Stream(key, observer)
