"""The gateway's public application."""

from __future__ import annotations

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware

from libmpc._version import __version__
from services.gateway.auth import require_token
from services.gateway.errors import HANDLERS, Guard
from services.gateway.express import Express
from services.gateway.gateway import Gateway
from services.gateway.management import management_routes
from services.gateway.v2 import health_routes, v2_routes

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
            {"name": "health", "description": "For load balancers; no token needed."},
        ],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers=HANDLERS,
        middleware=[Middleware(Guard), Middleware(Express, gateway=gateway)],
    )
    token = [Depends(require_token(gateway.settings.token_sha256))]
    api.include_router(health_routes(gateway))
    api.include_router(management_routes(gateway), dependencies=token)
    api.include_router(v2_routes(gateway), dependencies=token)
    return api
