"""A stolen gateway: the real one, its keys and code, with an attacker's hands on every wire.

Real parties, the production gateway with its HTTP application, and production clients. The
attacker sees and changes whatever passes: requests and answers between clients and the gateway
(``on_request``, ``on_answer``), messages between the gateway and the parties (``to_party``,
``from_party``), and has links of his own with the gateway's key (``own``), for what the gateway's
code would never send.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from libmpc.client import AsyncClient
from libmpc.client.retry import RetryPolicy
from libmpc.clock import SystemClock
from libmpc.errors import LibmpcError
from libmpc.identity.keys import GatewayIdentity
from libmpc.link import GATEWAY, Link, LocalIdentity, Message, RemoteIdentity, connect
from libmpc.party import keys
from libmpc.party.framing import join, split
from libmpc.party.messages import Batch, Kind
from libmpc.prg import Stream
from services.gateway.app import make_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from services.gateway.timers import LoopTimers
from tests.party.triple import FAST, Triple, expected, perceptron, triple
from tests.party.triple import Gateway as OwnLinks

PLAN, WEIGHTS = perceptron()
OTHER_PLAN, OTHER_WEIGHTS = perceptron(seed=7)
Floats = NDArray[np.float64]
#: (party, kind, payload) → what is sent instead, in order; each party's messages separately
Outgoing = Callable[[int, int, bytes], list[tuple[int, bytes]]]
#: (party, kind, step, payload) → what the gateway's code gets instead
Incoming = Callable[[int, Message], list[Message]]


def inputs(batch: int = 1, seed: int = 2) -> Floats:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 12))


@dataclass
class Hands:
    """What the attacker does; nothing, until a test says so."""

    on_request: Callable[[httpx.Request, bytes], httpx.Response | bytes | None] | None = None
    on_answer: Callable[[httpx.Request, httpx.Response], httpx.Response] | None = None
    to_party: Outgoing | None = None
    from_party: Incoming | None = None
    seen: list[bytes] = field(default_factory=list)


class TappedLink:
    """A link to a party, with the attacker in front of it."""

    def __init__(self, link: Link, hands: Hands) -> None:
        self._link = link
        self._hands = hands

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    def post(self, kind: int, bundle: int, step: int, *buffers: Any, more: bool = False) -> None:
        payload = b"".join(bytes(buffer) for buffer in buffers)
        self._hands.seen.append(payload)
        changed = [(kind, payload)]
        if self._hands.to_party is not None:
            changed = self._hands.to_party(self._link.peer, kind, payload)
        for one, data in changed:
            self._link.post(one, bundle, step, data, more=more)

    def start(self, handler: Callable[[Message], None], on_end: Any = None) -> None:
        def take(message: Message) -> None:
            message = replace(message, payload=bytes(message.payload))
            self._hands.seen.append(bytes(message.payload))
            changed = [message]
            if self._hands.from_party is not None:
                changed = self._hands.from_party(self._link.peer, message)
            for one in changed:
                handler(one)

        self._link.start(take, on_end)


class TappedTransport(httpx.AsyncBaseTransport):
    """Between a client and the gateway's application."""

    def __init__(self, app: Any, hands: Hands) -> None:
        self._inner = httpx.ASGITransport(app=app)
        self._hands = hands

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self._hands.seen.append(body)
        if self._hands.on_request is not None:
            done = self._hands.on_request(request, body)
            if isinstance(done, httpx.Response):
                return done
            body = body if done is None else done
        headers = [(k, v) for k, v in request.headers.raw if k.lower() != b"content-length"]
        request = httpx.Request(request.method, request.url, headers=headers, content=body)
        response = await self._inner.handle_async_request(request)
        content = await response.aread()
        self._hands.seen.append(content)
        response = httpx.Response(
            response.status_code, headers=response.headers, content=content, request=request
        )
        if self._hands.on_answer is not None:
            response = self._hands.on_answer(request, response)
        return response


