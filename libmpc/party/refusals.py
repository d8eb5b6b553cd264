"""What a gateway hears of an error: a status and a text, chosen by the error's kind."""

from __future__ import annotations

import logging

from libmpc.errors import (
    AuthenticationError,
    ConflictError,
    InputError,
    IntegrityError,
    LibmpcError,
    ServiceError,
)
from libmpc.failure import describe
from libmpc.party.messages import Refusal
from libmpc.sealing.errors import SealError, UnknownKeyError
from libmpc.wire.errors import ExpiredError, WireError

#: a code that gateways may hear: the model answers in triple 0 only
NOT_HERE = "not_here"

log = logging.getLogger(__name__)


def refuse(error: Exception) -> Refusal:
    """The status and the text that a gateway may hear of an error."""
    retry_after = getattr(error, "retry_after", None)
    if isinstance(error, ServiceError) and error.status is not None:
        code = error.code if error.code == NOT_HERE else None
        return Refusal.model_validate(
            {"status": error.status, "error": str(error), "retry_after": retry_after, "code": code}
        )
    for kinds, status in _STATUSES:
        if isinstance(error, kinds):
            return Refusal.model_validate({"status": status, "error": str(error)})
    if not isinstance(error, LibmpcError):
        log.error("a request failed: %s", describe(error))
    return Refusal(status=500, error="an internal error; the party's log has more")


_STATUSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
    ((UnknownKeyError, ExpiredError, ConflictError), 409),
    (AuthenticationError, 403),
    ((WireError, SealError), 400),
    ((InputError, IntegrityError), 422),
)
