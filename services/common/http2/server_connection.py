"""A server's end of a connection: its first request makes it a link's, or it stays ordinary."""

from __future__ import annotations

import asyncio

from h2.errors import ErrorCodes
from h2.events import Event, RequestReceived

from libmpc.link import LinkError
from services.common.http2.asgi import Answer, Application
from services.common.http2.connection import Connection
from services.common.http2.endpoint import LINK_PATH, LinkEndpoint
from services.common.http2.frames import PREFACE
from services.common.http2.limits import IDLE_SECONDS, MAX_CONNECTIONS, OPENING_SECONDS
from services.common.http2.requests import Requests


class ServerConnection(Connection):
    """One client.

    Args:
        app: what answers ordinary requests.
        endpoint: takes links; ``None`` where there are none.
        all_of_them: every connection of this server, oldest first; this one is in it from the end
            of the TLS handshake until it breaks.
    """

    def __init__(
        self,
        app: Application,
        endpoint: LinkEndpoint | None,
        all_of_them: dict[ServerConnection, None],
    ) -> None:
        super().__init__(client=False, peer="a client")
        self.requests = Requests(app, self, self._answered)
        self._endpoint = endpoint
        self._all = all_of_them
        self._preface = PREFACE
        self._fresh = True
        self._timer: asyncio.TimerHandle | None = None

    def opened(self) -> None:
        if len(self._all) >= MAX_CONNECTIONS and not self._make_room():
            self.terminate(ErrorCodes.ENHANCE_YOUR_CALM, "too many connections")
            return
        self._all[self] = None
        self._wait(OPENING_SECONDS)

    def _make_room(self) -> bool:
        """End the oldest connection that has no link and no request that is being answered: one
        who opens many and asks for nothing must not keep a peer out."""
        for one in self._all:
            if one.link is None and not one.requests.tasks:
                one.terminate(ErrorCodes.ENHANCE_YOUR_CALM, "it makes room for another")
                return True
        return False

    def data_received(self, data: bytes) -> None:
        if self._preface:
            size = min(len(data), len(self._preface))
            if data[:size] != self._preface[:size]:
                self.terminate(ErrorCodes.PROTOCOL_ERROR, "no HTTP/2 preface")
                return
            self.h2.receive_data(data[:size])
            self._preface, data = self._preface[size:], data[size:]
        if data:
            super().data_received(data)

    def broken(self, error: LinkError | None) -> None:
        self.requests.cancel()
        self._stop_timer()
        self._all.pop(self, None)
        super().broken(error)

    # -- requests

    def event(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            fresh, self._fresh = self._fresh, False
            if fresh and self._endpoint is not None and _is_link(event):
                self._begin_link(event.stream_id, self._endpoint)
                return
        self.requests.event(event)

    def _begin_link(self, stream: int, endpoint: LinkEndpoint) -> None:
        if endpoint.closing:
            self.requests.respond(stream, Answer(503))
            return
        self._stop_timer()
        headers = [(b":status", b"200"), (b"content-type", b"application/octet-stream")]
        self.h2.send_headers(stream, headers)
        endpoint.serve(self.start_link(stream))

    def refuse(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self.h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)

    # -- time

    def _answered(self) -> None:
        self._wait(IDLE_SECONDS)

    def _wait(self, seconds: float) -> None:
        """End the connection unless a request is being answered after that time."""
        self._stop_timer()
        if not self.closing:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if not self.requests.tasks:
            self.terminate(ErrorCodes.NO_ERROR, "idle")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _is_link(event: RequestReceived) -> bool:
    fields = dict(event.headers)
    wanted = fields.get(b":method"), fields.get(b":path")
    return wanted == (b"POST", LINK_PATH.encode()) and event.stream_ended is None
