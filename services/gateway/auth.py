"""The bearer token that every route but health asks for, and the role that it must have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from libmpc.access import Role
from services.common.exchange import current
from services.gateway.access import Access
from services.gateway.errors import unknown_model
from services.gateway.holder import Holder, check_role

_BEARER = HTTPBearer(auto_error=False, description="The token in the deployment's credential file.")
Documented = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def enter(access: Access, request: Request, role: Role) -> Holder:
    """Let in whoever has a token of that role or a higher one; looks at the headers only.

    Raises:
        AuthenticationError: there is none (401), or its role is not enough (403).
    """
    holder = access.identify(request.headers.get("authorization", ""))
    current().token = holder.id
    check_role(holder, role)
    return holder


def require(access: Access, role: Role) -> Callable[..., Awaitable[None]]:
    """``enter`` as a dependency, which also puts it into the OpenAPI document.

    ``holder_of`` says afterwards who it is.
    """

    # Asynchronous, since FastAPI runs others in a thread.
    async def check(request: Request, documented: Documented) -> None:
        request.state.holder = enter(access, request, role)

    return check


def holder_of(request: Request) -> Holder:
    """Who was let in."""
    holder = request.state.holder
    assert isinstance(holder, Holder)
    return holder


def check_sees(holder: Holder, name: str) -> None:
    """Refuse a model that the token may not see, as if there were none.

    Raises:
        ModelNotFoundError: it may not (404).
    """
    if not holder.sees(name):
        raise unknown_model(name)
