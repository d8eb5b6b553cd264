"""Real parties in one process over memory streams, and a gateway's links to them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from libmpc.answers import Answer, combine
from libmpc.audit import AuditLog
from libmpc.clock import Clock, SystemClock
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.fixedpoint import encode
from libmpc.graph.plan import DenseStep, InputStep, OutputStep, Plan, ReluStep
from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.identity.signing import SigningKey, verify_descriptor, verify_document
from libmpc.identity.storage_keys import STORAGE_KEY, StorageKeys
from libmpc.link import (
    GATEWAY,
    ByteStream,
    Link,
    LinkError,
    LinkSettings,
    LocalIdentity,
    MemoryStream,
    Message,
    RemoteIdentity,
    memory_pair,
)
from libmpc.link import connect as open_link
from libmpc.outputs import OutputKind, answer_shape, parse
from libmpc.party.framing import join
from libmpc.party.messages import (
    Batch,
    BatchEntry,
    Commit,
    Kind,
    ModelList,
    PartyStatus,
    Refusal,
)
from libmpc.party.node import PartyNode
from libmpc.party.node_settings import NodeSettings
from libmpc.party.store import Store
from libmpc.party.vault import Vault
from libmpc.protocol import share_weights
from libmpc.ring import pack, unpack
from libmpc.runtime import warm_up
from libmpc.sealing.open import open_sealed
from libmpc.sealing.seal import seal
from libmpc.shares import split
from libmpc.wire.command import Command
from libmpc.wire.context import sha256
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.envelope import Kind as ShareKind
from libmpc.wire.envelope import PushPlaintext, QueryPlaintext, ReplyPlaintext
from libmpc.wire.headers import PushHeader, QueryHeader, push_info, query_info, reply_info
from libmpc.wire.keys import PartyKey
from libmpc.wire.manifest import Manifest, model_digest
from libmpc.wire.signed import Signed

PORTS = LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7)
FAST = LinkSettings(max_message=1 << 30, heartbeat=0.2, timeout=0.8)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Return as soon as ``condition`` holds."""
    async with asyncio.timeout(seconds):
        # What it looks at has no event to wait for.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


class Refused(Exception):
    """A party's refusal, as a gateway sees it."""

    def __init__(self, status: int, text: str, code: str | None = None) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.code = code


