"""What went over the wire, as the client sent it and as the parties counted it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from libmpc.client.connection import Connection
from libmpc.deployment_init import PARTY_FILE
from libmpc.errors import ServiceError
from libmpc.identity.yamlfile import read_mapping

GATEWAY = 255
_SECONDS = 5.0
_LENGTH_HEADER = "Inference-Header-Content-Length"
_SAMPLE = re.compile(
    r"libmpc_party_link_(messages|payload_bytes)_total"
    r'\{direction="(sent|received)",peer="(\d+)"\} ([0-9.e+]+)'
)


@dataclass(frozen=True)
class Count:
    """Messages, and the bytes in them."""

    messages: int = 0
    size: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.messages + other.messages, self.size + other.size)

    def __sub__(self, other: Count) -> Count:
        return Count(self.messages - other.messages, self.size - other.size)


Counts = dict[tuple[int, int], Count]
"""By (sender, receiver), as the receiver counted them."""


class Recorder(httpx.BaseTransport):
    """The way to the gateway, which remembers the last query: exactly what the gateway sees."""

    def __init__(self, deployment: Path) -> None:
        context = Connection.open(deployment).ssl_context()
        self._transport = httpx.HTTPTransport(verify=context, trust_env=False)
        self.envelopes: tuple[bytes, bytes] = (b"", b"")
        self.reply_bytes = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request on."""
        infer = request.url.path.endswith("/infer")
        if infer:
            body = request.read()
            self.envelopes = _envelopes(body[int(request.headers[_LENGTH_HEADER]) :])
        response = self._transport.handle_request(request)
        if infer:
            self.reply_bytes = int(response.headers.get("Content-Length", 0))
        return response

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def party_counts(directory: Path) -> Counts:
    """What each party has received from each other one and the gateway, from its metrics.

    Raises:
        ServiceError: a party does not answer.
    """
    counts: Counts = {}
    for party in range(3):
        settings = read_mapping(directory / f"party{party}" / PARTY_FILE, "a party's settings")
        numbers: dict[tuple[int, str], int] = {}
        for kind, direction, peer, value in _SAMPLE.findall(_metrics(party, settings)):
            if direction == "received":
                numbers[int(peer), kind] = int(float(value))
        for peer in {peer for peer, _ in numbers}:
            messages = numbers.get((peer, "messages"), 0)
            counts[peer, party] = Count(messages, numbers.get((peer, "payload_bytes"), 0))
    return counts


def difference(before: Counts, after: Counts) -> Counts:
    """What was received in between."""
    return {pair: count - before.get(pair, Count()) for pair, count in after.items()}


def _metrics(party: int, settings: Mapping[str, object]) -> str:
    host, port = str(settings["health_host"]), int(str(settings["health_port"]))
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"party {party}'s metrics cannot be read: {error}") from None
    finally:
        connection.close()


def _envelopes(body: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(body[:4], "little")
    return body[4 : 4 + size], body[8 + size :]