@dataclass
class Stolen:
    """Everything that a test may touch."""

    parties: Triple
    gateway: Gateway
    app: Any
    own: OwnLinks
    hands: Hands
    model: str = ""

    def client(self, retries: int = 0, timeout: float = 30) -> AsyncClient:
        return AsyncClient(
            self.parties.directory,
            retries=RetryPolicy(retries, first=0.01, longest=0.05),
            timeout=timeout,
            transport=TappedTransport(self.app, self.hands),
        )

    async def query(self, x: Floats | None = None, timeout: float = 30) -> Floats | LibmpcError:
        """An honest client's query: its answer, or the error that it gets."""
        async with self.client(timeout=timeout) as client:
            try:
                return await client.query("mnist", inputs() if x is None else x)
            except LibmpcError as error:
                return error

    async def served(self) -> list[int]:
        """The evaluators' own counts of the first model."""
        counts = []
        for party in (0, 1):
            states = (await self.own.models(party)).models
            counts.append(next(s.served for s in states if s.model == self.model))
        return counts

    async def still_right(self) -> None:
        """With his hands off, everything goes on, and the answers are the right ones."""
        self.hands.on_request = self.hands.on_answer = None
        self.hands.to_party = self.hands.from_party = None
        x = inputs(3, seed=99)
        answer = await self.query(x)
        assert not isinstance(answer, LibmpcError), answer
        assert np.array_equal(answer, expected(PLAN, WEIGHTS, x))

    def no_share_was_seen(self) -> None:
        """Neither seed of any model, nor any part of its masked weights, has passed."""
        view = b"".join(self.hands.seen)
        for index in range(3):
            for entry in self.parties.nodes[index].catalog.entries.values():
                share = self.parties._stores[index].share(entry.record)
                for start in range(0, min(len(share), 320) - 31, 32):
                    assert share[start : start + 32] not in view


class StreamCounter:
    """Every stream of correlated randomness that is made, by its key."""

    def __init__(self) -> None:
        self.made: dict[bytes, int] = {}

    def make(self, key: bytes) -> Stream:
        stream = Stream(key)
        self.made[key] = self.made.get(key, 0) + 1
        return stream


@contextlib.asynccontextmanager
async def stolen(directory: Path, **push: object) -> AsyncIterator[Stolen]:
    """A deployment whose gateway is the attacker's; at the end nothing was used twice or seen."""
    counter = StreamCounter()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keys, "Stream", counter.make)
        async with triple(directory) as parties:
            hands = Hands()
            identity = GatewayIdentity.load(directory / "gateway" / "keys")
            local = LocalIdentity(GATEWAY, identity.static, parties.deployment.id)

            async def dial(party: int, triple: int) -> Link:
                remote = RemoteIdentity(party, parties.deployment.parties[party].static_key)
                stream = parties._connect(GATEWAY, party)
                link = await connect(stream, local, remote, settings=FAST)
                return TappedLink(link, hands)  # type: ignore[return-value]

            gateway = Gateway(
                GatewaySettings.from_file(directory / "gateway" / "gateway.yaml"),
                parties.deployment.id,
                dial,
                clock=SystemClock(),
                timers=LoopTimers(),
            )
            gateway.start()
            for link in gateway.router.first.links:
                await link.wait_up()
            attacked = Stolen(parties, gateway, make_app(gateway), await parties.gateway(), hands)
            # With a limit, so that counts are exact at once.
            attacked.model = await attacked.own.push(
                PLAN, WEIGHTS, **{"num_requests": 1000, **push}
            )
            try:
                yield attacked
                attacked.no_share_was_seen()
            finally:
                await gateway.close()
    # Each stream belongs to two parties: a third making of it would be a second use.
    assert max(counter.made.values()) <= 2


def attack(work: Callable[[Stolen], Awaitable[None]], directory: Path, **push: object) -> None:
    """Run one attack."""

    async def main() -> None:
        async with asyncio.timeout(110), stolen(directory, **push) as attacked:
            await work(attacked)

    asyncio.run(main())


def refused(answer: object, *statuses: int | type[LibmpcError]) -> None:
    """No answer, but an error: with one of these HTTP statuses, or of one of these kinds."""
    assert isinstance(answer, LibmpcError), answer
    if statuses:
        kinds = tuple(kind for kind in statuses if isinstance(kind, type))
        known = getattr(answer, "status", None) in statuses
        assert known or isinstance(answer, kinds), repr(answer)


def right(answer: Floats | LibmpcError, x: Floats) -> None:
    """The right answer."""
    assert not isinstance(answer, LibmpcError), answer
    assert np.array_equal(answer, expected(PLAN, WEIGHTS, x))


def right_or_refused(answer: Floats | LibmpcError, x: Floats) -> None:
    """Never another answer."""
    if not isinstance(answer, LibmpcError):
        right(answer, x)


def open_batch(payload: bytes) -> tuple[Batch, list[bytes]]:
    """A ``BATCH`` message taken apart."""
    head, data = split(payload)
    batch, start, envelopes = Batch.parse(head), 0, []
    for entry in batch.entries:
        envelopes.append(bytes(data[start : start + entry.size]))
        start += entry.size
    return batch, envelopes


def close_batch(batch: Batch, envelopes: list[bytes], **changes: Any) -> bytes:
    """A ``BATCH`` message put together, with true lengths."""
    entries = tuple(
        entry.model_copy(update={"size": len(envelope)})
        for entry, envelope in zip(batch.entries, envelopes, strict=True)
    )
    changed = batch.model_copy(update={"entries": entries, **changes})
    return b"".join(bytes(part) for part in join(changed.encode(), *envelopes))


BATCH = int(Kind.BATCH)
