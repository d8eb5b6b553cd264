"""Parties' gateway ports without parties behind them, and time that a test owns."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from libmpc.link import Link, LinkError, LocalIdentity, Message, accept, memory_pair
from libmpc.link.stream import ByteStream
from libmpc.party.framing import split
from libmpc.party.messages import (
    Batch,
    Commit,
    Control,
    Kind,
    ModelList,
    ModelState,
    PartyReport,
    PartyStatus,
    Refusal,
)
from libmpc.wire.headers import PushHeader
from libmpc.wire.keys import PartyKey
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed
from tests.link.support import DEPLOYMENT, identity, known
from tests.manual_clock import ManualClock

MODEL = "ab" * 32


def signed(document: bytes) -> Signed:
    return Signed(document=document, signature=bytes(64))


def key_id(party: int, triple: int = 0) -> str:
    """The id of the one key of a fake party."""
    return f"{16 * triple + party:016x}"


def key(party: int, triple: int = 0) -> Signed:
    """What a fake party announces."""
    document = PartyKey(
        deployment=DEPLOYMENT.hex(),
        party=party,
        key_id=key_id(party, triple),
        public_key="22" * 32,
        not_before_ms=1,
        not_after_ms=2,
    )
    return signed(document.encode())


def state(party: int, name: str = "digits", model: str = MODEL, **changes: object) -> ModelState:
    values: dict[str, object] = {
        "name": name,
        "model": model,
        "state": "serving",
        "num_requests": None,
        "served": 0 if party == 2 else 3,
        "plan_digest": "cd" * 32,
        "descriptor": None if party == 2 else signed(b"descriptor %d" % party),
    }
    return ModelState.model_validate(values | changes)


@dataclass
class FakeParty:
    """Answers as a party does, or as a test says.

    Attributes:
        down: refuses new links.
        frozen: hears, and says nothing.
        holding: keeps the batches that arrive in ``held`` until ``release``.
        report, raw_report: what it says of itself where it is new enough for more than its status.
        refusals: what to refuse, by kind.
        heard: every request: kind and payload.
        batches: the numbers of the queries in each batch that has arrived.
    """

    index: int
    triple: int = 0
    down: bool = False
    frozen: bool = False
    holding: bool = False
    ready: bool = True
    epoch: str = "e1"
    report: PartyReport | None = None
    raw_report: bytes | None = None
    models: list[ModelState] = field(default_factory=list)
    refusals: dict[Kind, Refusal] = field(default_factory=dict)
    on_request: Callable[[Kind], None] = lambda kind: None
    heard: list[tuple[Kind, bytes]] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    timeouts: list[int] = field(default_factory=list)
    held: list[Callable[[], None]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.models = [state(self.index)]
        self.arrived = asyncio.Event()

    async def serve(self, stream: ByteStream, local: LocalIdentity) -> None:
        link = await accept(stream, local, known, clock=ManualClock())
        self.links.append(link)
        link.start(lambda message: self._take(link, message))
        await link.wait_closed()
        self.links.remove(link)

    async def lose(self) -> None:
        """All links break, without notice."""
        for link in list(self.links):
            await link._stream.close()

    def release(self) -> None:
        """Answer the batches that were held."""
        held, self.held = self.held, []
        for answer in held:
            answer()

    def payloads(self, kind: Kind) -> list[bytes]:
        return [payload for heard, payload in self.heard if heard == kind]

    async def wait_for(self, kind: Kind, count: int = 1) -> None:
        """Return once ``count`` requests of a kind have arrived."""
        async with asyncio.timeout(10):
            while len(self.payloads(kind)) < count:
                self.arrived.clear()
                await self.arrived.wait()

    def _take(self, link: Link, message: Message) -> None:
        kind = Kind(message.kind)
        self.heard.append((kind, bytes(message.payload)))
        self.arrived.set()
        self.on_request(kind)
        if self.frozen or not link.alive:
            return
        if (refusal := self.refusals.get(kind)) is not None and kind != Kind.BATCH:
            link.post(Kind.RESPONSE, message.bundle, refusal.status, refusal.encode())
        elif kind == Kind.BATCH:
            self._batch(link, message)
        else:
            answer = self._answer(kind, bytes(message.payload))
            link.post(Kind.RESPONSE, message.bundle, 200, answer)

    def _answer(self, kind: Kind, payload: bytes) -> bytes:
        document: Control | Signed
        match kind:
            case Kind.STATUS if payload and self.raw_report is not None:
                return self.raw_report
            case Kind.STATUS if payload and self.report is not None:
                document = self.report
            case Kind.STATUS:
                document = PartyStatus(
                    party=self.index,
                    version="1",
                    ready=self.ready,
                    reason="" if self.ready else "no epoch",
                    epoch=self.epoch,
                    models=len(self.models),
                )
            case Kind.KEYS:
                document = key(self.index, self.triple)
            case Kind.MODELS:
                document = ModelList(models=tuple(self.models))
            case Kind.PREPARE:
                header = PushHeader.parse(split(payload)[0])
                receipt = Receipt(deployment=DEPLOYMENT.hex(), party=self.index, model=header.model)
                document = signed(receipt.encode())
            case Kind.COMMIT:
                Commit.parse(payload)
                return b"{}"
            case Kind.SYNC:
                assert self.triple
                return b"{}"
            case _:
                Signed.parse(payload)
                return b"{}"
        return document.encode()

    def _batch(self, link: Link, message: Message) -> None:
        head, data = split(message.payload)
        batch = Batch.parse(head)
        assert sum(entry.size for entry in batch.entries) == len(data)
        self.batches.append([entry.header.number for entry in batch.entries])
        self.timeouts.append(batch.timeout_ms)
        sizes = [entry.size for entry in batch.entries]
        ends = list(itertools.accumulate(sizes))
        envelopes = [bytes(data[end - size : end]) for size, end in zip(sizes, ends, strict=True)]

        def answer() -> None:
            refusal = self.refusals.get(Kind.BATCH)
            for entry, envelope in zip(batch.entries, envelopes, strict=True):
                number = bytes.fromhex(entry.header.number)
                if refusal is None:
                    reply = b"reply %d " % self.index + envelope
                    link.post(Kind.RESULT, message.bundle, 200, number, reply)
                else:
                    body = refusal.encode()
                    link.post(Kind.RESULT, message.bundle, refusal.status, number, body)

        if self.holding:
            self.held.append(answer)
        else:
            answer()


class ManualTimers:
    """The gateway's timers, moved by ``advance`` only."""

    def __init__(self) -> None:
        self._now = 100.0
        self._order = itertools.count()
        self._calls: list[tuple[float, int, _Call]] = []

    def now(self) -> float:
        return self._now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Call:
        call = _Call(callback)
        heapq.heappush(self._calls, (self._now + seconds, next(self._order), call))
        return call

    def advance(self, seconds: float) -> None:
        end = self._now + seconds
        while self._calls and self._calls[0][0] <= end:
            self._now, _, call = heapq.heappop(self._calls)
            if not call.cancelled:
                call.callback()
        self._now = end


@dataclass(eq=False)
class _Call:
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Network:
    """Makes the streams between a gateway and fake parties."""

    def __init__(self, parties: list[FakeParty]) -> None:
        self._parties = parties
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, index: int) -> ByteStream:
        party = self._parties[index]
        if party.down:
            raise LinkError(f"cannot reach party {index}")
        ours, theirs = memory_pair()
        task = asyncio.ensure_future(self._serve(party, theirs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ours

    async def _serve(self, party: FakeParty, stream: ByteStream) -> None:
        try:
            await party.serve(stream, identity(party.index))
        except LinkError:
            await stream.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
