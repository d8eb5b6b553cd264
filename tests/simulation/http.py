"""The way from clients to gateways: requests that get lost, are answered in vain, come twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from tests.simulation.loop import Process, SimLoop


class Host(Protocol):
    """Where requests go: a gateway that is up or not."""

    process: Process
    app: Any


@dataclass
class Manners:
    """How often something happens to a request: probabilities."""

    refused: float = 0.0  # it never arrives
    unanswered: float = 0.0  # it arrives, and the answer is lost
    hung_up: float = 0.0  # the connection breaks while it is worked on
    repeated: float = 0.0  # somebody plays it again later


@dataclass
class Exchange:
    """One request at a gateway, for whoever watches deadlines."""

    method: str
    path: str
    began: float
    ended: float | None = None
    response: httpx.Response | None = None
    over: Callable[[Exchange], None] = lambda exchange: None


@dataclass
class SimTransport(httpx.AsyncBaseTransport):
    """Between clients and the gateways of a world, by the host of the URL.

    Attributes:
        careless: now and then the last byte of a query is changed, in party 1's envelope.
        spoiled: set when that was done.
    """

    loop: SimLoop
    rng: random.Random
    hosts: dict[str, Host]
    manners: Manners
    watch: Callable[[Process, Exchange], None]
    careless: bool = False
    spoiled: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([chunk async for chunk in request.stream])
        await asyncio.sleep(self.rng.expovariate(500))
        host, manners = self.hosts[request.url.host], self.manners
        if host.process.dead or self.rng.random() < manners.refused:
            raise httpx.ConnectError("connection refused", request=request)
        if self.careless and request.url.path.endswith("/infer") and self.rng.random() < 0.4:
            self.spoiled = True
            body = body[:-1] + bytes([body[-1] ^ 1])
        if request.method != "GET" and self.rng.random() < manners.repeated:
            self._repeat(host, request, body)
        answer = self._begin(host, request, body)
        hangs_up = self.rng.expovariate(20) if self.rng.random() < manners.hung_up else None
        try:
            async with asyncio.timeout(hangs_up):
                response = await answer
        except TimeoutError:
            raise httpx.ReadError("connection reset", request=request) from None
        finally:
            answer.cancel()
        await asyncio.sleep(self.rng.expovariate(500))
        if response is None or self.rng.random() < manners.unanswered:
            raise httpx.RemoteProtocolError("the server hung up", request=request)
        return response

    def _repeat(self, host: Host, request: httpx.Request, body: bytes) -> None:
        def again() -> None:
            if not host.process.dead:
                self._begin(host, request, body)

        self.loop.call_later(self.rng.uniform(0.01, 6), again)

    def _begin(
        self, host: Host, request: httpx.Request, body: bytes
    ) -> asyncio.Future[httpx.Response | None]:
        """Work on a request in the gateway's process; ``None`` where that dies before the end."""
        answer: asyncio.Future[httpx.Response | None] = self.loop.create_future()
        process, gone = host.process, asyncio.Event()

        def settle(response: httpx.Response | None) -> None:
            if not answer.done():
                answer.set_result(response)

        process.on_death.append(lambda: self.loop.call_later(0.01, settle, None))
        work = _serve(host.app, request, body, gone)
        task = self.loop.create_task(work, context=process.context.copy())
        exchange = Exchange(request.method, request.url.path, self.loop.time())
        self.watch(process, exchange)

        def ended(task: asyncio.Task[httpx.Response | None]) -> None:
            exchange.ended = self.loop.time()
            exchange.response = None if task.cancelled() or task.exception() else task.result()
            exchange.over(exchange)
            settle(exchange.response)

        task.add_done_callback(ended, context=process.context.copy())
        answer.add_done_callback(lambda answer: gone.set())
        return answer


async def _serve(
    app: Any, request: httpx.Request, body: bytes, gone: asyncio.Event
) -> httpx.Response | None:
    """Run the application for one request; the answer, or ``None`` if it gave none."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"",
        "root_path": "",
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "client": ("client", 1),
        "server": ("gateway", 443),
    }
    pieces = [body]
    status, headers, parts = 0, [], []

    async def receive() -> dict[str, Any]:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(), "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return httpx.Response(status, headers=headers, content=b"".join(parts)) if status else None
