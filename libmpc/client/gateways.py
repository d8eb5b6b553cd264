"""The gateways of a deployment as a client uses them: one, and the next where it is down."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from libmpc.client.connection import Connection
from libmpc.client.http import MAX_ANSWER, LostError, Operation, Request, Response, check
from libmpc.client.retry import Attempts
from libmpc.errors import ConfigError

WIRE_MAJOR = "1"
_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")


class Gateways:
    """Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._greeted: set[str] = set()
        self._at = 0

    @property
    def current(self) -> str:
        """The gateway in use; the next one of the deployment file follows where one is down."""
        urls = self._connection.urls
        return urls[self._at % len(urls)]

    def once(
        self,
        method: str,
        path: str,
        attempts: Attempts,
        parts: tuple[bytes, ...] = (),
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_ANSWER,
    ) -> Operation[Response]:
        """One try of a request, after making sure of the gateway."""
        gateway = self.current
        try:
            if gateway not in self._greeted:
                yield from self._greet(gateway, attempts)
            return (yield from _send(gateway, method, path, attempts, parts, headers, limit))
        except LostError:
            self._move_on(gateway)
            raise

    def _greet(self, gateway: str, attempts: Attempts) -> Operation[None]:
        """Make sure, once, that a gateway serves this deployment and speaks this wire version."""
        answer = (yield from _send(gateway, "GET", "/v2", attempts)).json()
        deployment = self._connection.deployment
        if answer.get("name") != "libmpc":
            raise ConfigError(f"what answers at {gateway} is no libmpc gateway; check the URL")
        if answer.get("deployment") != deployment.id.hex():
            raise ConfigError(
                f"the gateway at {gateway} serves another deployment than the deployment file "
                f"describes ({deployment.name!r}, {deployment.id.hex()[:8]}...): get the current "
                "deployment file from whoever runs the gateway"
            )
        wire = str(answer.get("wire"))
        if not _VERSION.fullmatch(wire) or not wire.startswith(f"{WIRE_MAJOR}."):
            raise ConfigError(
                f"the gateway at {gateway} does not speak wire version {WIRE_MAJOR}; update libmpc "
                "here or there"
            )
        with self._lock:
            self._greeted.add(gateway)

    def _move_on(self, gateway: str) -> None:
        with self._lock:
            if gateway == self.current:
                self._at += 1


def _send(
    gateway: str,
    method: str,
    path: str,
    attempts: Attempts,
    parts: tuple[bytes, ...] = (),
    headers: Mapping[str, str] | None = None,
    limit: int = MAX_ANSWER,
) -> Operation[Response]:
    response = yield Request(method, gateway, path, parts, headers or {}, attempts.remaining, limit)
    assert response is not None
    return check(gateway, response)
