"""What a session asks its shell to do, and what the gateway's HTTP answers mean."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from libmpc.errors import (
    AuthenticationError,
    ConflictError,
    IntegrityError,
    LimitError,
    ModelNotFoundError,
    ServiceError,
    UnavailableError,
)
from libmpc.wire.fields import too_many_values

MAX_ANSWER = 32 << 20
_MAX_TEXT = 500
_CODE = re.compile(r"[a-z_]{1,32}")
_LONGEST_WAIT = 3600.0
_REQUEST = re.compile(r"[0-9A-Za-z._-]{1,64}")

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request. What is in it does not show when it is printed.

    Attributes:
        gateway: scheme, host and port.
        parts: the body, in pieces that are sent one after the other.
        timeout: seconds until the answer must have arrived as a whole.
        limit: bytes that the answer's body may have.
    """

    method: str
    gateway: str
    path: str
    parts: tuple[bytes, ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    limit: int = MAX_ANSWER


@dataclass(frozen=True)
class Pause:
    """Wait for so many seconds, and come back with nothing."""

    seconds: float


@dataclass(frozen=True)
class Response:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            IntegrityError: it is none.
        """
        return parse_object(self.body)


Operation = Generator[Request | Pause, Response | None, T]
"""A call: yields what it needs done, gets the response (or an exception), and returns a result."""


class LostError(UnavailableError):
    """The gateway was not reached, or the connection ended before the answer did."""


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object that a gateway made.

    Raises:
        IntegrityError: it is none, or was cut off.
    """
    try:
        # What has too many values would take many times its length in memory.
        found = None if too_many_values(data) else json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IntegrityError("the gateway's answer is no JSON object, or was cut off on its way")
    return found


def unreachable(gateway: str) -> LostError:
    """The error for a gateway that accepts no connection."""
    return LostError(
        f"the gateway at {gateway} is not reachable: is it running? Start it ('libmpc up' on this "
        "machine, 'libmpc gateway' elsewhere), or correct its URL in the deployment file"
    )


def lost(gateway: str) -> LostError:
    """The error for a connection that ended too early."""
    return LostError(f"the gateway at {gateway} closed the connection before it had answered")


def too_slow(gateway: str, seconds: float) -> UnavailableError:
    """The error for an answer that did not come in time."""
    return UnavailableError(
        f"no answer from the gateway at {gateway} within {seconds:.3g} s: is it overloaded or "
        "frozen? Try again, or give a longer timeout"
    )


_ERRORS: dict[int, type[ServiceError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: ModelNotFoundError,
    409: ConflictError,
    429: LimitError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def check(gateway: str, response: Response) -> Response:
    """Return a response that is a success.

    Raises:
        ServiceError: it is not; the class says why, as far as the gateway does.
    """
    status = response.status
    if 200 <= status < 300:
        return response
    text, code = _error(response.body)
    if status == 401:
        said = "" if text is None else f" (it says: {text})"
        text = (
            f"the gateway at {gateway} wants a valid token: put the deployment's credential file "
            f"beside the deployment file, or give the token{said}"
        )
    elif text is None:
        # Whoever answers without {"error": ...} is no gateway of ours.
        text = f"{gateway} answered with status {status}: is it a libmpc gateway?"
        if status == 404:
            raise ServiceError(text, status=status)
    kind = _ERRORS.get(status, ServiceError)
    request = response.headers.get("x-request-id", "")
    if not _REQUEST.fullmatch(request):
        request = ""
    text += f" (request {request})" if request else ""
    after = _retry_after(response.headers)
    raise kind(text, status=status, retry_after=after, code=code, request=request)


def _error(body: bytes) -> tuple[str | None, str]:
    """The error's text, fit for a terminal, and its code: the gateway may say what it likes."""
    try:
        document = parse_object(body[: 1 << 20])
    except IntegrityError:
        return None, ""
    text, code = document.get("error"), document.get("code")
    if not isinstance(text, str) or not text:
        return None, ""
    known = isinstance(code, str) and _CODE.fullmatch(code)
    printed = "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT])
    return printed, str(code) if known else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_WAIT else None
