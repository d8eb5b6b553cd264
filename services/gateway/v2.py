"""The routes of the Open Inference Protocol v2."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from libmpc._version import __version__
from libmpc.wire.context import WIRE_VERSION
from libmpc.wire.signed import Signed
from services.gateway import documents
from services.gateway.auth import check_sees, holder_of
from services.gateway.catalogue import ModelView
from services.gateway.documents import body, errors
from services.gateway.gateway import Gateway
from services.gateway.inference import infer
from services.gateway.router import KeySet
from services.gateway.tensors import INPUTS, OUTPUTS
from services.gateway.triple import Triple

EXTENSIONS = ["binary_tensor_data", "libmpc_sealed_shares", "libmpc_model_management"]
_INFER = (
    "Tensors share0 and share1, datatype BYTES, shape [1]: one envelope for each evaluator; the"
    " parameter libmpc_header says what both are bound to. JSON with base64 in 'data', or the"
    " binary tensor data extension (header Inference-Header-Content-Length). The parameter"
    " 'timeout' is in microseconds."
)


def answer(status: int, document: dict[str, Any]) -> Response:
    """JSON that needs no validation: it is ours."""
    return Response(json.dumps(document), status, media_type="application/json")


def health_routes(gateway: Gateway) -> APIRouter:
    """Liveness and readiness, without a token."""
    router = APIRouter(prefix="/v2/health", tags=["health"])

    @router.get("/live", response_model=documents.Live, summary="Whether the gateway runs")
    async def live() -> Response:
        return answer(200, {"live": True})

    @router.get(
        "/ready",
        response_model=documents.Ready,
        responses=errors(503),
        summary="Whether queries can be answered",
    )
    async def ready() -> Response:
        if reason := await gateway.reason():
            return answer(503, {"ready": False, "error": reason})
        return answer(200, {"ready": True})

    return router


def v2_routes(gateway: Gateway) -> APIRouter:
    """Metadata and inference."""
    router = APIRouter(prefix="/v2", tags=["inference"], responses=errors(401, 503))

    @router.get("", response_model=documents.ServerMetadata, summary="What this server is")
    async def server() -> Response:
        document = {
            "name": "libmpc",
            "version": __version__,
            "extensions": EXTENSIONS,
            "deployment": gateway.deployment.hex(),
            "wire": f"{WIRE_VERSION}.0",
        }
        return answer(200, document)

    @router.get(
        "/models/{name}",
        response_model=documents.ModelMetadata,
        responses=errors(404, 503),
        summary="A model's signed descriptor and the keys to seal queries to",
    )
    async def metadata(name: str, request: Request) -> Response:
        check_sees(holder_of(request), name)
        router = gateway.router
        if len(router.triples) == 1:
            view, sets = await asyncio.gather(router.first.catalogue.view(name), router.key_sets())
        else:
            view = await router.read(lambda triple: triple.catalogue.view(name))
            # One number counts the requests of a model with a limit, and triple 0 has it.
            sets = await router.key_sets(only_first=view.num_requests is not None)
        return answer(200, _metadata(view, sets))

    @router.get(
        "/models/{name}/ready",
        response_model=documents.ModelReady,
        responses=errors(404, 503),
        summary="Whether a model answers queries",
    )
    async def model_ready(name: str, request: Request) -> Response:
        check_sees(holder_of(request), name)
        view = await gateway.router.read(lambda triple: triple.catalogue.view(name))
        reason = await gateway.reason(view.num_requests is not None)
        reason = reason or ("" if view.state == "serving" else "it is stopped")
        if reason:
            return answer(503, {"name": name, "ready": False, "error": f"not ready: {reason}"})
        return answer(200, {"name": name, "ready": True})

    @router.post(
        "/models/{name}/infer",
        responses=errors(400, 404, 408, 409, 413, 422, 429, 503),
        openapi_extra=body(_INFER, "application/json", "application/octet-stream"),
        response_description="Tensors logits0 and logits1, sealed to the client.",
        summary="One query",
    )
    async def inference(name: str, request: Request) -> Response:
        return await infer(gateway, name, request, holder_of(request))

    return router


def key_fields(sets: list[KeySet]) -> dict[str, Any]:
    """The first triple's keys, and those of the others."""
    (triple, keys), *rest = sets
    return {**_key_set(triple, keys), "more": [_key_set(*others) for others in rest]}


def _key_set(triple: Triple, keys: list[Signed]) -> dict[str, Any]:
    return {"triple": triple.number, "keys": [signed.to_json() for signed in keys]}


def _metadata(view: ModelView, sets: list[KeySet]) -> dict[str, Any]:
    return {
        "name": view.name,
        "versions": ["1"],
        "platform": "libmpc",
        "inputs": [_tensor(name) for name in INPUTS],
        "outputs": [_tensor(name) for name in OUTPUTS],
        "libmpc": {
            "model": view.model,
            "descriptor": [signed.to_json() for signed in view.descriptors],
            **key_fields(sets),
            "state": view.state,
            "num_requests": view.num_requests,
            "served": view.served,
        },
    }


def _tensor(name: str) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [1]}
