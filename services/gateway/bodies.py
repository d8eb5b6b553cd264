"""Bodies of requests, read with bounds on their length, on pauses, and on memory all together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from starlette.requests import Request

from libmpc.errors import ServiceError, UnavailableError
from libmpc.wire.errors import WireError
from services.gateway.errors import RETRY_SECONDS, bad_request

#: bytes per second that a sender must manage on average, once it has used up a pause
MIN_RATE = 1024


class Memory:
    """A bound on the bodies that are held at the same time.

    Args:
        limit: in bytes.
        note: called with every change, for metrics.
    """

    def __init__(self, limit: int, note: Callable[[int], None] = lambda change: None) -> None:
        self._free = limit
        self._note = note

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """What one request holds; given back at the end of the block."""
        lease = Lease(self)
        try:
            yield lease
        finally:
            lease.give_back(lease.size)

    def change(self, size: int) -> None:
        """Take ``size`` bytes, or give them back where it is negative.

        Raises:
            UnavailableError: there are not as many left.
        """
        if size > self._free:
            raise UnavailableError(
                "the gateway has no memory for this at the moment; try again later",
                status=503,
                retry_after=RETRY_SECONDS,
                code="memory_full",
            )
        self._free -= size
        self._note(size)


class Lease:
    """The memory of one request."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0

    def grow(self, size: int) -> None:
        """Take more; raises UnavailableError."""
        self._memory.change(size)
        self.size += size

    def give_back(self, size: int) -> None:
        """Give some of it back."""
        self._memory.change(-size)
        self.size -= size


class Body:
    """One request's body as a stream.

    Args:
        limit: the longest accepted, in bytes, whatever Content-Length says.
        pause: seconds that the sender may be silent.
    """

    def __init__(self, request: Request, limit: int, pause: float, lease: Lease) -> None:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise bad_request("compressed bodies are not supported; sealed data do not shrink", 415)
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 19 or int(length) > limit:
            raise _too_long(limit)
        self._chunks = _chunks(request, pause)
        self._limit = limit
        self._lease = lease
        self._read = 0
        self._rest = b""

    async def all(self) -> bytearray:
        """The whole of it.

        Raises:
            ServiceError: longer than the limit (413), or the sender is silent or slow (408).
        """
        whole = bytearray()
        while chunk := await self._next():
            whole += chunk
        return whole

    async def exactly(self, size: int, check: Callable[[], None] = lambda: None) -> bytearray:
        """The next ``size`` bytes; ``check`` may raise whenever some have arrived.

        Raises:
            WireError: the body ends before.
            ServiceError: as ``all``.
        """
        if size > self._limit - self._read + len(self._rest):
            raise _too_long(self._limit)
        taken = bytearray()
        while len(taken) < size:
            chunk = self._rest or await self._next()
            if not chunk:
                raise WireError("the body ends too early")
            wanted = size - len(taken)
            taken += chunk[:wanted]
            self._rest = chunk[wanted:]
            check()
        return taken

    async def end(self) -> None:
        """Check that nothing follows.

        Raises:
            WireError: something does.
        """
        if self._rest or await self._next():
            raise WireError("the body goes on after its end")

    async def _next(self) -> bytes:
        chunk = await anext(self._chunks, b"")
        self._read += len(chunk)
        if self._read > self._limit:
            raise _too_long(self._limit)
        self._lease.grow(len(chunk))
        return chunk


async def _chunks(request: Request, pause: float) -> AsyncIterator[bytes]:
    stream = request.stream()
    now = asyncio.get_running_loop().time
    began, read = now(), 0
    while True:
        try:
            async with asyncio.timeout(pause):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise bad_request(f"nothing arrived for {pause:g} s", 408) from None
        if chunk is None:
            return
        read += len(chunk)
        # A byte now and then is not silence, but holds a connection just as long.
        if (now() - began - pause) * MIN_RATE > read:
            raise bad_request(f"less than {MIN_RATE} bytes a second arrived", 408)
        if chunk:
            yield chunk


def _too_long(limit: int) -> ServiceError:
    return bad_request(f"the body is longer than {limit} bytes", 413)
