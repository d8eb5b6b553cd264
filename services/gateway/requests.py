"""Around everything that the gateway answers: an id, a count, and a line in the log."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common import exchange
from services.common.exchange import Exchange
from services.gateway.gateway import Gateway

logger = logging.getLogger("libmpc.gateway.requests")

#: the status of a request whose sender went away before there was an answer
GONE = 499
METHODS = ("GET", "POST", "PUT", "DELETE")


class Requests:
    """Gives each request its id, and tells of it when it has been answered.

    Args:
        gateway: counts; its settings say whether requests are logged, and addresses with them.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._count = gateway.metrics.request
        wanted = gateway.settings.log_requests
        self._logs = gateway.settings.log_json if wanted is None else wanted
        self._addresses = gateway.settings.log_addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        request = exchange.begin(scope["headers"])
        own = (exchange.HEADER, request.id.encode())
        status = GONE

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], own]
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            method, route = method_of(scope), route_of(scope)
            self._count(method, route, status)
            if self._logs:
                self._log(request, method, route, status, perf_counter() - began, scope)

    def _log(
        self, request: Exchange, method: str, route: str, status: int, seconds: float, scope: Scope
    ) -> None:
        # SECURITY: a route's template and not the path, which is whatever a stranger likes.
        fields: dict[str, Any] = {
            "method": method,
            "route": route,
            "status": status,
            "seconds": round(seconds, 6),
        }
        for name in ("token", "model", "images", "query"):
            if value := getattr(request, name):
                fields[name] = value
        if self._addresses and scope.get("client"):
            fields["address"] = scope["client"][0]
        if logger.isEnabledFor(logging.INFO):
            # Made by hand: to find out who calls would take as long as all the rest.
            text = f"{method} {route} {status}"
            record = logging.LogRecord(logger.name, logging.INFO, __file__, 0, text, None, None)
            record.__dict__["fields"] = fields
            logger.handle(record)


def method_of(scope: Scope) -> str:
    """The request's method, if it is one that some route has."""
    method: str = scope["method"]
    return method if method in METHODS else "other"


def route_of(scope: Scope) -> str:
    """The template of the route that was found, such as ``/v2/models/{name}``; else ``other``."""
    # Starlette notes its route in the scope, and ``Express`` its own.
    return getattr(scope.get("route"), "path", "other")
