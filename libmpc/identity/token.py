"""Access tokens: a public id and a secret; a gateway keeps only the hash.

    libmpc_<id: 12 hexadecimal digits>_<secret: 43 characters of URL-safe base64>

The id says which token it is, in lists, logs and commands, and is no secret. The secret is 32
random bytes, so one SHA-256 is all that a stored token needs: a salt and a slow hash make
*guessing* dear, and nobody guesses 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

_TOKEN = re.compile(r"libmpc_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """A new token, in characters that are safe in a header."""
    return f"libmpc_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"


def token_id(token: str) -> str | None:
    """The public id in a token; ``None`` for what is no token, or one of before there were ids."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def token_sha256(token: str) -> str:
    """What is stored of a token: the hash (hex) of all of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(presented: str, expected_sha256: str) -> bool:
    """Whether a presented token is the right one, in time that says nothing about it."""
    return hmac.compare_digest(token_sha256(presented).encode(), expected_sha256.encode())
