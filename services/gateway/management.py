"""The routes of models. Whether one may be changed is for the parties to say, by signatures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from libmpc.party.messages import Kind
from libmpc.wire.command import Command
from libmpc.wire.names import check_name
from libmpc.wire.signed import Signed
from services.gateway import documents
from services.gateway.auth import holder_of
from services.gateway.bodies import Body
from services.gateway.documents import body, errors
from services.gateway.errors import bad_request
from services.gateway.gateway import Gateway
from services.gateway.v2 import answer

MAX_COMMAND_BYTES = 1 << 16
_PUSH = (
    "u32 length | push header (JSON) | for each party: u32 length | sealed envelope; big-endian."
    " Acknowledged when all three parties have stored it durably."
)
_COMMAND = 'The owner\'s signed command: {"document": base64, "signature": base64}.'


def listing_routes(gateway: Gateway) -> APIRouter:
    """The list of models, and the parties' keys."""
    router = APIRouter(prefix="/v2", tags=["models"], responses=errors(401, 503))

    @router.get(
        "/keys",
        response_model=documents.Keys,
        responses=errors(503),
        summary="The parties' signed short-lived keys",
    )
    async def keys() -> Response:
        found = await gateway.parties.keys()
        return answer(200, {"keys": [signed.to_json() for signed in found]})

    @router.get(
        "/models",
        response_model=documents.ModelIndex,
        responses=errors(503),
        summary="All models that the token may see",
    )
    async def models(request: Request) -> Response:
        holder = holder_of(request)
        ready = not await gateway.reason()
        listed = [
            {
                "name": view.name,
                "model": view.model,
                "state": view.state,
                "ready": ready and view.state == "serving",
                "num_requests": view.num_requests,
                "served": view.served,
            }
            for view in await gateway.catalogue.views()
            if holder.sees(view.name)
        ]
        return answer(200, {"models": listed})

    return router


def management_routes(gateway: Gateway) -> APIRouter:
    """Push, serve, stop and delete."""
    router = APIRouter(prefix="/v2", tags=["models"], responses=errors(401, 503))

    @router.put(
        "/models/{name}",
        status_code=201,
        response_model=documents.Stored,
        responses=errors(400, 403, 408, 409, 413, 422, 503),
        openapi_extra=body(_PUSH, "application/octet-stream"),
        summary="Store a model's three shares",
    )
    async def push(name: str, request: Request) -> Response:
        check_name(name)
        settings = gateway.settings
        with gateway.memory.lease() as lease:
            stream = Body(request, settings.max_push_bytes, settings.body_idle_timeout, lease)
            model = await gateway.pusher.push(stream, lease)
        gateway.catalogue.forget(name)
        return answer(201, {"name": name, "model": model})

    documented: dict[str, Any] = {
        "response_model": documents.Changed,
        "responses": errors(400, 403, 404, 409, 413, 503),
        "openapi_extra": body(_COMMAND, "application/json"),
    }

    @router.post("/models/{name}/serve", summary="Let a model answer, with a limit", **documented)
    async def serve(name: str, request: Request) -> Response:
        return await _command(gateway, name, "serve", request)

    @router.post("/models/{name}/stop", summary="Keep a model but do not answer", **documented)
    async def stop(name: str, request: Request) -> Response:
        return await _command(gateway, name, "stop", request)

    @router.post("/models/{name}/delete", summary="Remove a model for good", **documented)
    async def delete(name: str, request: Request) -> Response:
        return await _command(gateway, name, "delete", request)

    @router.delete("/models/{name}", summary="Remove a model for good", **documented)
    async def delete_too(name: str, request: Request) -> Response:
        return await _command(gateway, name, "delete", request)

    return router


async def _command(gateway: Gateway, name: str, action: str, request: Request) -> Response:
    with gateway.memory.lease() as lease:
        stream = Body(request, MAX_COMMAND_BYTES, gateway.settings.body_idle_timeout, lease)
        signed = Signed.parse(await stream.all())
    command = Command.parse(signed.document)
    # Whether it is the owner's is for the parties to see; here, that nobody is surprised.
    if (command.name, command.action) != (name, action):
        raise bad_request(f"the command is not to {action} this model; sign another one")
    if command.deployment != gateway.deployment.hex():
        raise bad_request("the command is for another deployment", 409)
    # A party that does not hold the model answers no queries either.
    some = action == "stop"
    await gateway.parties.change(Kind.COMMAND, signed.encode(), some=some)
    gateway.catalogue.forget(name)
    return answer(200, {"name": name, "model": command.model, "action": action})
