"""The bearer token that every route but health asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from libmpc.errors import AuthenticationError
from libmpc.identity.token import is_token

_BEARER = HTTPBearer(auto_error=False, description="The token in the deployment's credential file.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def require_token(expected_sha256: SecretStr) -> Callable[[Credentials], Awaitable[None]]:
    """A dependency that lets nobody through without the token, before any body is read."""

    # Asynchronous, since FastAPI runs others in a thread.
    async def check(credentials: Credentials) -> None:
        presented = credentials.credentials if credentials is not None else ""
        # SECURITY: compared in constant time, and never logged.
        if not is_token(presented, expected_sha256.get_secret_value()):
            raise AuthenticationError(
                "a valid token is needed: Authorization: Bearer <token>", status=401
            )

    return check
