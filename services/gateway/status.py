"""``GET /v2/status``: what the parties say of themselves, put together for people.

Nothing here is signed and nothing is decided by it. It tells no more than load and time do: pool
levels follow from how much is asked, an epoch's id is a hash that everybody in the deployment has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from libmpc._version import __version__
from libmpc.access import Role
from libmpc.errors import ServiceError
from libmpc.party.messages import Kind, PartyReport, PartyStatus
from libmpc.wire.errors import WireError
from libmpc.wire.lifetime import to_millis
from services.gateway.auth import holder_of
from services.gateway.documents import ListedModel, errors
from services.gateway.gateway import Gateway
from services.gateway.holder import Holder
from services.gateway.links import PartyLink
from services.gateway.v2 import answer

#: how long the parties' answers may be repeated: ``--watch`` asks once in a second or two
REPEAT_SECONDS = 0.5
_MAX_REASON = 300
_DETAIL = b"1"


class PoolBody(BaseModel):
    model: str
    batch: int = Field(description="Images in a bundle.")
    ready: int = Field(description="Bundles that are ready.")


class PartyBody(BaseModel):
    """A process of a party; null where it does not say: it is down, or older than this gateway."""

    party: int
    up: bool = Field(description="Whether the gateway has a link to it.")
    ready: bool
    reason: str = Field(description="Why it is not ready; empty when it is.")
    version: str | None = None
    epoch: str | None = Field(default=None, description="The first 8 digits of its epoch's id.")
    uptime_seconds: float | None = None
    clock_ms: int | None = Field(default=None, description="Its clock, Unix milliseconds.")
    pools: list[PoolBody] = Field(description="Of the models that the token may see.")


class TripleBody(BaseModel):
    """One process of each party, which answer queries together."""

    triple: int
    ready: bool
    reason: str
    parties: list[PartyBody]


class LoadBody(BaseModel):
    """What this gateway has to do; for owners and admins."""

    waiting: int = Field(description="Queries that wait for a batch.")
    batches: int = Field(description="Batches under way.")
    queries: dict[str, int] = Field(description="Queries since its start, by how they ended.")


class GatewayBody(BaseModel):
    """The gateway that was asked; there may be others."""

    version: str
    uptime_seconds: float
    clock_ms: int = Field(description="Its clock, Unix milliseconds.")
    load: LoadBody | None


class TokenBody(BaseModel):
    """The token that was shown, for whoever has it; null: no limit."""

    role: Role
    expires_ms: int | None
    models: list[str] | None
    images: int | None = Field(description="Of each model.")
    images_per_minute: int | None
    requests_per_minute: int | None
    used: dict[str, int] = Field(description="Images that count towards `images`, by model.")


class StatusBody(BaseModel):
    """``GET /v2/status``."""

    ready: bool
    reason: str = Field(description="Why queries cannot be answered; empty when they can.")
    deployment: str = Field(description="The deployment's id, hexadecimal.")
    gateway: GatewayBody
    token: TokenBody
    triples: list[TripleBody]
    models: list[ListedModel] = Field(description="Those that the token may see.")


class Reports:
    """The parties' reports, asked for once in a while however many want them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._asking: asyncio.Task[list[list[PartyBody]]] | None = None
        self._asked = float("-inf")

    async def read(self) -> list[list[PartyBody]]:
        """Each triple's three parties."""
        now = self._gateway.timers.now()
        task = self._asking
        if task is None or (task.done() and now - self._asked >= REPEAT_SECONDS):
            self._asked = now
            task = self._asking = asyncio.ensure_future(self._ask())
        return await asyncio.shield(task)  # others may wait for the same answer

    async def _ask(self) -> list[list[PartyBody]]:
        triples = [triple.links for triple in self._gateway.router.triples]
        return list(await asyncio.gather(*(self._triple(links) for links in triples)))

    async def _triple(self, links: Sequence[PartyLink]) -> list[PartyBody]:
        return list(await asyncio.gather(*(self._party(link) for link in links)))

    async def _party(self, link: PartyLink) -> PartyBody:
        timeout = self._gateway.settings.call_timeout
        try:
            return describe(link.party, await link.call(Kind.STATUS, _DETAIL, timeout=timeout))
        except ServiceError as error:
            reason = str(error)
        except WireError:
            reason = f"party {link.party} gave no proper answer; see its log"
        return PartyBody(party=link.party, up=link.up, ready=False, reason=reason, pools=[])


