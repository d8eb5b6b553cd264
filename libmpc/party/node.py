"""A party: links to its peers, gateways to serve, models to keep, and a role in every epoch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from libmpc._version import __version__
from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.errors import IntegrityError, LibmpcError, UnavailableError
from libmpc.identity.keys import PartyIdentity
from libmpc.link import (
    GATEWAY,
    ByteStream,
    Hello,
    Link,
    LinkSettings,
    LocalIdentity,
    Message,
    RemoteIdentity,
    accept,
)
from libmpc.party import sync
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.gateways import GatewayPort
from libmpc.party.messages import Batch, Commit, ModelList, ModelState, PartyStatus
from libmpc.party.peers import PeerLinks
from libmpc.party.pool import PoolKey
from libmpc.party.roles import Role, RoleSettings, make_role
from libmpc.party.store import Store
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire.envelope import PushPlaintext
from libmpc.wire.headers import PushHeader, QueryHeader, push_info
from libmpc.wire.lifetime import check_expiry
from libmpc.wire.manifest import model_digest
from libmpc.wire.signed import Signed

log = logging.getLogger(__name__)

MAX_PUSH_LIFE_MS = 3_600_000
TIDY_SECONDS = 20.0


@dataclass(frozen=True)
class NodeSettings:
    """Bounds of a party.

    Attributes:
        link: of links to peers and gateways; a push is one message.
        role: of the party's part in runs.
        workers: threads for dealing and preparing.
    """

    link: LinkSettings = LinkSettings(max_message=1 << 30)
    role: RoleSettings = RoleSettings()
    workers: int = 1


class PartyNode:
    """One compute party. Network, clock and storage are passed in.

    Args:
        index: 0, 1 or 2.
        deployment: who belongs together; checked against ``identity``.
        identity: this party's long-term keys.
        store: this party's durable state.
        clock: time.
        open_stream: opens a byte stream to the party of that index.
        settings: bounds.

    Raises:
        ConfigError: the deployment file means other keys, or the store cannot be read.
    """

    def __init__(
        self,
        index: int,
        deployment: Deployment,
        identity: PartyIdentity,
        store: Store,
        clock: Clock,
        open_stream: Callable[[int], Awaitable[ByteStream]],
        settings: NodeSettings | None = None,
    ) -> None:
        deployment.check_party(index, identity.static_public, identity.signing.public)
        self.index = index
        self.settings = settings or NodeSettings()
        self.catalog = Catalog(index, deployment, store, identity.signing, clock)
        self._deployment = deployment
        self._clock = clock
        self._lock = asyncio.Lock()
        self._local = LocalIdentity(index, identity.static, deployment.id)
        self._keys = HpkeKeys(identity.signing, deployment.id, index, clock)
        self._executor: Executor = ThreadPoolExecutor(self.settings.workers, "libmpc-deal")
        self._tasks: set[asyncio.Task[None]] = set()
        self._ports: set[Link] = set()
        self._role: Role | None = None
        self.desk = QueryDesk(
            index,
            deployment.id,
            self.catalog,
            store,
            self._keys,
            clock,
            self._lock,
            self._query_failed,
        )
        self.peers = PeerLinks(
            self._local,
            {
                p.index: RemoteIdentity(p.index, p.static_key)
                for p in deployment.parties
                if p.index != index
            },
            open_stream,
            clock=clock,
            settings=self.settings.link,
            begin=self._begin,
            end=self._end,
            receive=self._receive,
            greet=lambda: sync.report(self.catalog).encode(),
            greeted=self._greeted,
        )

    # ---- life

    def start(self) -> None:
        """Begin to look for the peers."""
        self.peers.start()
        self._spawn(self._tidy())

    async def close(self) -> None:
        """End every link and run; what is durable stays."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(self.peers.close(), *(link.close() for link in list(self._ports)))
        await self.desk.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def accept(self, stream: ByteStream) -> None:
        """Serve whoever has opened ``stream``, a peer or a gateway, until it ends."""
        try:
            link = await accept(
                stream,
                self._local,
                self._lookup,
                clock=self._clock,
                settings=self.settings.link,
            )
        except LibmpcError as error:
            log.warning("a connection was refused: %s", getattr(error, "reason", error))
            return
        if link.peer == GATEWAY:
            self._ports.add(link)
            try:
                await GatewayPort(link, self).run()
            finally:
                self._ports.discard(link)
        else:
            self.peers.adopt(link)
            await link.wait_closed()

    def _lookup(self, hello: Hello) -> RemoteIdentity | None:
        # SECURITY: only keys that the deployment pins, each in its own place.
        if hello.index == GATEWAY:
            known = {g.static_key for g in self._deployment.gateways}
        else:
            known = {p.static_key for p in self._deployment.parties if p.index == hello.index}
        if hello.public_key not in known:
            return None
        return RemoteIdentity(hello.index, hello.public_key)

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            self._keys.tidy()
            if self.peers.epoch is not None:
                async with self._lock:
                    await asyncio.to_thread(self.catalog.discard_expired)

    # ---- epochs

    def _begin(self, epoch: bytes, links: Mapping[int, Link]) -> None:
        self._role = make_role(
            self.index,
            epoch,
            links,
            catalog=self.catalog,
            desk=self.desk,
            executor=self._executor,
            settings=self.settings.role,
        )
        self._role.start()

    def _end(self) -> None:
        if self._role is not None:
            self._role.close()
            self._role = None
            self.desk.end_epoch()

    def _receive(self, peer: int, message: Message) -> None:
        if self._role is not None:
            self._role.receive(peer, message)

    def _greeted(self, peer: int, payload: bytes) -> None:
        heard = sync.CatalogReport.parse(payload)

        async def absorb() -> None:
            async with self._lock:
                if await asyncio.to_thread(sync.absorb, self.catalog, heard):
                    log.info("party %d told of changes; taken over", peer)
            self._models_changed()

        self._spawn(absorb())

    def _query_failed(self, number: str) -> None:
        if self._role is not None:
            self._role.dismiss(number)

    def _models_changed(self) -> None:
        if self._role is not None:
            self._role.models_changed()

    @property
    def pool_levels(self) -> Mapping[PoolKey, int]:
        """Bundles that are ready, by model and batch size."""
        return self._role.levels if self._role is not None else {}

    # ---- what gateways ask for (see gateways.py)

    @property
    def reason(self) -> str:
        """Why this party is not ready; empty when it is."""
        missing = self.peers.missing
        if missing:
            return f"party {self.index} has no link to party " + " and ".join(map(str, missing))
        return "" if self.peers.epoch else "the parties are agreeing on a new epoch"

    def status(self) -> PartyStatus:
        epoch = self.peers.epoch
        return PartyStatus(
            party=self.index,
            version=__version__,
            ready=epoch is not None,
            reason=self.reason,
            epoch=epoch.hex() if epoch else None,
            models=len(self.catalog.entries),
        )

    def key(self) -> Signed:
        return self._keys.current()

    def models(self) -> ModelList:
        return ModelList(
            models=tuple(
                ModelState(
                    name=entry.record.name,
                    model=model,
                    state="serving" if entry.record.serving else "stopped",
                    num_requests=entry.record.num_requests,
                    served=entry.record.served,
                    plan_digest=entry.plan.digest.hex(),
                    descriptor=entry.descriptor,
                )
                for model, entry in sorted(
                    self.catalog.entries.items(), key=lambda item: item[1].record.name
                )
            )
        )

    async def prepare(self, header: PushHeader, envelope: memoryview) -> Signed:
        check_expiry("push", header.expires_ms, self._clock.now(), MAX_PUSH_LIFE_MS)
        info = push_info(self._deployment.id, header, self.index)
        key_id = header.key_ids[self.index]

        def work() -> Signed:
            push = PushPlaintext.parse(self._keys.open(key_id, info, envelope))
            if model_digest(push.manifest.document).hex() != header.model:
                raise IntegrityError("the push holds another model than it says", status=422)
            return self.catalog.prepare(push.manifest, memoryview(push.share))

        async with self._lock:
            return await asyncio.to_thread(work)

    async def commit(self, commit: Commit) -> None:
        async with self._lock:
            await asyncio.to_thread(self.catalog.commit, commit.model, commit.receipts)
        self._models_changed()

    async def command(self, signed: Signed) -> None:
        async with self._lock:
            await asyncio.to_thread(self.catalog.command, signed)
        self._models_changed()

    def query_batch(
        self, batch: Batch, envelopes: list[memoryview]
    ) -> list[tuple[QueryHeader, Awaitable[bytes]]]:
        if self._role is None or self.index == 2:
            error = UnavailableError(self.reason or "not an evaluator", status=503, retry_after=1)
            return [(entry.header, _raise(error)) for entry in batch.entries]
        return self.desk.take(batch, envelopes, self._role.submit)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _raise(error: LibmpcError) -> bytes:
    raise error
