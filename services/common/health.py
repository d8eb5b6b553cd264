"""The internal port of a service: health and metrics, without TLS and without anything else."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Ready = Callable[[], Awaitable[tuple[bool, str]]]


def make_health_app(ready: Ready, registry: CollectorRegistry | None = None) -> Starlette:
    """``/health/live``, ``/health/ready`` (503 with the reason until it is), and ``/metrics``.

    Args:
        ready: whether requests can be answered, and if not, why.
        registry: what ``/metrics`` shows, if anything.
    """

    async def live(request: Request) -> Response:
        return _json(200, {"live": True})

    async def is_ready(request: Request) -> Response:
        answer, reason = await ready()
        if answer:
            return _json(200, {"ready": True})
        return _json(503, {"ready": False, "reason": reason})

    async def metrics(request: Request) -> Response:
        assert registry is not None
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health/live", live), Route("/health/ready", is_ready)]
    if registry is not None:
        routes.append(Route("/metrics", metrics))
    return Starlette(routes=routes)


def _json(status: int, body: dict[str, object]) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")
