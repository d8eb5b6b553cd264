"""Where links come in: each is a stream for whoever serves them, in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libmpc.failure import describe
from libmpc.link import ByteStream, LinkError

logger = logging.getLogger(__name__)

LINK_PATH = "/link/v1"
OnStream = Callable[[ByteStream], Awaitable[None]]


class LinkEndpoint:
    """Takes the streams that ``POST /link/v1`` makes.

    Args:
        on_stream: called with each new stream; when it returns or raises, the stream is closed.

    Attributes:
        closing: whether no more are taken.
    """

    def __init__(self, on_stream: OnStream) -> None:
        self.closing = False
        self._on_stream = on_stream
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, stream: ByteStream) -> None:
        """Take a stream."""
        task = asyncio.ensure_future(self._serve(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: ByteStream) -> None:
        try:
            await self._on_stream(stream)
        except LinkError as error:
            logger.info("peer stream ended: %s", error.reason)
        except Exception as error:  # noqa: BLE001 - a stream must not end the server
            logger.error("peer stream failed: %s", describe(error))
        finally:
            await stream.close()

    async def close(self) -> None:
        """End all streams and take no more; within a second."""
        self.closing = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def mount(app: Starlette) -> None:
    """Let an application (FastAPI is one) refuse what came to the link route and is no link."""

    def misdirected(request: Request) -> Response:
        return Response("a link has a connection of its own\n", 421, media_type="text/plain")

    app.router.routes.insert(0, Route(LINK_PATH, misdirected, methods=["POST"]))
