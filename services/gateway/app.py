"""The gateway's public application."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Security
from starlette.middleware import Middleware
from starlette.responses import Response

from libmpc._version import __version__
from libmpc.access import Role
from services.common.tracing import NO_TELEMETRY
from services.gateway.auth import require
from services.gateway.errors import HANDLERS, Guard
from services.gateway.express import Express
from services.gateway.gateway import Gateway
from services.gateway.management import listing_routes, management_routes
from services.gateway.requests import Requests
from services.gateway.status import status_routes
from services.gateway.tokens import token_routes
from services.gateway.v2 import answer, health_routes, v2_routes

DESCRIPTION = """\
Private neural-network inference by three compute parties, in the terms of the Open Inference
Protocol v2. Inputs arrive as two sealed shares and logits leave as two sealed shares; this gateway
relays them and cannot read them. Errors are `{"error": "..."}` on every route.
"""


def make_app(gateway: Gateway) -> FastAPI:
    """The routes, with their OpenAPI document at ``/openapi.json``."""
    api = FastAPI(
        title="libmpc gateway",
        version=__version__,
        summary="Neural-network inference that nobody but the client can see",
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[
            {"name": "inference", "description": "Metadata and queries."},
            {"name": "models", "description": "Push, list, serve, stop and delete models."},
            {"name": "tokens", "description": "Who may do what; for admins."},
            {"name": "health", "description": "For load balancers; no token needed."},
        ],
        telemetry=NO_TELEMETRY,
        openapi_url=None,  # see openapi_route
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
        middleware=[
            Middleware(Requests, gateway=gateway),
            Middleware(Guard),
            Middleware(Express, gateway=gateway),
        ],
    )
    api.include_router(health_routes(gateway))
    guarded: tuple[tuple[APIRouter, Role], ...] = (
        (listing_routes(gateway), "client"),
        (status_routes(gateway), "client"),
        (v2_routes(gateway), "client"),
        (openapi_route(api), "client"),
        (management_routes(gateway), "owner"),
        (token_routes(gateway), "admin"),
    )
    for router, role in guarded:
        # The scope changes nothing but the OpenAPI document, which says by it who may ask.
        guard = Security(require(gateway.access, role), scopes=[role])
        api.include_router(router, dependencies=[guard])
    return api


def openapi_route(api: FastAPI) -> APIRouter:
    """The OpenAPI document; FastAPI's own route would be open to everybody."""
    router = APIRouter()

    @router.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return answer(200, api.openapi())

    return router