@dataclass
class Triple:
    """Parties that can be stopped and started, and wires between them that can be cut.

    ``first`` is triple 0, where this is another one: processes of the same three organisations.
    """

    directory: Path
    clock: Clock = field(default_factory=SystemClock)
    settings: NodeSettings = field(default_factory=lambda: NodeSettings(link=FAST))
    audit: bool = False
    number: int = 0
    first: Triple | None = None
    nodes: dict[int, PartyNode] = field(default_factory=dict)
    audits: dict[int, AuditLog] = field(default_factory=dict)
    streams: dict[tuple[int, int], MemoryStream] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _stores: dict[int, Store] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.directory / "gateway").exists():
            make_all(self.directory, PORTS)
        self.deployment = Deployment.from_file(self.directory / "deployment.yaml")
        path = self.directory / "credentials.yaml"
        owner = Credential.from_file(path, self.deployment).signing_key
        assert owner is not None
        self.owner: SigningKey = owner

    def start(self, *indices: int) -> None:
        for index in indices or (0, 1, 2):
            identity = PartyIdentity.load(self.directory / f"party{index}" / "keys")
            home = self.directory / f"party{index}"
            keys = StorageKeys.from_file(home / "keys" / STORAGE_KEY)
            store = Store(home / self.data, Vault(index, keys))

            async def open_stream(peer: int, index: int = index) -> ByteStream:
                return self._connect(index, peer)

            self._stores[index] = store
            if self.audit:
                folder = self.directory / f"party{index}" / self.data / "audit"
                self.audits[index] = AuditLog(folder, self.deployment.id, index, self.clock)
            self.nodes[index] = PartyNode(
                index,
                self.deployment,
                identity,
                store,
                self.clock,
                open_stream,
                self.settings,
                self.audits.get(index),
                triple=self.number,
            )
            self.nodes[index].start()

    @property
    def data(self) -> str:
        return f"data{self.number or ''}"

    def _connect(self, index: int, peer: int) -> MemoryStream:
        there = self if index != peer or self.first is None else self.first
        if peer not in there.nodes:
            raise LinkError("nobody there")
        ours, theirs = memory_pair()
        self.streams[peer, index], self.streams[index, peer] = theirs, ours
        task = asyncio.ensure_future(there.nodes[peer].accept(theirs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ours

    async def stop(self, *indices: int) -> None:
        for index in indices or tuple(self.nodes):
            await self.nodes.pop(index).close()
            self._stores.pop(index).close()
            if index in self.audits:
                self.audits.pop(index).close()

    async def ready(self) -> None:
        def agreed() -> bool:
            epochs = {node.peers.epoch for node in self.nodes.values()}
            return len(epochs) == 1 and None not in epochs

        await until(agreed)

    async def gateway(self) -> Gateway:
        identity = GatewayIdentity.load(self.directory / "gateway" / "keys")
        local = LocalIdentity(GATEWAY, identity.static, self.deployment.id)
        gateway = Gateway(self)
        for party in self.deployment.parties:
            if party.index in self.nodes:
                stream = self._connect(GATEWAY, party.index)
                remote = RemoteIdentity(
                    party.index, party.static_key, party.static_keys[1:], self.number
                )
                link = await open_link(stream, local, remote, settings=FAST)
                gateway.add(link)
        return gateway


#: as a party does before anybody can reach it: no query may wait for a compiler
warm = functools.cache(warm_up)


@contextlib.asynccontextmanager
async def triple(directory: Path, **options: object) -> AsyncIterator[Triple]:
    """Three parties that agree on an epoch."""
    warm()
    parties = Triple(directory, **options)  # type: ignore[arg-type]
    parties.start()
    await parties.ready()
    try:
        yield parties
    finally:
        await parties.stop()


@contextlib.asynccontextmanager
async def replicas(first: Triple, number: int = 1, **options: object) -> AsyncIterator[Triple]:
    """Another triple of the same organisations, whose parties have caught up."""
    values = {"clock": first.clock, "settings": first.settings, **options}
    parties = Triple(first.directory, number=number, first=first, **values)  # type: ignore[arg-type]
    parties.start()
    await parties.ready()
    await until(lambda: not any(node.condition.reason for node in parties.nodes.values()))
    try:
        yield parties
    finally:
        await parties.stop()


class Gateway:
    """Requests to parties, without HTTP; also plays owner and client."""

    def __init__(self, parties: Triple) -> None:
        self.parties = parties
        self.links: dict[int, Link] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[tuple[int, int, str], asyncio.Future[tuple[int, bytes]]] = {}
        self._issued = itertools.count(int(parties.clock.now() * 1000))

    def add(self, link: Link) -> None:
        self.links[link.peer] = link

        def take(message: Message) -> None:
            number, body = "", bytes(message.payload)
            if message.kind == Kind.RESULT:
                number, body = body[:16].hex(), body[16:]
            future = self._waiting.pop((link.peer, message.bundle, number), None)
            if future is not None:
                future.set_result((message.step, body))

        link.start(take)

    def _expect(self, party: int, request: int, number: str = "") -> asyncio.Future[bytes]:
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[party, request, number] = future

        async def wait() -> bytes:
            async with asyncio.timeout(20):
                status, body = await future
            if status != 200:
                refusal = Refusal.parse(body)
                raise Refused(status, refusal.error, refusal.code)
            return body

        return asyncio.ensure_future(wait())

    async def ask(self, party: int, kind: int, *payload: bytes | memoryview) -> bytes:
        request = next(self._numbers)
        answer = self._expect(party, request)
        await self.links[party].send(kind, request, 0, *payload)
        return await answer

    async def sync(self) -> None:
        """Have all parties of a replica triple catch up."""
        for party in self.links:
            assert await self.ask(party, Kind.SYNC) == b"{}"

    async def status(self, party: int) -> PartyStatus:
        return PartyStatus.parse(await self.ask(party, Kind.STATUS))

    async def models(self, party: int = 0) -> ModelList:
        return ModelList.parse(await self.ask(party, Kind.MODELS))

    async def key(self, party: int) -> PartyKey:
        signed = Signed.parse(await self.ask(party, Kind.KEYS))
        return verify_document(
            self.parties.deployment.parties[party].signing_keys, PartyKey, signed
        )

    # ---- as the owner

    def make_push(
        self,
        plan: Plan,
        weights: dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64]]],
        keys: Sequence[PartyKey],
        name: str = "mnist",
        /,
        **fields: object,
    ) -> tuple[PushHeader, list[bytes], str]:
        shares = share_weights(plan, weights, secrets.token_bytes(32), secrets.token_bytes(32))
        now = int(self.parties.clock.now() * 1000)
        manifest = Manifest.model_validate(
            {
                "deployment": self.parties.deployment.id.hex(),
                "name": name,
                "plan": plan.to_json().decode(),
                "share_hashes": tuple(sha256(shares[p]).hex() for p in range(3)),
                "owner": self.parties.owner.public.hex(),
                "input_range": (-8.0, 8.0),
                "range_status": "proven",
                "serve": True,
                "issued_ms": now,
                "expires_ms": now + 60_000,
                **fields,
            }
        )
        signed = self.parties.owner.sign_document(manifest)
        model = model_digest(signed.document).hex()
        header = PushHeader(
            model=model,
            number=secrets.token_hex(16),
            expires_ms=now + 60_000,
            key_ids=(keys[0].key_id, keys[1].key_id, keys[2].key_id),
        )
        envelopes = [
            seal(
                bytes.fromhex(keys[p].public_key),
                push_info(self.parties.deployment.id, header, p),
                PushPlaintext(signed, shares[p]).encode(),
            )
            for p in range(3)
        ]
        return header, envelopes, model

    async def push(
        self,
        plan: Plan,
        weights: dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64]]],
        name: str = "mnist",
        **fields: object,
    ) -> str:
        keys = [await self.key(p) for p in range(3)]
        header, envelopes, model = self.make_push(plan, weights, keys, name, **fields)
        receipts = [await self.prepare(p, header, envelopes[p]) for p in range(3)]
        for party in range(3):
            await self.commit(party, model, receipts)
        return model

    async def prepare(self, party: int, header: PushHeader, envelope: bytes) -> Signed:
        return Signed.parse(await self.ask(party, Kind.PREPARE, *join(header.encode(), envelope)))

    async def commit(self, party: int, model: str, receipts: Sequence[Signed]) -> None:
        body = Commit(model=model, receipts=tuple(receipts)).encode()
        await self.ask(party, Kind.COMMIT, body)

    def make_command(
        self, model: str, action: str, num_requests: int | None = None, name: str = "mnist"
    ) -> Signed:
        now = next(self._issued)
        return self.parties.owner.sign_document(
            Command.model_validate(
                {
                    "deployment": self.parties.deployment.id.hex(),
                    "name": name,
                    "model": model,
                    "action": action,
                    "num_requests": num_requests,
                    "command_id": secrets.token_hex(16),
                    "issued_ms": now,
                    "expires_ms": now + 60_000,
                }
            )
        )

    async def command(
        self, model: str, action: str, num_requests: int | None = None, name: str = "mnist"
    ) -> None:
        signed = self.make_command(model, action, num_requests, name).encode()
        for party in self.links:
            await self.ask(party, Kind.COMMAND, signed)

    # ---- as the client

    async def describe(self, name: str = "mnist") -> Descriptor:
        signed = []
        for party in (0, 1):
            state = next(m for m in (await self.models(party)).models if m.name == name)
            assert state.descriptor is not None
            signed.append(state.descriptor)
        deployment = self.parties.deployment
        keys = [p.signing_keys for p in deployment.parties[:2]]
        return verify_descriptor(keys, signed, deployment.id, name)

    async def seal_query(
        self,
        x: NDArray[np.float64],
        name: str = "mnist",
        header: QueryHeader | None = None,
        outputs: tuple[str, str] = ("logits", "logits"),
    ) -> SealedQuery:
        descriptor = await self.describe(name)
        keys = [await self.key(p) for p in (0, 1)]
        shares = split(encode(x))
        reply = X25519PrivateKey.generate()
        header = header or QueryHeader(
            model=descriptor.model,
            number=secrets.token_hex(16),
            expires_ms=int(self.parties.clock.now() * 1000) + 60_000,
            shape=tuple(x.shape),
            key_ids=(keys[0].key_id, keys[1].key_id),
        )
        tag = secrets.token_bytes(16)
        envelopes = []
        for party in (0, 1):
            plain = QueryPlaintext(
                tag,
                reply.public_key().public_bytes_raw(),
                ShareKind.PACKED,
                bytes(pack(shares[party].values)),
                outputs[party],
            )
            info = query_info(self.parties.deployment.id, header, party)
            key = bytes.fromhex(keys[party].public_key)
            envelopes.append(seal(key, info, plain.encode()))
        return SealedQuery(header, envelopes, reply, descriptor, parse(outputs[0]))

    async def send(
        self, queries: Sequence[SealedQuery], timeout_ms: int = 10_000
    ) -> list[list[asyncio.Future[bytes]]]:
        """Send a batch; the two parties' replies to each query."""
        futures: list[list[asyncio.Future[bytes]]] = [[] for _ in queries]
        for party in (0, 1):
            request = next(self._numbers)
            for query, mine in zip(queries, futures, strict=True):
                mine.append(self._expect(party, request, query.header.number))
            batch = Batch(
                model=queries[0].header.model,
                timeout_ms=timeout_ms,
                entries=tuple(
                    BatchEntry(header=q.header, size=len(q.envelopes[party])) for q in queries
                ),
            )
            data = [q.envelopes[party] for q in queries]
            await self.links[party].send(Kind.BATCH, request, 0, *join(batch.encode(), *data))
        return futures

    async def query(
        self, x: NDArray[np.float64], name: str = "mnist", output: str = "logits"
    ) -> Answer:
        query = await self.seal_query(x, name, outputs=(output, output))
        (futures,) = await self.send([query])
        replies = await asyncio.gather(*futures, return_exceptions=True)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return query.open([r for r in replies if isinstance(r, bytes)], self.parties.deployment)


