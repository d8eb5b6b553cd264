"""The one encoding that gives every signature, sealed envelope and digest its meaning."""

from __future__ import annotations

import hashlib
import re

from libmpc.wire.errors import WireError

WIRE_VERSION = 1
PREFIX = b"libmpc/1 "
MAX_FIELD_BYTES = (1 << 29) - 1

_LABEL = re.compile(r"[a-z][a-z ]{0,31}")


def context(label: str, *fields: bytes) -> bytes:
    """``b"libmpc/1 " + label``, then each field as a four-byte length (big-endian) and its bytes.

    Two different calls never give the same bytes, so a signature or an envelope that was made for
    one purpose is worth nothing for another.

    Raises:
        WireError: the label is not lower-case words, or a field is longer than 2^29 - 1 bytes.
    """
    if not _LABEL.fullmatch(label):
        raise WireError("a context's label must be lower-case words")
    parts = [PREFIX, label.encode()]
    for field in fields:
        # SECURITY: the bound keeps the first byte of a length below every character that a label
        # may have, so that where the label ends is never ambiguous.
        if len(field) > MAX_FIELD_BYTES:
            raise WireError(f"a context's field has more than {MAX_FIELD_BYTES} bytes")
        parts += (len(field).to_bytes(4, "big"), field)
    return b"".join(parts)


def sha256(data: bytes | bytearray | memoryview) -> bytes:
    """SHA-256 (32 bytes)."""
    return hashlib.sha256(data).digest()
