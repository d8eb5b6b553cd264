"""The token that a gateway asks for; the gateway keeps only its hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_token() -> str:
    """32 random bytes as 43 characters that are safe in a header."""
    return secrets.token_urlsafe(32)


def token_sha256(token: str) -> str:
    """What the gateway stores (hex). A random token needs no salt and no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(presented: str, expected_sha256: str) -> bool:
    """Whether a presented token is the right one, in time that says nothing about it."""
    return hmac.compare_digest(token_sha256(presented).encode(), expected_sha256.encode())
