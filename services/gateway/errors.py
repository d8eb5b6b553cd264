"""Every error as ``{"error": ..., "request": id}``; no stack trace, no piece of a body in it."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libmpc.errors import ModelNotFoundError, ServiceError, UnavailableError
from libmpc.party.messages import Refusal
from libmpc.wire.errors import WireError
from services.common.exchange import current

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
#: after these the rest of a body is not worth reading
_CLOSING = (401, 403, 408, 413, 415)
_VAGUE = (500, 503)


def bad_request(message: str, status: int = 400) -> ServiceError:
    """An error of whoever sent the request."""
    return ServiceError(message, status=status)


def unreachable(party: int) -> UnavailableError:
    """A party is down or cut off."""
    return UnavailableError(
        f"party {party} is not reachable; try again in a moment",
        status=503,
        retry_after=RETRY_SECONDS,
        code="party_down",
    )


@contextlib.contextmanager
def reading(party: int) -> Iterator[None]:
    """What cannot be parsed within the block is a party's fault, not the sender's."""
    try:
        yield
    except WireError:
        raise _no_answer(party) from None


def _no_answer(party: int) -> UnavailableError:
    return UnavailableError(f"party {party} gave no proper answer; see its log", status=503)


def unknown_model(name: str) -> ModelNotFoundError:
    """There is no model of that name, or none that the token may see."""
    return ModelNotFoundError(
        f"there is no model {name!r}; 'libmpc models' (GET /v2/models) lists them", status=404
    )


def refused(party: int, payload: bytes | bytearray | memoryview) -> ServiceError:
    """What a party has refused, as an error of this service."""
    try:
        refusal = Refusal.parse(payload)
    except WireError:
        return _no_answer(party)
    # What is wrong with a request every party says alike; what is wrong with itself only one does.
    whose = f"party {party}: " if refusal.status in _VAGUE else ""
    return ServiceError(
        whose + refusal.error,
        status=refusal.status,
        retry_after=refusal.retry_after,
        code=refusal.code or "",
    )


def is_specific(error: ServiceError) -> bool:
    """Whether the error is about the request, not about the state of a service."""
    return error.status not in (None, *_VAGUE)


def most_specific(errors: Iterable[ServiceError]) -> ServiceError:
    """The error that tells the sender most; the first of equal ones."""
    return min(errors, key=lambda error: not is_specific(error))


def error_response(
    status: int,
    message: str,
    retry_after: float | None = None,
    headers: Mapping[str, str] | None = None,
    code: str = "",
) -> Response:
    """The one form that all errors have."""
    document = {"error": message}
    if code:
        document["code"] = code
    if request := current().id:
        document["request"] = request
    response = Response(json.dumps(document), status, headers, media_type="application/json")
    if retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
    if status in _CLOSING:
        response.headers["Connection"] = "close"
    return response


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    status = error.status or 503
    retry_after = error.retry_after
    if retry_after is None and status == 503:
        retry_after = RETRY_SECONDS
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return error_response(status, str(error), retry_after, headers, error.code)


async def _wire_error(request: Request, error: Exception) -> Response:
    return error_response(400, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: "there is no such route; /openapi.json lists them", 405: "method not allowed"}
    text = texts.get(error.status_code, str(error.detail))
    return error_response(error.status_code, text, headers=error.headers)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return error_response(422, f"{place}: {first['msg']}")


HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Any]] = {
    ServiceError: _service_error,
    WireError: _wire_error,
    HTTPException: _http_error,
    RequestValidationError: _not_valid,
}


class Guard:
    """Around all routes: what nobody foresaw becomes a plain 500 and an entry in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:  # noqa: BLE001, whatever it is
            # SECURITY: where it happened, not its text, which could repeat what a client sent.
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("a request failed with %s at\n%s", type(error).__name__, where)
            if not started:
                text = "an internal error; the gateway's log has more"
                await error_response(500, text)(scope, receive, send)
