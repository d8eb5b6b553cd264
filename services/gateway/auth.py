"""The bearer token that every route but health asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from libmpc.errors import AuthenticationError
from libmpc.identity.token import is_token

_BEARER = HTTPBearer(auto_error=False, description="The token in the deployment's credential file.")
Documented = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def check_token(request: Request, expected_sha256: SecretStr) -> None:
    """Let nobody through without the token; looks at the headers only.

    Raises:
        AuthenticationError: the token is missing or wrong (401).
    """
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    # SECURITY: compared in constant time, and never logged.
    right = is_token(presented.strip(), expected_sha256.get_secret_value())
    if scheme.lower() != "bearer" or not right:
        text = "a valid token is needed: Authorization: Bearer <token>"
        raise AuthenticationError(text, status=401)


def require_token(expected_sha256: SecretStr) -> Callable[..., Awaitable[None]]:
    """``check_token`` as a dependency, which also puts it into the OpenAPI document."""

    # Asynchronous, since FastAPI runs others in a thread.
    async def check(request: Request, documented: Documented) -> None:
        check_token(request, expected_sha256)

    return check
