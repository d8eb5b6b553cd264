"""The asynchronous client: the same operations over ``httpx.AsyncClient``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import httpx
import numpy as np
from numpy.typing import NDArray

from libmpc.client import shell
from libmpc.client.aio_transport import AsyncKeptTransport
from libmpc.client.allowed import allowed
from libmpc.client.card import ModelSummary
from libmpc.client.connection import Connection, DeploymentLike
from libmpc.client.evaluating import Evaluating, Score
from libmpc.client.final import Answer
from libmpc.client.http import Operation, Pause, Request, Response, too_slow
from libmpc.client.many import IN_FLIGHT, Batches, Counted, Part, check_in_flight
from libmpc.client.retry import RetryPolicy
from libmpc.client.session import Session
from libmpc.client.status import Status, ask_status
from libmpc.clock import Clock, SystemClock
from libmpc.errors import LibmpcError
from libmpc.tracing import Provider
from libmpc.wire.descriptor import Descriptor

LARGE = 1 << 15
"""An input of more values is shared and sealed in a thread, so that the event loop goes on."""

T = TypeVar("T")


class AsyncClient:
    """``Client`` for asyncio: same arguments, results, errors and retries, to be awaited.

    One event loop at a time; any number of tasks on it may share a client. Use it with
    ``async with``, or await ``close``.
    """

    def __init__(
        self,
        deployment: DeploymentLike | None = None,
        *,
        timeout: float = 30.0,
        retries: int | RetryPolicy = 3,
        token: str | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        tracing: Provider | None = None,
    ) -> None:
        connection = Connection.open(deployment, token)
        policy = retries if isinstance(retries, RetryPolicy) else RetryPolicy(retries)
        self._clock = clock or SystemClock()
        self._closed = False
        self._builder = shell.Builder(connection)
        self._transport = transport or _transport(connection)
        self._session = Session(connection, policy, timeout, self._clock, tracing)

    @overload
    async def query(
        self, name: str, x: object, *, final: Literal[False] = False
    ) -> NDArray[np.float64]: ...
    @overload
    async def query(
        self, name: str, x: object, *, final: bool = ..., output: str | None = ...
    ) -> Answer: ...
    async def query(
        self, name: str, x: object, *, final: bool = False, output: str | None = None
    ) -> Answer:
        """Get a model's outputs for a batch; see ``Client.query``."""
        return await self._query(name, x, final, output)

    async def query_many(
        self,
        name: str,
        x: object,
        *,
        final: bool = False,
        output: str | None = None,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        progress: Counted | None = None,
    ) -> Answer:
        """Get a model's outputs for any number of samples; see ``Client.query_many``."""
        descriptor = await self.describe(name)
        allowed(descriptor, output, final)
        batches = await asyncio.to_thread(Batches, descriptor, x, batch_size, progress)

        async def one(part: Part) -> None:
            batches.put(part, await self._query(name, part.x, final, output, batches.model))

        check_in_flight(in_flight)
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(_work(batches, one))
        return batches.result()

    async def evaluate(
        self,
        name: str,
        images: object,
        labels: object,
        *,
        confusion: bool = False,
        cells: Iterable[tuple[int, int]] | None = None,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        progress: Counted | None = None,
    ) -> Score:
        """Count how many samples a model classifies as labelled; see ``Client.evaluate``."""
        check_in_flight(in_flight)
        terms = (confusion, cells, batch_size, progress)
        descriptor = await self.describe(name)
        evaluating = await asyncio.to_thread(Evaluating, descriptor, images, labels, *terms)
        batches = evaluating.batches

        async def one(part: Part) -> None:
            await self._run(evaluating.send(self._session, name, part), in_thread=True)

        await _work(batches, one, most=1)  # the first part begins the evaluation
        batches.check()
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(_work(batches, one))
        batches.check()
        return await self._run(evaluating.collect(self._session, name))

    async def _query(
        self, name: str, x: object, final: bool, output: str | None, model: str | None = None
    ) -> Answer:
        size = getattr(x, "size", LARGE + 1)  # what has no size may be long
        large = not isinstance(size, int) or size > LARGE
        query = self._session.query(name, x, final, output, model)
        return await self._run(query, in_thread=large)

    async def describe(self, name: str) -> Descriptor:
        """A model's descriptor; see ``Client.describe``."""
        return await self._run(self._session.describe(name))

    async def models(self) -> list[ModelSummary]:
        """The models that the gateway lists; see ``Client.models``."""
        return await self._run(self._session.models())

    async def _run(self, operation: Operation[T], *, in_thread: bool = False) -> T:
        value: Response | None = None
        error: LibmpcError | None = None
        while True:
            step: tuple[bool, Any]
            if in_thread:
                step = await asyncio.to_thread(shell.advance, operation, value, error)
            else:
                step = shell.advance(operation, value, error)
            done, wanted = step
            if done:
                result: T = wanted
                return result
            value, error = None, None
            if isinstance(wanted, Pause):
                await self._clock.sleep(wanted.seconds)
                continue
            try:
                value = await self._send(wanted)
            except LibmpcError as problem:
                error = problem

    async def _send(self, request: Request) -> Response:
        if self._closed:
            raise shell.closed()
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(request.timeout):
                answer = await self._transport.handle_async_request(self._builder.build(request))
                try:
                    shell.refuse_compressed(request, answer)
                    assert isinstance(answer.stream, httpx.AsyncByteStream)
                    async for chunk in answer.stream:
                        chunks.append(chunk)
                        size += len(chunk)
                        if size > request.limit:
                            raise shell.too_long(request)
                finally:
                    await answer.aclose()
        except httpx.HTTPError as error:
            raise shell.translate(request, error) from None
        except TimeoutError:
            raise too_slow(request.gateway, request.timeout) from None
        return shell.response(answer, chunks)

    async def status(self) -> Status:
        """What the gateway and the parties say of themselves; see ``Client.status``."""
        return await self._run(ask_status(self._session))

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient(gateway={self._session.gateway!r})"


async def _work(
    batches: Batches, one: Callable[[Part], Awaitable[None]], most: int | None = None
) -> None:
    """Do ``one`` with a batch after the other; what goes wrong is told by ``Batches.check``."""
    while most != 0 and (part := batches.take()) is not None:
        try:
            await one(part)
        except Exception as error:  # noqa: BLE001 - as above
            batches.fail(part, error)
        most = None if most is None else most - 1


def _transport(connection: Connection) -> httpx.AsyncBaseTransport:
    if shell.uses_proxy(connection):
        return _Proxied(connection)
    return AsyncKeptTransport(connection.ssl_context())


class _Proxied(httpx.AsyncBaseTransport):
    """Through the proxy that the environment names, which httpx knows all about."""

    def __init__(self, connection: Connection) -> None:
        self._client = httpx.AsyncClient(**shell.proxy_settings(connection))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        await self._client.aclose()