@dataclass
class SealedQuery:
    header: QueryHeader
    envelopes: list[bytes]
    reply_key: X25519PrivateKey
    descriptor: Descriptor
    kind: OutputKind

    def open(self, replies: Sequence[bytes], deployment: Deployment) -> Answer:
        shape = (self.header.batch, *answer_shape(self.kind, self.descriptor.output_shape))
        count = int(np.prod(shape))
        halves = []
        digests = set()
        for party, reply in enumerate(replies):
            info = reply_info(deployment.id, self.header.model, party, self.header.number)
            plain = ReplyPlaintext.parse(open_sealed(self.reply_key, info, reply), count)
            digests.add(plain.run_digest)
            halves.append(unpack(plain.share, count))
        assert len(digests) == 1
        return combine(self.kind, halves[0].reshape(shape), halves[1].reshape(shape))


def perceptron(
    inputs: int = 12, hidden: int = 7, outputs: int = 3, seed: int = 1
) -> tuple[Plan, dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64]]]]:
    """A small network with random weights."""
    rng = np.random.default_rng(seed)
    plan = Plan(
        steps=(
            InputStep(shape=(inputs,)),
            DenseStep(source=0, inputs=inputs, outputs=hidden),
            ReluStep(source=1, shape=(hidden,)),
            DenseStep(source=2, inputs=hidden, outputs=outputs),
            OutputStep(source=3, shape=(outputs,)),
        )
    )
    weights = {
        1: (encode(rng.normal(size=(inputs, hidden))), encode(rng.normal(size=hidden), 32)),
        3: (encode(rng.normal(size=(hidden, outputs))), encode(rng.normal(size=outputs), 32)),
    }
    return plan, weights


def expected(
    plan: Plan,
    weights: dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64]]],
    x: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What the perceptron must answer, in plain Python integers."""

    def signed(values: NDArray[np.uint64]) -> NDArray[np.int64]:
        return ((values << np.uint64(16)).astype(np.int64)) >> 16

    (w1, b1), (w2, b2) = weights[1], weights[3]
    hidden = signed(encode(x)) @ signed(w1) + signed(b1)
    hidden = np.maximum(hidden >> 16, 0)
    return (hidden @ signed(w2) + signed(b2)).astype(np.float64) / 2.0**32
