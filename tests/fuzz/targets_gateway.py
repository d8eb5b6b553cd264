"""The gateway's public port: HTTP/1.1 bytes through the real server, routes and parsers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import cache
from typing import Any

import h11
import uvicorn
from uvicorn.server import ServerState

from libmpc.errors import ServiceError
from libmpc.identity.signing import SigningKey
from libmpc.party.messages import Refusal
from libmpc.wire import Command, WireError
from services.common.http1_connection import Http1Connection
from services.gateway.errors import refused
from services.gateway.tensors import encode_infer, parse_infer
from tests.fuzz.harness import MIB, Target, WrongError
from tests.fuzz.memory_transport import MemoryTransport
from tests.fuzz.targets_link import run
from tests.gateway.rig import BINARY, TOKEN, Rig, binary_request, json_request, rig
from tests.link.support import DEPLOYMENT

HTTP = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b": ",
    b"\t",
    b"Content-Length: 4\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Upgrade: websocket\r\nConnection: upgrade\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"%00",
    b"%2e%2e/",
    b"\xff",
    b"fffffffffffffffff\r\n",
    b"1;a=b\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Host: x\r\n",
    b"X: " + b"y" * 70000 + b"\r\n",
]


def _joined(parts: list[bytes]) -> bytes:
    """An inference body whose first six bytes say how long its JSON is."""
    return b"%06d" % (len(parts[0]) % 1_000_000) + b"".join(parts)


def _infer(data: bytes) -> object:
    length = data[:6].decode("latin-1")
    body = bytearray(data[6:])
    try:
        found = parse_infer(body, None if length == "000000" else length, 1 << 20)
    except ServiceError as error:
        if error.status not in (400, 413):
            raise WrongError(f"status {error.status}") from None
        raise
    if sum(map(len, found.envelopes)) > len(body):
        raise WrongError("envelopes longer than the body")
    content, headers = encode_infer("digits", found, (b"first", b"second"))
    head = int(headers.get("Inference-Header-Content-Length", len(content)))
    json.loads(content[:head])
    return found


def _refusal(data: bytes) -> object:
    """Whatever a party refuses with, the client gets a proper answer."""
    error = refused(1, data)
    from services.gateway.errors import error_response

    response = error_response(error.status or 503, str(error), error.retry_after)
    if set(json.loads(bytes(response.body))) != {"error"} or response.status_code < 400:
        raise WrongError("no proper error")
    if "gave no proper answer" in str(error):
        raise WireError("refused")
    return response


@cache
def _gateway() -> Rig:
    """One gateway with three fake parties, for all inputs."""

    async def start() -> Rig:
        return await _stack.enter_async_context(rig(body_idle_timeout=0))

    return run(start)


_stack = contextlib.AsyncExitStack()


class RefusedRequestError(Exception):
    """Answered with 4xx or 503."""


def _http(data: bytes) -> object:
    config = uvicorn.Config(_gateway().app, lifespan="off", ws="none", log_config=None)
    config.load()

    async def work() -> bytes:
        state = ServerState()
        connection = Http1Connection(config=config, server_state=state, app_state={})
        transport = MemoryTransport()
        connection.connection_made(transport)
        for start in range(0, len(data), 60000):
            if not transport.closing:
                connection.data_received(data[start : start + 60000])
        for _ in range(200):
            if not state.tasks:
                break
            await asyncio.sleep(0)
        transport.closing = False
        connection.connection_lost(None)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=2)
        if state.tasks:
            raise WrongError("a request goes on without its client")
        return bytes(transport.sent)

    return _check_answers(run(work))


def _check_answers(sent: bytes) -> object:
    """Well-formed answers, one after the other; errors as ``{"error": ...}``, none of them 500."""
    statuses: list[int] = []
    while sent:
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(sent)
        status, body, event = 0, b"", None
        while not isinstance(event, h11.EndOfMessage):
            event = reader.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return statuses  # it was cut off, or answers HEAD
        statuses.append(status)
        if status >= 500 and status != 503:
            raise WrongError(f"status {status}")
        if status >= 400 and not isinstance(json.loads(body).get("error"), str):
            raise WrongError("an error of another form")
        sent = reader.trailing_data[0]
    if statuses and statuses[-1] >= 400:
        raise RefusedRequestError(statuses[-1])
    return statuses


def _request(method: str, path: str, body: bytes = b"", **headers: str) -> list[bytes]:
    lines = [f"{method} {path} HTTP/1.1", "Host: g", f"Authorization: Bearer {TOKEN}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return ["\r\n".join(lines).encode() + b"\r\n\r\n", body]


def _requests() -> list[list[Any]]:
    command = Command(
        deployment=DEPLOYMENT.hex(),
        name="digits",
        model="ab" * 32,
        action="stop",
        command_id="00" * 16,
        issued_ms=1,
        expires_ms=2,
    )
    signed = SigningKey.from_bytes(bytes(32)).sign_document(command).encode()
    binary, headers = binary_request()
    chunked = _request("POST", "/v2/models/digits/stop")[0].replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    return [
        _request("GET", "/v2"),
        _request("GET", "/v2/health/live"),
        _request("GET", "/v2/models"),
        _request("GET", "/v2/models/digits"),
        _request("GET", "/openapi.json"),
        _request(
            "POST",
            "/v2/models/digits/infer",
            binary,
            Inference_Header_Content_Length=headers[BINARY],
        ),
        _request("POST", "/v2/models/digits/infer", json.dumps(json_request()).encode()),
        _request("POST", "/v2/models/digits/stop", signed),
        [chunked, b"%x\r\n" % len(signed) + signed + b"\r\n0\r\n\r\n"],
        _request("PUT", "/v2/models/digits", (5).to_bytes(4, "big") + b"{}"),
        _request("GET", "/v2") + _request("GET", "/v2/models"),
    ]


def targets() -> list[Target]:
    binary, headers = binary_request(timeout=5)
    size = int(headers[BINARY])
    first = 4 + int.from_bytes(binary[size : size + 4], "little")
    parts = [json.loads(binary[:size]), binary[size : size + first], binary[size + first :]]
    refusal = json.loads(Refusal(status=429, error="later", retry_after=1.5).encode())
    return [
        Target("infer, binary tensors", [parts], _infer, (ServiceError, WireError), join=_joined),
        Target(
            "infer, JSON tensors",
            [[json_request()]],
            _infer,
            (ServiceError, WireError),
            join=lambda parts: b"000000" + b"".join(parts),
        ),
        Target("a party's refusal", [[refusal]], _refusal, (WireError,)),
        Target(
            "gateway, HTTP/1.1 to routes",
            _requests(),
            _http,
            (RefusedRequestError,),
            tokens=HTTP,
            memory=24 * MIB,
            genuine=False,
        ),
    ]


def close() -> None:
    """End the gateway that the inputs went to, if there is one."""
    run(_stack.aclose)
    _gateway.cache_clear()
