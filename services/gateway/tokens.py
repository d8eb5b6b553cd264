"""The routes that manage tokens. Only hashes come in, and not even they go out."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request
from starlette.responses import Response

from libmpc.access import Grant, TokenState
from libmpc.errors import ServiceError
from services.gateway import documents
from services.gateway.auth import holder_of
from services.gateway.bodies import Body
from services.gateway.documents import body, errors
from services.gateway.gateway import Gateway
from services.gateway.v2 import answer

logger = logging.getLogger(__name__)

_CREATE = (
    "What the token may do, and its SHA-256. Whoever makes it keeps the token itself; the same"
    " request again changes nothing."
)


def token_routes(gateway: Gateway) -> APIRouter:
    """List, create and revoke tokens."""
    router = APIRouter(prefix="/v2", tags=["tokens"], responses=errors(401, 403, 503))

    @router.get("/tokens", response_model=documents.Tokens, summary="All tokens")
    async def tokens() -> Response:
        found = [state.model_dump(mode="json") for state in await gateway.access.states()]
        return answer(200, {"tokens": found})

    @router.post(
        "/tokens",
        status_code=201,
        response_model=TokenState,
        responses=errors(400, 408, 409, 413, 429),
        openapi_extra=body(_CREATE, "application/json"),
        summary="Let somebody in",
    )
    async def create(request: Request) -> Response:
        with gateway.memory.lease() as lease:
            idle = gateway.settings.body_idle_timeout
            grant = Grant.parse(await Body(request, Grant.MAX_BYTES, idle, lease).all())
        await gateway.access.calls(gateway.store.add, grant)
        await gateway.access.refresh()
        who = holder_of(request).id
        logger.info("token %s (%s, %s) was made by %s", grant.id, grant.name, grant.role, who)
        return answer(201, TokenState.of(grant, {}).model_dump(mode="json"))

    @router.delete(
        "/tokens/{token}",
        response_model=documents.Revoked,
        responses=errors(404),
        summary="Let somebody in no more",
    )
    async def revoke(token: str, request: Request) -> Response:
        there = await gateway.access.calls(gateway.store.remove, token)
        await gateway.access.refresh()
        if not there:
            text = "there is no such token; 'libmpc token list' (GET /v2/tokens) lists them"
            raise ServiceError(text, status=404)
        logger.info("token %s was revoked by %s", token, holder_of(request).id)
        return answer(200, {"id": token})

    return router
