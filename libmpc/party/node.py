"""A party: links to its peers, gateways to serve, models to keep, and a role in every epoch."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.errors import LibmpcError
from libmpc.identity.keys import PartyIdentity
from libmpc.link import (
    GATEWAY,
    ByteStream,
    Hello,
    Link,
    LinkSettings,
    LinkTotals,
    LocalIdentity,
    Message,
    RemoteIdentity,
    accept,
)
from libmpc.party import sync
from libmpc.party.alarm import Alarm
from libmpc.party.answers import Answers
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.evaluator import RoleSettings
from libmpc.party.gateways import GatewayPort
from libmpc.party.meters import Meters
from libmpc.party.peers import PeerLinks
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.party.roles import Role, make_role
from libmpc.party.store import Store
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire.envelope import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

TIDY_SECONDS = 20.0
NICE = 10


def give_way() -> None:
    """Let whatever else wants the processor go before this thread.

    The dealer serves no query: on a machine of its own it is as fast as ever, beside others it
    uses what they leave, which is everything once they wait for it.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(NICE)


@dataclass(frozen=True)
class NodeSettings:
    """Bounds of a party.

    Attributes:
        link: of links to peers and gateways; a push is one message.
        role: of the party's part in runs.
        workers: threads for dealing and preparing.
    """

    link: LinkSettings = LinkSettings(max_message=MAX_MESSAGE_BYTES)
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
        alarm: where a failed audit is recorded; ``None``: in memory only.

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
        alarm: Path | None = None,
    ) -> None:
        deployment.check_party(index, identity.static_public, identity.signing.public)
        self.index = index
        self.settings = settings or NodeSettings()
        self.meters = Meters()
        self.alarm = Alarm(alarm, clock)
        self.catalog = Catalog(index, deployment, store, identity.signing, clock)
        self._deployment = deployment
        self._clock = clock
        self._lock = asyncio.Lock()
        self._local = LocalIdentity(index, identity.static, deployment.id)
        self._keys = HpkeKeys(identity.signing, deployment.id, index, clock)
        # Evaluators prepare at full priority: a thread that waits for the processor may hold the
        # interpreter's lock, which the queries of the same process need.
        first = give_way if index == 2 else None
        self._executor: Executor = ThreadPoolExecutor(self.settings.workers, "libmpc-deal", first)
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
            self.meters,
        )
        self.answers = Answers(
            index,
            deployment.id,
            catalog=self.catalog,
            desk=self.desk,
            keys=self._keys,
            clock=clock,
            lock=self._lock,
            condition=self,
            changed=self._changed,
        )
        self.traffic = LinkTotals()
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
            traffic=self.traffic,
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
            self.traffic.add(link)
            try:
                await GatewayPort(link, self.answers, self.meters).run()
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
        if self.alarm:
            return  # nothing is asked of the dealer, and no query run
        self._role = make_role(
            self.index,
            epoch,
            links,
            catalog=self.catalog,
            desk=self.desk,
            executor=self._executor,
            settings=self.settings.role,
            meters=self.meters,
            alarm=self._audit_failed,
        )
        self._role.start()

    def _audit_failed(self, what: str) -> None:
        """Stop until an operator acts: the epoch ends, and no other brings queries."""
        self.alarm.raise_(self.peers.epoch.hex() if self.peers.epoch else "", what)
        for link in list(self.peers.links.values()):
            self._spawn(link.close())

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

    def _changed(self) -> None:
        # A gateway may die before it has told the others.
        self.peers.greet()
        self._models_changed()

    def _models_changed(self) -> None:
        self.meters.forget(self.catalog.entries)
        if self._role is not None:
            self._role.models_changed()

    @property
    def pool_levels(self) -> Mapping[PoolKey, int]:
        """Bundles that are ready, by model and batch size."""
        return self._role.levels if self._role is not None else {}

    @property
    def gateways(self) -> int:
        """Links to gateways."""
        return len(self._ports)

    @property
    def streams(self) -> int:
        """Streamed bundles under way."""
        return self._role.streams if self._role is not None else 0

    # ---- its condition, as others see it

    @property
    def epoch(self) -> bytes | None:
        """The epoch in force."""
        return self.peers.epoch

    @property
    def submit(self) -> Callable[[Sequence[Query]], None] | None:
        """Where an evaluator's queries go; ``None`` while there is no epoch, and at party 2."""
        return self._role.submit if self._role is not None and self.index != 2 else None

    @property
    def reason(self) -> str:
        """Why this party is not ready; empty when it is."""
        if self.alarm:
            return f"party {self.index} has stopped: {self.alarm.reason}"
        missing = self.peers.missing
        if missing:
            return f"party {self.index} has no link to party " + " and ".join(map(str, missing))
        return "" if self.peers.epoch else "the parties are agreeing on a new epoch"

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
