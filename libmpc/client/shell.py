"""What the blocking and the asynchronous shell have in common: settings of httpx, its errors."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from libmpc._version import __version__
from libmpc.client.connection import Connection
from libmpc.client.http import Operation, Pause, Request, Response, lost, too_slow, unreachable
from libmpc.clock import SystemClock
from libmpc.errors import ConfigError, IntegrityError, LibmpcError

CONNECT_SECONDS = 10.0
CHUNK = 1 << 18

Progress = Callable[[int, int], None]
"""Told of (bytes sent, bytes in all) while something large is sent."""


class BlockingClock(SystemClock):
    """The machine's clock, with a pause for threads as well."""

    def pause(self, seconds: float) -> None:
        """Block the thread."""
        time.sleep(seconds)


def settings(connection: Connection) -> dict[str, Any]:
    """Arguments for ``httpx.Client`` and ``httpx.AsyncClient``."""
    headers = {"User-Agent": f"libmpc/{__version__}", "Accept-Encoding": "identity"}
    if connection.token is not None:
        headers["Authorization"] = f"Bearer {connection.token}"
    return {
        "verify": connection.ssl_context(),
        "headers": headers,
        "limits": httpx.Limits(max_connections=256, max_keepalive_connections=64),
        # SECURITY: a redirect would carry the token and the envelopes to another place.
        "follow_redirects": False,
        "trust_env": not connection.is_local,
    }


def chunks(request: Request) -> Iterator[bytes]:
    """The body, in pieces that are not too long."""
    for part in request.parts:
        for start in range(0, len(part), CHUNK):
            yield part[start : start + CHUNK]


def is_small(request: Request) -> bool:
    """Whether the body is sent in one go."""
    return sum(map(len, request.parts)) <= CHUNK


def arguments(request: Request) -> dict[str, Any]:
    """Arguments for ``build_request``, except for a long body."""
    seconds = request.timeout
    headers = dict(request.headers)
    small = is_small(request)
    if not small:
        headers["Content-Length"] = str(sum(map(len, request.parts)))
    return {
        "content": b"".join(request.parts) if small else None,
        "method": request.method,
        "url": request.gateway + request.path,
        "headers": headers,
        "timeout": httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
    }


def response(answer: httpx.Response, body: list[bytes]) -> Response:
    """The answer as the session takes it."""
    headers = {key.lower(): value for key, value in answer.headers.items()}
    return Response(answer.status_code, headers, b"".join(body))


def refuse_compressed(request: Request, answer: httpx.Response) -> None:
    """Refuse an answer that could unpack to any length; none was asked for.

    Raises:
        IntegrityError: the answer is compressed.
    """
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise IntegrityError(f"{request.gateway} sent a compressed answer that nobody asked for")


def too_long(request: Request) -> IntegrityError:
    """The error for an answer with more bytes than it can need."""
    return IntegrityError(f"the answer of {request.gateway} is longer than it can be")


def translate(request: Request, error: httpx.HTTPError) -> LibmpcError:
    """What an error of httpx means for a user."""
    if isinstance(error, httpx.ConnectTimeout):
        return unreachable(request.gateway)
    if isinstance(error, httpx.TimeoutException):
        return too_slow(request.gateway, request.timeout)
    if isinstance(error, httpx.ConnectError):
        if _is_certificate_error(error):
            return ConfigError(
                f"the certificate of {request.gateway} comes from no authority of this deployment "
                "or is for another host: the deployment file does not belong to this gateway, or "
                "is out of date; get the current one"
            )
        return unreachable(request.gateway)
    if isinstance(error, httpx.ProxyError):
        return ConfigError(f"the proxy that the environment names refused {request.gateway}")
    return lost(request.gateway)


def advance(
    operation: Operation[Any], value: Response | None, error: BaseException | None
) -> tuple[bool, Any]:
    """One step of an operation: (True, its result), or (False, what it wants done)."""
    try:
        wanted: Request | Pause
        wanted = operation.throw(error) if error is not None else operation.send(value)
    except StopIteration as end:
        return True, end.value
    return False, wanted


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        # httpx keeps httpcore's error, and that the original, as cause or context.
        error = error.__cause__ or error.__context__
    return False
