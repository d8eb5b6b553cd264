"""Queries, past what FastAPI and Starlette do for every request: it takes as long as the rest."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from libmpc.errors import ServiceError
from libmpc.wire.errors import WireError
from services.gateway.auth import enter
from services.gateway.errors import HANDLERS
from services.gateway.gateway import Gateway
from services.gateway.holder import Holder
from services.gateway.inference import infer

_INFER = re.compile(r"/v2/models/([^/]+)/infer")
_ROUTE = Route("/v2/models/{name}/infer", lambda request: None)  # what it is called in logs


class Express:
    """Around the documented routes: does what the one for queries does, and passes on the rest."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and scope["method"] == "POST":
            found = _INFER.fullmatch(scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE
        request = Request(scope, receive, send)
        try:
            holder = self._enter(request)
            response = await infer(self._gateway, found[1], request, holder)
        except ServiceError as error:
            response = await HANDLERS[ServiceError](request, error)
        except WireError as error:
            response = await HANDLERS[WireError](request, error)
        await response(scope, receive, send)

    def _enter(self, request: Request) -> Holder:
        try:
            return enter(self._gateway.access, request, "client")
        except ServiceError as error:
            self._gateway.metrics.failed(error)
            raise
