"""One inference request from body to answer."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from libmpc.errors import ServiceError
from libmpc.tracing import HEADER, QuerySpan
from libmpc.wire.errors import WireError
from services.common.exchange import Exchange, current
from services.common.metrics import BY_STATUS
from services.gateway.auth import check_sees
from services.gateway.bodies import Body
from services.gateway.gateway import Gateway
from services.gateway.holder import Holder
from services.gateway.query import PendingQuery, Replies
from services.gateway.tensors import HEADER_LENGTH, TRIPLE, encode_infer, parse_infer


async def infer(gateway: Gateway, name: str, request: Request, holder: Holder) -> Response:
    """Relay one query to both evaluators.

    Args:
        holder: who asks; the query counts towards its limits.

    Raises:
        ServiceError: refused, by whomever.
        WireError: the request is malformed.
        ClientDisconnect: nobody waits any more.
    """
    call = current()
    if gateway.tracing is None:
        return await _count(gateway, name, request, holder, call, None)
    parent, now = request.headers.get(HEADER, ""), gateway.timers.now
    span = gateway.tracing.serve("libmpc.gateway.query", parent, now)
    call.trace = span.traceparent
    outcome = "failed"
    try:
        response = await _count(gateway, name, request, holder, call, span)
        outcome = "answered"
        return response
    except ClientDisconnect:
        outcome = "disconnected"
        raise
    except ServiceError as error:
        outcome = BY_STATUS.get(error.status or 503, "rejected")
        raise
    except WireError:
        outcome = "invalid"
        raise
    finally:
        span.end(outcome)


async def _count(
    gateway: Gateway,
    name: str,
    request: Request,
    holder: Holder,
    call: Exchange,
    span: QuerySpan | None,
) -> Response:
    """Relay, and count how it ends."""
    try:
        check_sees(holder, name)
        return await _infer(gateway, name, request, holder, call, span)
    except ClientDisconnect:
        gateway.metrics.ended("disconnected", call.model, _since(gateway, call))
        raise
    except ServiceError as error:
        if error.status in (404, 409):
            gateway.router.forget(name)
        gateway.metrics.failed(error, call.model, _since(gateway, call))
        raise
    except WireError:
        gateway.metrics.refused(400, seconds=_since(gateway, call))
        raise


def _since(gateway: Gateway, call: Exchange) -> float | None:
    """Seconds since the body was there."""
    return None if call.read is None else gateway.timers.now() - call.read


async def _infer(
    gateway: Gateway,
    name: str,
    request: Request,
    holder: Holder,
    call: Exchange,
    span: QuerySpan | None,
) -> Response:
    settings, now = gateway.settings, gateway.timers.now
    with gateway.memory.lease() as lease:
        stream = Body(request, settings.max_infer_bytes, settings.body_idle_timeout, lease)
        arrived = now()
        body = await stream.all()
        read = call.read = now()
        parsed = parse_infer(body, request.headers.get(HEADER_LENGTH), settings.max_json_bytes)
        header, router = parsed.header, gateway.router
        call.images, call.query = header.batch, header.number[:8]
        triple = router.of(header) or await router.find(header)
        try:
            await triple.catalogue.check(name, header.model)
        except ServiceError as error:
            router.failed(triple, error)
            raise
        # SECURITY: only now: metrics and logs have the names of models that there are.
        call.model = name
        if span is not None:
            span.about(model=name, digest=parsed.header.model, batch=parsed.header.batch)
        timeout = min(parsed.timeout or settings.query_timeout, settings.max_query_timeout)
        client = request.client.host if request.client is not None else ""
        # The parties open nothing whose shape is not the header's, so no query has more images
        # than are counted here.
        charge = await holder.charge(name, header.batch, now())
        try:
            query = triple.batcher.submit(header, parsed.envelopes, timeout, client)
            triple.arrived(header.batch)
            replies = await _wait(query, request)
        except ServiceError as error:
            router.failed(triple, error)
            charge.refund(error)
            raise
    replied = now()
    if span is not None:
        span.phase("admit", arrived, query.since)
        span.phase("queue", query.since, query.launched)
        span.phase("flight", query.launched, replied)
    content, headers = encode_infer(name, parsed, replies)
    if (hint := router.hint(header.batch)) is not None:
        headers[TRIPLE] = str(hint)
    gateway.metrics.answered(name, read, arrived, query.since, query.launched, replied, now())
    return Response(content, headers=headers)


async def _wait(query: PendingQuery, request: Request) -> Replies:
    """The replies, unless the client goes away before."""
    # The body has been read, so all that can still arrive is the disconnect.
    gone = asyncio.ensure_future(request.receive())
    gone.add_done_callback(lambda _: query.abandon())
    try:
        return await query.answer
    except asyncio.CancelledError:
        if gone.done() and not gone.cancelled():
            raise ClientDisconnect from None
        raise
    finally:
        gone.cancel()
        if not query.answer.done():
            query.abandon()
