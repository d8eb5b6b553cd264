"""What a party does for gateways: one method a request, and nothing on a gateway's word alone.

A request is a message whose ``bundle`` is the gateway's request number; the answer repeats it and
has the HTTP status in ``step``. The payloads::

    STATUS, KEYS, MODELS  nothing                              → PartyStatus, Signed, ModelList
    STATUS                anything, which older parties ignore → PartyReport
    PREPARE               u32 length | PushHeader | envelope   → Signed receipt
    COMMIT                Commit                               → {}
    COMMAND               Signed command                       → {}
    SYNC                  nothing; a replica catches up first  → {}
    BATCH                 u32 length | Batch | envelopes       → one RESULT a query, each with
                                                                 number (16) | sealed reply
    anything refused                                           → Refusal
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Protocol

from libmpc.link import Buffer, Link, LinkError, Message
from libmpc.party.auditor import Auditor
from libmpc.party.budget import SHORT_BYTES, Account, MessageBudget
from libmpc.party.framing import split
from libmpc.party.messages import (
    Batch,
    Commit,
    Kind,
    ModelList,
    PartyReport,
    PartyStatus,
    Refusal,
)
from libmpc.party.meters import Meters
from libmpc.party.refusals import refuse
from libmpc.wire.command import Command
from libmpc.wire.errors import WireError
from libmpc.wire.headers import PushHeader, QueryHeader
from libmpc.wire.signed import Signed

log = logging.getLogger(__name__)

#: requests of one gateway at the same time; the queries of a batch are one
MAX_REQUESTS = 1024


class Node(Protocol):
    """What the requests are carried out on."""

    def status(self) -> PartyStatus: ...
    def report(self) -> PartyReport: ...
    def key(self) -> Signed: ...
    def models(self) -> ModelList: ...
    async def prepare(self, header: PushHeader, envelope: memoryview) -> Signed: ...
    async def commit(self, commit: Commit) -> None: ...
    async def command(self, signed: Signed) -> None: ...
    async def sync(self) -> None: ...
    def query_batch(
        self, batch: Batch, envelopes: list[memoryview]
    ) -> list[tuple[QueryHeader, asyncio.Future[bytes]]]: ...


class GatewayPort:
    """Serves one gateway's link."""

    def __init__(
        self, link: Link, node: Node, meters: Meters, auditor: Auditor, budget: MessageBudget
    ) -> None:
        self._budget = budget
        self._account = Account(budget, link)
        self._meters = meters
        self._auditor = auditor
        self._link = link
        self._node = node
        self._requests: set[asyncio.Task[None]] = set()
        self._replies: set[asyncio.Future[bytes]] = set()

    async def run(self) -> None:
        """Serve until the link is over."""
        self._link.on_unfinished = self._account.grown
        self._link.start(self._take)
        try:
            await self._link.wait_closed()
        finally:
            self._account.grown(0)
        # What has begun is finished: it works in threads, which nobody can stop.
        for reply in list(self._replies):
            reply.cancel()

    def _take(self, message: Message) -> None:
        if len(self._requests) >= MAX_REQUESTS:
            refusal = Refusal(status=429, error="too many requests at once", retry_after=1)
            self._link.post(Kind.RESPONSE, message.bundle, refusal.status, refusal.encode())
            return
        if message.kind == Kind.BATCH:  # within this turn of the loop: queries are in a hurry
            try:
                self._batch(message.bundle, message.payload)
            except Exception as error:  # noqa: BLE001 - whatever it is, the gateway gets an answer
                self._refuse(message.bundle, error)
            return
        size = len(message.payload) if len(message.payload) > SHORT_BYTES else 0
        self._budget.begin(size)
        task = asyncio.get_running_loop().create_task(self._serve(message, size))
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _serve(self, message: Message, size: int) -> None:
        request, kind, payload = message.bundle, message.kind, message.payload
        del message
        try:
            body = await self._answer(kind, payload)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(request, error)
            return
        finally:
            # Before the answer has left: a gateway that does not read it keeps no memory by that.
            del payload
            self._budget.end(size)
        with contextlib.suppress(LinkError):
            await self._link.send(Kind.RESPONSE, request, 200, body)

    def _refuse(self, request: int, error: Exception) -> None:
        refusal = refuse(error)
        self._respond(Kind.RESPONSE, request, refusal.status, refusal.encode())

    async def _answer(self, kind: int, payload: Buffer) -> bytes:
        node, record, gateway = self._node, self._auditor.change, self._link.peer_key
        match kind:
            case Kind.STATUS:
                return (node.report() if payload else node.status()).encode()
            case Kind.KEYS:
                return node.key().encode()
            case Kind.MODELS:
                return node.models().encode()
            case Kind.PREPARE:
                head, envelope = split(payload)
                header = PushHeader.parse(head)
                async with record("prepare", gateway, header.model):
                    return (await node.prepare(header, envelope)).encode()
            case Kind.COMMIT:
                commit = Commit.parse(payload)
                async with record("commit", gateway, commit.model):
                    await node.commit(commit)
                return b"{}"
            case Kind.COMMAND:
                signed = Signed.parse(payload)
                command = Command.parse(signed.document)
                limit = command.num_requests
                async with record(command.action, gateway, command.model, limit):
                    await node.command(signed)
                return b"{}"
            case Kind.SYNC:
                await node.sync()
                return b"{}"
        raise WireError("an unknown request; is the gateway newer than this party?")

    def _batch(self, request: int, payload: Buffer) -> None:
        self._auditor.check()
        head, data = split(payload)
        batch = Batch.parse(head)
        if sum(entry.size for entry in batch.entries) != len(data):
            raise WireError("a batch's envelopes do not have the lengths it says")
        envelopes, start = [], 0
        for entry in batch.entries:
            envelopes.append(data[start : start + entry.size])
            start += entry.size
        replies = self._node.query_batch(batch, envelopes)
        for header, reply in replies:
            self._replies.add(reply)
            reply.add_done_callback(partial(self._result, request, header))
        if (size := len(payload)) > SHORT_BYTES:
            self._budget.begin(size)
            over = asyncio.gather(*(reply for _, reply in replies), return_exceptions=True)
            over.add_done_callback(lambda _: self._budget.end(size))

    def _result(self, request: int, header: QueryHeader, reply: asyncio.Future[bytes]) -> None:
        self._replies.discard(reply)
        if reply.cancelled():
            return  # the link is over
        if (error := reply.exception()) is None:
            status, body = 200, reply.result()
        else:
            assert isinstance(error, Exception)
            refusal = refuse(error)
            status, body = refusal.status, refusal.encode()
        self._meters.queries[status] += 1
        # SECURITY: no more of the number than finds it, and at a level that operators ask for.
        log.debug("query %s: %d", header.number[:8], status)
        self._auditor.query(self._link.peer_key, header.model, header.batch, status)
        self._respond(Kind.RESULT, request, status, bytes.fromhex(header.number), body)

    def _respond(self, kind: int, request: int, status: int, *body: bytes) -> None:
        # Where the gateway is gone, its client asks again.
        with contextlib.suppress(LinkError):
            self._link.post(kind, request, status, *body)
