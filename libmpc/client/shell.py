"""What the blocking and the asynchronous shell have in common: settings of httpx, its errors."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
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


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request's body in pieces that are not too long; a short one is one piece.

    Args:
        progress: told of every piece but the only one.
    """

    def __init__(self, parts: tuple[bytes, ...], progress: Progress | None = None) -> None:
        self.size = sum(map(len, parts))
        self._parts = parts
        self._progress = progress

    def __iter__(self) -> Iterator[bytes]:
        if self.size <= CHUNK:
            yield b"".join(self._parts)
            return
        sent = 0
        for part in self._parts:
            for start in range(0, len(part), CHUNK):
                piece = part[start : start + CHUNK]
                yield piece
                sent += len(piece)
                if self._progress is not None:
                    self._progress(sent, self.size)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Builder:
    """Makes httpx's requests of a connection's; what is the same for all is made once."""

    def __init__(self, connection: Connection) -> None:
        self._headers = [
            (b"accept", b"*/*"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", f"libmpc/{__version__}".encode()),
        ]
        if connection.token is not None:
            self._headers.append((b"authorization", f"Bearer {connection.token}".encode()))
        self._urls: dict[str, httpx.URL] = {}

    def build(self, request: Request, progress: Progress | None = None) -> httpx.Request:
        """The request as a transport takes it."""
        url = self._urls.get(request.path)
        if url is None or not str(url).startswith(request.gateway):
            if len(self._urls) > 256:
                self._urls.clear()
            url = self._urls[request.path] = httpx.URL(request.gateway + request.path)
        body = Body(request.parts, progress)
        headers = [(b"host", url.netloc), *self._headers]
        headers += [(key.encode(), value.encode()) for key, value in request.headers.items()]
        if body.size or request.method != "GET":
            headers.append((b"content-length", b"%d" % body.size))
        seconds = request.timeout
        times = {"read": seconds, "write": seconds, "pool": seconds}
        times["connect"] = min(seconds, CONNECT_SECONDS)
        return httpx.Request(
            request.method, url, headers=headers, stream=body, extensions={"timeout": times}
        )


def uses_proxy(connection: Connection) -> bool:
    """Whether the environment names a proxy that may be between here and the gateway."""
    return not connection.is_local and bool(urllib.request.getproxies())


def proxy_settings(connection: Connection) -> dict[str, Any]:
    """Arguments for the ``httpx.Client`` that goes through a proxy."""
    return {
        "verify": connection.ssl_context(),
        "limits": httpx.Limits(max_connections=256, max_keepalive_connections=64),
        # SECURITY: a redirect would carry the token and the envelopes to another place.
        "follow_redirects": False,
    }


def response(answer: httpx.Response, body: list[bytes]) -> Response:
    """The answer as the session takes it."""
    headers = {key.decode("latin-1").lower(): v.decode("latin-1") for key, v in answer.headers.raw}
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


def closed() -> RuntimeError:
    """The error for a call after ``close``."""
    return RuntimeError("the client is closed")


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
