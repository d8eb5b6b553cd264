"""HTTP/1.1: answers of every kind in pieces of every size, and connections that are kept or not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.client.aio_transport import AsyncKeptTransport
from libmpc.client.http1 import MAX_HEAD_BYTES, AnswerReader, encode_head
from libmpc.client.shell import Body
from libmpc.client.transport import KeptTransport

TIMES = {"timeout": {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}}
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Odd:  a b \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\n\r\n" + PLAIN


def read(pieces: list[bytes]) -> tuple[AnswerReader, bytes]:
    reader = AnswerReader("POST")
    body = b"".join(reader.feed(piece) for piece in pieces)
    return reader, body


@given(st.sampled_from([PLAIN, CHUNKED, INTERIM]), st.lists(st.integers(1, 130)))
def test_an_answer_in_any_pieces(answer: bytes, cuts: list[int]) -> None:
    places = [0, *sorted({cut for cut in cuts if cut < len(answer)}), len(answer)]
    pieces = [answer[a:b] for a, b in itertools.pairwise(places)]
    reader, body = read(pieces)
    assert (reader.status, body, reader.complete) == (200, b"hello", True)
    assert reader.reusable == (answer == PLAIN)
    if answer == PLAIN:
        assert reader.headers == [(b"content-length", b"5"), (b"x-odd", b"a b")]


def test_an_answer_until_the_end_of_the_connection() -> None:
    reader, body = read([b"HTTP/1.0 503 Down\r\n\r\nhel", b"lo", b""])
    assert (reader.status, body, reader.complete, reader.reusable) == (503, b"hello", True, False)


def test_an_answer_without_a_body() -> None:
    reader, body = read([b"HTTP/1.1 204 No Content\r\n\r\n"])
    assert (reader.status, body, reader.complete) == (204, b"", True)
    reader, body = read([b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"])
    assert (reader.status, body, reader.complete, reader.reusable) == (401, b"", True, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        PLAIN[:-1],
        CHUNKED[:-5],
        b"\x16\x03\x01 this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX\x00: 1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read([answer, b""])


def test_what_follows_an_answer_ends_the_connection() -> None:
    reader, body = read([PLAIN + b"HTTP/1.1 200 OK\r\n"])
    assert (body, reader.complete, reader.reusable) == (b"hello", True, False)


def test_a_header_is_one_line() -> None:
    request = httpx.Request("GET", "http://here/x?a=b", headers={"A": "b"})
    assert encode_head(request) == b"GET /x?a=b HTTP/1.1\r\nHost: here\r\nA: b\r\n\r\n"
    for name, value in (("a", "b\r\nc: d"), ("a\nb", "c")):
        with pytest.raises(httpx.LocalProtocolError):
            encode_head(httpx.Request("GET", "http://here", headers={name: value}))


# ---- real sockets


class Server:
    """Answers every request on every connection with ``answer``; counts both."""

    def __init__(self, answer: bytes, keep: bool = True) -> None:
        self.answer = answer
        self.keep = keep
        self.connections = 0
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v2"
        self._closed = threading.Event()
        self.ended = threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = file.readline()
                    if not line:
                        return
                    head += line
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
                self.received.append(file.read(size))
                connection.sendall(self.answer)
                if not self.keep:
                    break
        self.ended.release()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()


@contextlib.contextmanager
def serving(answer: bytes, keep: bool = True) -> Iterator[Server]:
    server = Server(answer, keep)
    try:
        yield server
    finally:
        server.close()


def request(server: Server, body: bytes) -> httpx.Request:
    headers = {"Content-Length": str(len(body))}
    return httpx.Request(
        "POST", server.url, headers=headers, stream=Body((body,)), extensions=TIMES
    )


def blocking(server: Server, bodies: list[bytes]) -> list[bytes]:
    transport = KeptTransport(None)  # type: ignore[arg-type]  # nothing here is https
    found = []
    with transport:
        for body in bodies:
            answer = transport.handle_request(request(server, body))
            assert isinstance(answer.stream, httpx.SyncByteStream)
            with contextlib.closing(answer):
                found.append(b"".join(answer.stream))
            if not server.keep:
                server.ended.acquire()
    return found


def awaited(server: Server, bodies: list[bytes]) -> list[bytes]:
    async def work() -> list[bytes]:
        transport = AsyncKeptTransport(None)  # type: ignore[arg-type]
        found = []
        async with transport:
            for body in bodies:
                answer = await transport.handle_async_request(request(server, body))
                assert isinstance(answer.stream, httpx.AsyncByteStream)
                async with contextlib.aclosing(answer):
                    found.append(b"".join([chunk async for chunk in answer.stream]))
                if not server.keep:
                    await asyncio.to_thread(server.ended.acquire)
        return found

    return asyncio.run(work())


BODIES = [b"", b"short", b"long" * (1 << 18)]


@pytest.mark.parametrize("exchange", [blocking, awaited])
@pytest.mark.parametrize(("answer", "connections"), [(PLAIN, 1), (CHUNKED, 3)])
def test_connections_are_kept(exchange: object, answer: bytes, connections: int) -> None:
    with serving(answer) as server:
        assert exchange(server, BODIES) == [b"hello"] * 3  # type: ignore[operator]
        assert server.received == BODIES
        assert server.connections == connections


@pytest.mark.parametrize("exchange", [blocking, awaited])
def test_a_connection_that_was_closed_meanwhile(exchange: object) -> None:
    with serving(PLAIN, keep=False) as server:
        assert exchange(server, BODIES) == [b"hello"] * 3  # type: ignore[operator]
        assert server.connections == 3


@pytest.mark.parametrize("exchange", [blocking, awaited])
def test_errors_are_httpxs(exchange: object) -> None:
    cut_off = pytest.raises(httpx.RemoteProtocolError, match="cut off")
    with serving(PLAIN[:-1], keep=False) as server, cut_off:
        exchange(server, [b"x"])  # type: ignore[operator]
    with pytest.raises(httpx.ConnectError):
        exchange(server, [b"x"])  # type: ignore[operator]
