"""HTTP/1.1 as a client speaks it, without sockets: one request's bytes, one answer's events.

A query's answer has a status, a few headers and a Content-Length: that is read here, in a tenth of
what h11 takes. Everything else that HTTP allows (chunks, interim answers, HTTP/1.0) h11 reads.
"""

from __future__ import annotations

import re

import h11
import httpx

MAX_HEAD_BYTES = 1 << 16
#: an idle connection is not used again after so many seconds; the gateway keeps it for 75
IDLE_SECONDS = 60.0

_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [^\r\n\0]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,12}")

RawHeaders = list[tuple[bytes, bytes]]


def encode_head(request: httpx.Request) -> bytes:
    """Request line and headers.

    Raises:
        httpx.LocalProtocolError: a header has a line break in it.
    """
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    # SECURITY: what is more than one line would be another header, or another request.
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise httpx.LocalProtocolError("a header has a line break", request=request)
    return b"\r\n".join((*lines, b"", b""))


class AnswerReader:
    """What arrives in answer to one request.

    Attributes:
        status: and ``headers``, once they are there; until then 0.
        complete: whether the whole body has been returned by ``feed``.
        reusable: whether the connection is good for another request when the body is complete.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.complete = False
        self.reusable = False
        self._method = method
        self._head = b""
        self._left = 0
        self._other: h11.Connection | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the connection, none at its end; return those of the body.

        Raises:
            httpx.RemoteProtocolError: this is no answer, or it was cut off.
        """
        if self._other is not None:
            return self._feed_other(data)
        if self.status == 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                if not data or len(self._head) > MAX_HEAD_BYTES:
                    raise httpx.RemoteProtocolError("the answer has no end of its headers")
                return b""
            if not self._parse(self._head[:end]):
                self._begin_other()
                return self._feed_other(self._head)
            data, self._head = self._head[end + 4 :], b""
        elif not data:
            raise httpx.RemoteProtocolError("the answer was cut off")
        if len(data) > self._left:
            data, self.reusable = data[: self._left], False
        self._left -= len(data)
        self.complete = self._left == 0
        return data

    def _parse(self, head: bytes) -> bool:
        """Read status and headers of an answer of the ordinary kind; False if it is not one."""
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None or status[1] in (b"204", b"304"):
            return False
        headers: RawHeaders = []
        length, keep = None, True
        for line in lines:
            header = _HEADER.fullmatch(line)
            if header is None:
                return False
            name, value = header[1].lower(), header[2]
            if name == b"content-length":
                if length is not None or not _LENGTH.fullmatch(value):
                    return False
                length = int(value)
            elif name == b"transfer-encoding":
                return False
            elif name == b"connection":
                keep = value.lower() == b"keep-alive"
            headers.append((name, value))
        if length is None:
            return False
        self.status, self.headers = int(status[1]), headers
        self._left, self.reusable = length, keep
        return True

    def _begin_other(self) -> None:
        self._other = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._other.send(h11.Request(method=self._method, target="/", headers=[("Host", "any")]))
        self._other.send(h11.EndOfMessage())

    def _feed_other(self, data: bytes) -> bytes:
        assert self._other is not None
        body = []
        try:
            self._other.receive_data(data)
            while not self.complete:
                event = self._other.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                if isinstance(event, h11.Response):
                    self.status, self.headers = event.status_code, list(event.headers)
                elif isinstance(event, h11.Data):
                    body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self.complete = True
                elif isinstance(event, h11.ConnectionClosed):
                    raise httpx.RemoteProtocolError("the answer was cut off")
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from None
        return b"".join(body)
