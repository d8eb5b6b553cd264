"""The internal port of a service: health and metrics, without TLS and without anything else."""

from __future__ import annotations

import inspect
import ipaddress
import json
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libmpc.identity.token import is_token

Reason = Callable[[], str | Awaitable[str]]


def health_app(
    service: str,
    version: str,
    reason: Reason,
    registry: CollectorRegistry,
    metrics_token: SecretStr | None = None,
) -> Starlette:
    """``/health/live``, ``/health/ready`` (503 with the reason until it is), and ``/metrics``.

    Health is open. Metrics tell how much is asked and of what, so they are for this host, or for
    whoever has the token.

    Args:
        service: what this is, for people who ask.
        reason: why requests cannot be answered; empty when they can.
        registry: what ``/metrics`` shows.
        metrics_token: SHA-256 (hex) of the token that ``/metrics`` wants, from this host too.
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
        if not _may_read(request, metrics_token):
            text = "metrics are for this host, or with a token: see metrics_token_sha256"
            refusal = _json(401, {"error": text})
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
        ]
    )


def _may_read(request: Request, expected: SecretStr | None) -> bool:
    if expected is None:
        try:
            return ipaddress.ip_address(request.client.host if request.client else "").is_loopback
        except ValueError:
            return False
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    # SECURITY: compared in constant time, and never logged.
    right = is_token(presented.strip(), expected.get_secret_value())
    return right and scheme.lower() == "bearer"


def _json(status: int, body: dict[str, object]) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")
