"""One HTTP/2 connection, of either side: the state is h2's, the bytes of a link are ours.

h2 sees the preface, SETTINGS, HEADERS, PING, RST_STREAM and GOAWAY. As soon as the connection
carries a link, DATA and WINDOW_UPDATE go past it, to the ``LinkStream``.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    RemoteSettingsChanged,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from libmpc.link import LinkError
from services.common.http2 import frames
from services.common.http2.limits import (
    CLOSING_SECONDS,
    MAX_FRAME_BYTES,
    MAX_HEADER_LIST_BYTES,
    MAX_STREAMS,
    MAX_UNTAKEN_ANSWER_BYTES,
    MAX_UNTAKEN_BYTES,
)
from services.common.http2.link_stream import LinkStream
from services.common.http2.splitter import Splitter
from services.common.http2.windows import SendWindow

#: of every stream and connection at first; a link's are raised by WINDOW_UPDATE
_FIRST_WINDOW = 65535


class Connection(asyncio.Protocol):
    """What server and client have in common.

    Args:
        client: whether this side opened the connection.
        peer: whom to name when it breaks.
    """

    def __init__(self, *, client: bool, peer: str) -> None:
        self.h2 = _state(client)
        self.link: LinkStream | None = None
        self.closing = False
        self.lost = asyncio.get_running_loop().create_future()
        self._peer = peer
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter(self)
        self._link_stream = 0

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() != "h2":
            self.broken(LinkError(f"{self._peer} does not speak HTTP/2"))
            return
        self.h2.initiate_connection()
        self.flush()
        self.opened()

    def data_received(self, data: bytes) -> None:
        try:
            self._splitter.feed(data)
            self.flush()
        except frames.Http2Error as error:
            self.terminate(error.code, str(error))
        except ProtocolError as error:
            # Some of h2's texts quote what the peer sent; the kind will do.
            self.terminate(ErrorCodes(error.error_code), type(error).__name__)

    def connection_lost(self, exc: Exception | None) -> None:
        self._splitter.stopped = True
        self.closing = True
        if not self.lost.done():
            self.lost.set_result(None)
        self.broken(None if exc is None else self._broke(str(exc) or type(exc).__name__))

    def resume_writing(self) -> None:
        if self.link is not None:
            self.link.wake()

    # -- what the two sides add

    def opened(self) -> None:
        """Bytes can be sent."""

    def event(self, event: Event) -> None:
        """What a frame meant; not asked once there is a link."""
        raise NotImplementedError

    def broken(self, error: LinkError | None) -> None:
        """The connection is of no use any more, for a reason or because the peer left."""
        self.closing = self._splitter.stopped = True
        if self.link is not None:
            self.link.fail(error)
        if self.lost.done():
            return
        self.transport.close()
        # A peer that takes nothing, or does not end its side of TLS, is not waited for.
        asyncio.get_running_loop().call_later(CLOSING_SECONDS, self.transport.abort)

    # -- frames

    def frame(self, data: memoryview) -> None:
        """For the splitter: a frame that is h2's."""
        for event in self.h2.receive_data(data):
            if self.closing:
                return
            if self.link is None:
                self.event(event)
            else:
                self._link_event(self.link, event)

    def flush(self) -> None:
        """Hand over what h2 wants to send."""
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)
            most = MAX_UNTAKEN_ANSWER_BYTES if self.link is None else MAX_UNTAKEN_BYTES
            if self.transport.get_write_buffer_size() > most:
                self.broken(self._broke("it takes nothing"))

    def start_link(self, stream: int) -> LinkStream:
        """From here on, this is a link's connection."""
        self.flush()
        windows = SendWindow(
            self.h2.outbound_flow_control_window,
            self.h2.streams[stream].outbound_flow_control_window,
            self.h2.max_outbound_frame_size,
        )
        link = LinkStream(self, stream, windows, _FIRST_WINDOW)
        self.link, self._link_stream = link, stream
        self._splitter.divert(stream, link)
        return link

    def _link_event(self, link: LinkStream, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            window = event.changed_settings.get(SettingCodes.INITIAL_WINDOW_SIZE)
            if window is not None:
                link.credit(True, window.new_value - (window.original_value or 0))
            link.limit_frames(self.h2.max_outbound_frame_size)
        elif isinstance(event, StreamReset) and event.stream_id == self._link_stream:
            self.broken(self._broke("the stream was reset"))
        elif isinstance(event, StreamEnded) and event.stream_id == self._link_stream:
            link.end()
        elif isinstance(event, ConnectionTerminated):
            self._splitter.stopped = True
            code = event.error_code or 0  # any number: a peer may know more codes than we do
            name = getattr(code, "name", f"code {int(code)}")
            link.fail(self._broke(f"the peer says {name}") if code else None)
        else:
            self.refuse(event)

    def refuse(self, event: Event) -> None:
        """Something that has no place on a link's connection; most of it means nothing."""

    # -- the end

    def terminate(self, code: ErrorCodes, reason: str) -> None:
        """Tell the peer what it did, and end."""
        if not self.closing and not self.transport.is_closing():
            self.transport.write(frames.goaway(self.h2.highest_inbound_stream_id, code))
        self.broken(self._broke(f"{code.name}: {reason}"))

    def _broke(self, reason: str) -> LinkError:
        return LinkError(f"the connection to {self._peer} broke", reason=reason)

    async def finish(self) -> None:
        if not self.closing:
            last = self.h2.highest_inbound_stream_id
            self.transport.write(frames.goaway(last, ErrorCodes.NO_ERROR))
            self.broken(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS + 0.1):
                await asyncio.shield(self.lost)


def _state(client: bool) -> H2Connection:
    state = H2Connection(H2Configuration(client_side=client, header_encoding=None))
    settings = {
        SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
        SettingCodes.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
        SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
    }
    if client:
        settings[SettingCodes.ENABLE_PUSH] = 0
    state.local_settings = Settings(client=client, initial_values=settings)
    # They hold before the peer has acknowledged them.
    state.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES
    state.max_inbound_frame_size = MAX_FRAME_BYTES
    return state
