"""Flow control of one link, in both directions (RFC 9113, section 5.2)."""

from __future__ import annotations

from h2.errors import ErrorCodes

from services.common.http2.frames import Http2Error

_MAX_WINDOW = (1 << 31) - 1


class SendWindow:
    """What the peer allows us to send. Either window may be negative after its settings change.

    Args:
        connection, stream: bytes left of the two windows.
        max_frame: longest payload of a frame.
    """

    def __init__(self, connection: int, stream: int, max_frame: int) -> None:
        self.connection = connection
        self.stream = stream
        self.max_frame = max_frame

    @property
    def room(self) -> int:
        """The longest frame that may leave now."""
        return min(self.connection, self.stream, self.max_frame)

    def spend(self, size: int) -> None:
        self.connection -= size
        self.stream -= size

    def credit(self, stream: bool, increment: int) -> None:
        """A WINDOW_UPDATE, or a change of the initial window, which may be negative."""
        if stream:
            self.stream += increment
        else:
            self.connection += increment
        if max(self.stream, self.connection) > _MAX_WINDOW:
            raise Http2Error(ErrorCodes.FLOW_CONTROL_ERROR, "a window beyond 2^31 - 1")


class ReceiveWindow:
    """What we allow the peer to send: what has been consumed is credited, in large pieces.

    Connection and stream have one window, as nothing else is sent on a link's connection.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self._least = size // 4
        self._owed = 0

    def arrived(self, size: int) -> None:
        """A frame begins, whose payload is that long."""
        self.left -= size
        if self.left < 0:
            raise Http2Error(ErrorCodes.FLOW_CONTROL_ERROR, "more data than the window allows")

    def consumed(self, size: int) -> int:
        """The credit to give now, when ``size`` bytes more have been consumed; often 0."""
        self._owed += size
        if self._owed < self._least:
            return 0
        credit, self._owed = self._owed, 0
        self.left += credit
        return credit
