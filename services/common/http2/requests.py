"""The ordinary requests of one connection, several at a time, each answered in a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from libmpc.failure import describe
from libmpc.link import LinkError
from services.common.http2.asgi import Answer, Application, Headers, Message, answer, scope_of
from services.common.http2.limits import MAX_BODY_BYTES

logger = logging.getLogger(__name__)


class Wire(Protocol):
    """The connection under the requests."""

    @property
    def h2(self) -> H2Connection: ...

    @property
    def transport(self) -> asyncio.Transport: ...

    def flush(self) -> None: ...

    def broken(self, error: LinkError | None) -> None: ...


@dataclass
class _Request:
    headers: Headers
    body: bytearray = field(default_factory=bytearray)


class Requests:
    """Bodies are collected, the application runs, its answer leaves as the client takes it.

    Args:
        app: the application.
        wire: the connection.
        answered: called after each answer.

    Attributes:
        tasks: requests that are being answered, by stream.
    """

    def __init__(self, app: Application, wire: Wire, answered: Callable[[], None]) -> None:
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._app = app
        self._wire = wire
        self._answered = answered
        self._coming: dict[int, _Request] = {}
        self._leaving: dict[int, memoryview] = {}

    def event(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._begin(event.stream_id, [(bytes(n), bytes(v)) for n, v in event.headers])
            case DataReceived():
                self._data(event.stream_id, event.data, event.flow_controlled_length)
            case StreamEnded():
                self._complete(event.stream_id)
            case StreamReset():
                self._forget(event.stream_id)
            case WindowUpdated() | RemoteSettingsChanged():
                self._send()
            case ConnectionTerminated():
                self._wire.broken(None)

    def cancel(self) -> None:
        """Nobody waits for any of them."""
        for task in self.tasks.values():
            task.cancel()
        self._coming.clear()
        self._leaving.clear()

    def _begin(self, stream: int, headers: Headers) -> None:
        self._coming[stream] = _Request(headers)
        length = dict(headers).get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self._too_long(stream)

    def _data(self, stream: int, data: bytes, size: int) -> None:
        self._wire.h2.acknowledge_received_data(size, stream)
        request = self._coming.get(stream)
        if request is not None:
            request.body += data
            if len(request.body) > MAX_BODY_BYTES:
                self._too_long(stream)

    def _too_long(self, stream: int) -> None:
        del self._coming[stream]
        self.respond(stream, Answer(413))

    def _complete(self, stream: int) -> None:
        request = self._coming.pop(stream, None)
        if request is None:
            return
        transport = self._wire.transport
        own, peer = (transport.get_extra_info(key) for key in ("sockname", "peername"))
        try:
            scope = scope_of(request.headers, peer, own)
        except ValueError:  # UnicodeDecodeError is one
            self.respond(stream, Answer(400))
            return
        task = asyncio.ensure_future(self._answer(stream, scope, bytes(request.body)))
        self.tasks[stream] = task
        # One that is cancelled before it has begun runs nothing of its own.
        task.add_done_callback(lambda _: self._done(stream))

    async def _answer(self, stream: int, scope: Message, body: bytes) -> None:
        said = await answer(self._app, scope, body)
        try:
            self.respond(stream, said)
        except ProtocolError as error:  # headers that HTTP/2 does not allow
            logger.error("an answer cannot be sent: %s", describe(error))
            self._wire.h2.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
        self._wire.flush()

    def _done(self, stream: int) -> None:
        del self.tasks[stream]
        self._answered()

    def _forget(self, stream: int) -> None:
        self._coming.pop(stream, None)
        self._leaving.pop(stream, None)
        task = self.tasks.get(stream)
        if task is not None:
            task.cancel()

    def respond(self, stream: int, said: Answer) -> None:
        """Send an answer; what the client does not take yet waits."""
        h2 = self._wire.h2
        headers = [(b":status", b"%d" % said.status), *said.headers]
        h2.send_headers(stream, headers, end_stream=not said.body)
        if said.body:
            self._leaving[stream] = memoryview(said.body)
            self._send()

    def _send(self) -> None:
        h2 = self._wire.h2
        for stream, rest in list(self._leaving.items()):
            while rest:
                room = min(h2.local_flow_control_window(stream), h2.max_outbound_frame_size)
                if room <= 0:
                    break
                piece, rest = rest[:room], rest[room:]
                h2.send_data(stream, bytes(piece), end_stream=not rest)
            self._leaving[stream] = rest
            if not rest:
                del self._leaving[stream]