def describe(party: int, payload: bytes | bytearray | memoryview) -> PartyBody:
    """What a party says of itself.

    Raises:
        WireError: it makes no sense.
    """
    status: PartyStatus
    try:
        status = PartyReport.parse(payload)
    except WireError:
        status = PartyStatus.parse(payload)  # an older party
    found = PartyBody(
        party=party,
        up=True,
        ready=status.ready,
        reason=status.reason[:_MAX_REASON],
        version=status.version[:32],
        epoch=status.epoch[:8] if status.epoch else None,
        pools=[],
    )
    if isinstance(status, PartyReport):
        found.uptime_seconds, found.clock_ms = status.uptime_seconds, status.clock_ms
        found.pools = [PoolBody(model=p.model, batch=p.rung, ready=p.ready) for p in status.pools]
    return found


def triple(number: int, parties: Sequence[PartyBody]) -> TripleBody:
    """Three parties as one: ready if all are, in one epoch."""
    reason = next((p.reason for p in parties if not p.ready), "")
    if not reason and len({p.epoch for p in parties}) != 1:
        reason = "the parties are agreeing on a new epoch"
    return TripleBody(triple=number, ready=not reason, reason=reason, parties=list(parties))


def status_routes(gateway: Gateway) -> APIRouter:
    """The deployment as it is at this moment."""
    router = APIRouter(prefix="/v2", tags=["health"], responses=errors(401, 503))
    reports = Reports(gateway)

    @router.get(
        "/status",
        response_model=StatusBody,
        responses=errors(503),
        summary="Parties, triples, models, pools and versions, as far as the token may see",
    )
    async def status(request: Request) -> Response:
        body = await _status(gateway, reports, holder_of(request))
        return answer(200, body.model_dump())

    return router


async def _status(gateway: Gateway, reports: Reports, holder: Holder) -> StatusBody:
    parties, reason = await asyncio.gather(reports.read(), gateway.reason())
    seen = [[_seen(party, holder) for party in each] for each in parties]
    triples = [triple(number, each) for number, each in enumerate(seen)]
    try:
        found = await gateway.router.read(lambda triple: triple.catalogue.views())
        views = [view for view in found if holder.sees(view.name)]
    except ServiceError:
        views = []  # no party answers, which the triples say
    models = [
        ListedModel(
            name=view.name,
            model=view.model,
            state=view.state,
            ready=not reason and view.state == "serving",
            num_requests=view.num_requests,
            served=view.served,
        )
        for view in views
    ]
    return StatusBody(
        ready=not reason,
        reason=reason,
        deployment=gateway.deployment.hex(),
        gateway=_gateway(gateway, holder),
        token=_token(holder, await gateway.access.used(holder)),
        triples=triples,
        models=models,
    )


def _seen(party: PartyBody, holder: Holder) -> PartyBody:
    # SECURITY: what others' models are called and how much they are asked is not for clients with
    # a list of their own. A copy, since others are shown the same answer.
    pools = [pool for pool in party.pools if holder.sees(pool.model)]
    return party.model_copy(update={"pools": pools})


def _token(holder: Holder, used: dict[str, int]) -> TokenBody:
    grant = holder.grant
    if grant is None:
        none = dict.fromkeys(set(TokenBody.model_fields) - {"role", "used"})
        return TokenBody(role="owner", used={}, **none)
    known = grant.model_dump(include=set(TokenBody.model_fields), mode="json")
    return TokenBody(**known, used=used)


def _gateway(gateway: Gateway, holder: Holder) -> GatewayBody:
    metrics = gateway.metrics
    load: dict[str, Any] | None = None
    # SECURITY: how much everybody together asks is not for clients.
    if holder.allows("owner"):
        load = {
            "waiting": metrics.waiting.value,
            "batches": metrics.batches.value,
            "queries": metrics.outcomes,
        }
    return GatewayBody(
        version=__version__,
        uptime_seconds=gateway.clock.monotonic() - gateway.born,
        clock_ms=to_millis(gateway.clock.now()),
        load=None if load is None else LoadBody(**load),
    )
