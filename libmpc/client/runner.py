"""Carries out a session's operations, blocking."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import httpx

from libmpc.client import shell
from libmpc.client.connection import Connection
from libmpc.client.http import Operation, Pause, Request, Response, too_slow
from libmpc.client.many import Batches, Part, check_in_flight, named
from libmpc.client.transport import KeptTransport
from libmpc.clock import Clock
from libmpc.errors import LibmpcError

T = TypeVar("T")


class PausingClock(Clock, Protocol):
    """A clock whose pauses a thread can take."""

    def pause(self, seconds: float) -> None: ...


class Runner:
    """Carries out operations over httpx, blocking. Thread-safe."""

    def __init__(
        self,
        connection: Connection,
        clock: PausingClock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.clock = clock or shell.BlockingClock()
        self._closed = False
        self._builder = shell.Builder(connection)
        self._transport = transport or _transport(connection)

    def run(self, operation: Operation[T], progress: shell.Progress | None = None) -> T:
        """Run an operation to its end and return its result."""
        value, error = None, None
        while True:
            done, wanted = shell.advance(operation, value, error)
            if done:
                result: T = wanted
                return result
            value, error = None, None
            if isinstance(wanted, Pause):
                self.clock.pause(wanted.seconds)
                continue
            try:
                value = self._send(wanted, progress)
            except LibmpcError as problem:
                error = problem

    def _send(self, request: Request, progress: shell.Progress | None) -> Response:
        if self._closed:
            raise shell.closed()
        end = self.clock.monotonic() + request.timeout
        chunks: list[bytes] = []
        size = 0
        try:
            # SECURITY: a transport follows no redirect, which would carry the token and the
            # envelopes to another place.
            answer = self._transport.handle_request(self._builder.build(request, progress))
            try:
                shell.refuse_compressed(request, answer)
                assert isinstance(answer.stream, httpx.SyncByteStream)
                for chunk in answer.stream:
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > request.limit:
                        raise shell.too_long(request)
                    # A gateway that sends a byte now and then would escape httpx's own timeout.
                    if self.clock.monotonic() > end:
                        raise too_slow(request.gateway, request.timeout)
            finally:
                answer.close()
        except httpx.HTTPError as error:
            raise shell.translate(request, error) from None
        return shell.response(answer, chunks)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._transport.close()


def _transport(connection: Connection) -> httpx.BaseTransport:
    if shell.uses_proxy(connection):
        return _Proxied(connection)
    return KeptTransport(connection.ssl_context())


class _Proxied(httpx.BaseTransport):
    """Through the proxy that the environment names, which httpx knows all about."""

    def __init__(self, connection: Connection) -> None:
        self._client = httpx.Client(**shell.proxy_settings(connection))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._client.send(request, stream=True)

    def close(self) -> None:
        self._client.close()


def begin(batches: Batches, one: Callable[[Part], None], in_flight: int) -> None:
    """Do ``one`` with the first batch, before others may be.

    Raises:
        LibmpcError: what ``one`` raises; names the batch's samples.
        ValueError: nothing may be in flight after it.
    """
    check_in_flight(in_flight)
    part = batches.take()
    assert part is not None
    try:
        one(part)
    except LibmpcError as error:
        raise named(error, part) from None


def each(batches: Batches, one: Callable[[Part], None], in_flight: int) -> None:
    """Do ``one`` with every batch, so many at a time; after an error no other is begun.

    Raises:
        LibmpcError: as ``Batches.check``.
        ValueError: nothing may be in flight.
    """

    def work() -> None:
        while (part := batches.take()) is not None:
            try:
                one(part)
            except BaseException as error:  # noqa: BLE001 - told by ``Batches.check``
                batches.fail(part, error)

    check_in_flight(in_flight)
    with ThreadPoolExecutor(in_flight, "libmpc-query") as pool:
        workers = [pool.submit(work) for _ in range(in_flight)]
        try:
            for worker in workers:
                worker.result()
        finally:
            batches.stop()
    batches.check()
