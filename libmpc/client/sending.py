"""One try of a query: sealed, sent, opened; traced where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from libmpc.client.http import Operation, Response
from libmpc.client.infer import Sealed, decode_infer, encode_infer
from libmpc.client.retry import Attempts
from libmpc.tracing import HEADER, QuerySpan, Tracing, outcome_of
from libmpc.wire.descriptor import Descriptor

if TYPE_CHECKING:
    from libmpc.client.session import Session

T = TypeVar("T")


def send_sealed(
    session: Session,
    name: str,
    descriptor: Descriptor,
    seal: Callable[[], Sealed[T]],
    attempts: Attempts,
    tracing: Tracing | None,
) -> Operation[tuple[T, Response]]:
    """Seal and send to the model of that name; what was opened, and the gateway's answer.

    Args:
        tracing: makes a span, and below it one for each of the three steps.
    """
    if tracing is None:
        return (yield from _steps(session, name, seal(), attempts, None))
    span = tracing.ask("libmpc.client.query")
    error: BaseException | None = None
    try:
        sealed = seal()
        span.about(model=name, digest=descriptor.model, batch=sealed.header.batch)
        span.lap("seal")
        return (yield from _steps(session, name, sealed, attempts, span))
    except BaseException as problem:
        error = problem
        raise
    finally:
        span.end(outcome_of(error))


def _steps(
    session: Session, name: str, sealed: Sealed[T], attempts: Attempts, span: QuerySpan | None
) -> Operation[tuple[T, Response]]:
    headers, parts = encode_infer(sealed, attempts.remaining)
    if span is not None:
        headers[HEADER] = span.traceparent
    path, limit = f"/v2/models/{name}/infer", 4 * sealed.reply_bytes + 65536
    response = yield from session.once("POST", path, attempts, parts, headers, limit)
    if span is not None:
        span.lap("request")
    answer = sealed.open(*decode_infer(response))
    if span is not None:
        span.lap("open")
    return answer, response
