"""One ordinary request, answered by an ASGI application: whole body in, whole answer out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from libmpc.failure import describe

logger = logging.getLogger(__name__)

Message: TypeAlias = MutableMapping[str, Any]
Application: TypeAlias = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
Headers: TypeAlias = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What the application said."""

    status: int = 500
    headers: Headers = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)


def scope_of(headers: Iterable[tuple[bytes, bytes]], peer: Any, own: Any) -> Message:
    """The ASGI scope of a request.

    Raises:
        ValueError: its path is none.
    """
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    plain = [(name, value) for name, value in headers if not name.startswith(b":")]
    if b":authority" in pseudo:
        plain = [(b"host", pseudo[b":authority"]), *(h for h in plain if h[0] != b"host")]
    path, _, query = pseudo.get(b":path", b"").partition(b"?")
    if not path.startswith(b"/"):
        raise ValueError("a path begins with /")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "method": pseudo[b":method"].decode("ascii"),
        "scheme": pseudo.get(b":scheme", b"http").decode("ascii"),
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": plain,
        "client": peer[:2] if peer else None,
        "server": own[:2] if own else None,
    }


async def answer(app: Application, scope: Message, body: bytes) -> Answer:
    """Run the application; whatever it does, there is an answer. Cancelled when nobody waits."""
    events: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    found = Answer()

    async def receive() -> Message:
        if not events:
            # A client that goes away cancels all of this.
            await asyncio.get_running_loop().create_future()
        return events.pop()

    async def send(event: Message) -> None:
        if event["type"] == "http.response.start":
            found.status = event["status"]
            found.headers = [(name.lower(), value) for name, value in event.get("headers", ())]
        elif scope["method"] != "HEAD":
            found.body += event.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001 - a request must not end the connection
        logger.error("a request failed: %s", describe(error))
        return Answer()
    return found
