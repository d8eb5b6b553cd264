"""The internal port of a service: health and metrics, without TLS and without anything else."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Reason = Callable[[], str | Awaitable[str]]


def health_app(
    service: str, version: str, reason: Reason, registry: CollectorRegistry
) -> Starlette:
    """``/health/live``, ``/health/ready`` (503 with the reason until it is), and ``/metrics``.

    Args:
        service: what this is, for people who ask.
        reason: why requests cannot be answered; empty when they can.
        registry: what ``/metrics`` shows.
    """

    async def live(request: Request) -> Response:
        return _json(200, {"live": True, "service": service, "version": version})

    async def ready(request: Request) -> Response:
        found = reason()
        text = await found if inspect.isawaitable(found) else found
        if not text:
            return _json(200, {"ready": True})
        return _json(503, {"ready": False, "reason": text})

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ]
    )


def _json(status: int, body: dict[str, object]) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")
