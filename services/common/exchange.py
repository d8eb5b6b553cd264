"""The HTTP request that is being answered, as far as logs and metrics may know of it."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass

#: SECURITY: what a caller may choose as a request's id, which is written to logs.
_ID = re.compile(rb"[0-9A-Za-z._-]{1,64}")
HEADER = b"x-request-id"


@dataclass(slots=True)
class Exchange:
    """One request.

    SECURITY: nothing of a body or an answer, no address, no text of a caller's choice but ``id``.

    Attributes:
        id: by which support finds it.
        token: the public id of the token that it came with.
        model: the name of the stored model that a query was for.
        images: how many inputs the query has.
        query: the first 32 of the query number's 128 bits (hex), as the parties' logs have them.
        trace: the span of it, where it is traced (W3C traceparent).
        read: when its body had been read, in seconds of the service's clock.
    """

    id: str = ""
    token: str = ""
    model: str = ""
    images: int = 0
    query: str = ""
    trace: str = ""
    read: float | None = None


_CURRENT: ContextVar[Exchange] = ContextVar("exchange")


def begin(headers: list[tuple[bytes, bytes]]) -> Exchange:
    """The exchange of a request that has just come, and of all that is done for it."""
    wanted = next((value for name, value in headers if name == HEADER), b"")
    found = Exchange(wanted.decode() if _ID.fullmatch(wanted) else secrets.token_hex(8))
    _CURRENT.set(found)
    return found


def current() -> Exchange:
    """The exchange that this code runs for; an empty one outside of any."""
    found = _CURRENT.get(None)
    return Exchange() if found is None else found
