"""A party: links to its peers, gateways to serve, models to keep, and a role in every epoch."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from libmpc.audit import AuditLog
from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.errors import UnavailableError
from libmpc.identity.keys import PartyIdentity
from libmpc.link import ByteStream, Link, LinkSettings, LinkTotals, LocalIdentity, Message
from libmpc.party import sync
from libmpc.party.alarm import Alarm
from libmpc.party.answers import Answers
from libmpc.party.auditor import Auditor
from libmpc.party.budget import MessageBudget
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.door import Door
from libmpc.party.entry import Entry
from libmpc.party.gateways import GatewayPort
from libmpc.party.members import Members
from libmpc.party.meters import Meters
from libmpc.party.mirror import Mirror
from libmpc.party.peers import PeerLinks
from libmpc.party.pool import PoolKey
from libmpc.party.primary import Primary
from libmpc.party.queries import Query
from libmpc.party.replica import Replica
from libmpc.party.roles import Role, make_role
from libmpc.party.settings import RoleSettings
from libmpc.party.store import Record, Store
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.tracing import Tracing
from libmpc.wire.envelope import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

TIDY_SECONDS = 20.0
ABSORB_AGAIN_SECONDS = 1.0
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
        gateway_bytes: what long messages of all gateways' links may take together.
    """

    link: LinkSettings = LinkSettings(max_message=MAX_MESSAGE_BYTES)
    role: RoleSettings = RoleSettings()
    workers: int = 1
    gateway_bytes: int = 3 << 29


class PartyNode:
    """One compute party. Network, clock and storage are passed in.

    Args:
        index: 0, 1 or 2.
        deployment: who belongs together; checked against ``identity``.
        identity: this party's long-term keys.
        store: this party's durable state.
        clock: time.
        open_stream: opens a byte stream to the party of that index, in this triple; to its own
            index in triple 0.
        settings: bounds.
        audit: where queries and commands are recorded, if anywhere.
        alarm: where a failed audit is recorded; ``None``: in memory only.
        triple: which of the party's processes this is; from 1 on it mirrors the one of triple 0.
        tracing: makes spans of queries; an evaluator's only.

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
        audit: AuditLog | None = None,
        alarm: Path | None = None,
        triple: int = 0,
        tracing: Tracing | None = None,
    ) -> None:
        deployment.check_party(index, identity.static_public, identity.signing.public)
        self.index = index
        self.triple = triple
        self.settings = settings or NodeSettings()
        self._role_settings = replace(self.settings.role, limited=triple == 0)
        self.meters = Meters()
        longest = min(self.settings.link.max_message, self.settings.gateway_bytes)
        self.budget = MessageBudget(self.settings.gateway_bytes, longest)
        self.alarm = Alarm(alarm, clock)
        self.catalog = Catalog(index, deployment, store, identity.signing, clock)
        self.auditor = Auditor(audit, self.catalog, clock)
        self._members = Members(index, deployment, triple)
        self._clock = clock
        self._store = store
        self._lock = asyncio.Lock()
        self._keys = HpkeKeys(identity.signing, deployment.id, index, clock)
        # Evaluators prepare at full priority: a thread that waits for the processor may hold the
        # interpreter's lock, which the queries of the same process need.
        first = give_way if index == 2 else None
        self._executor: Executor = ThreadPoolExecutor(self.settings.workers, "libmpc-deal", first)
        self._tasks: set[asyncio.Task[None]] = set()
        self._role: Role | None = None
        self._heard: dict[int, sync.CatalogReport] = {}  # each peer's last report
        self._told: dict[str, int] = {}  # counts of models with a limit, as the dealer has them
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
            replica=triple > 0,
            tracing=tracing,
        )
        self.traffic = LinkTotals()
        local = LocalIdentity(index, identity.static, deployment.id, triple=triple)
        self.primary = Primary(self.catalog, store, self._handed_over)
        self.replica: Replica | None = None
        self._mirroring: asyncio.Task[None] | None = None
        if triple > 0:
            self.replica = Replica(
                local,
                self._members.primary(),
                lambda: open_stream(index),
                Mirror(self.catalog, self._lock, self._mirrored),
                clock=clock,
                settings=self.settings.link,
                traffic=self.traffic,
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
            catch_up=self.replica.sync if self.replica is not None else None,
        )
        self.peers = PeerLinks(
            local,
            self._members.peers(),
            open_stream,
            clock=clock,
            settings=self.settings.link,
            begin=self._begin,
            end=self._end,
            receive=self._receive,
            greet=lambda link: sync.report(self.catalog, link.version[1]),
            greeted=self._greeted,
            traffic=self.traffic,
        )
        self._door = Door(
            local,
            self._members,
            clock=clock,
            settings=self.settings.link,
            serve=self._serve,
            adopt=self.peers.adopt,
            mirror=self.primary.serve,
            traffic=self.traffic,
        )

    # ---- life

    def start(self) -> None:
        """Begin to look for the peers."""
        self.auditor.started()
        self.peers.start()
        if self.replica is not None:
            self._mirroring = asyncio.ensure_future(self.replica.run())
        self._spawn(self._tidy())

    async def close(self) -> None:
        """End every link and run; what is durable stays."""
        for task in list(self._tasks):
            task.cancel()
        if self._mirroring is not None:
            self._mirroring.cancel()
            await asyncio.wait([self._mirroring])
        await asyncio.gather(
            self.peers.close(),
            *(link.close() for link in [*self._door.gateways, *self.primary.links.values()]),
        )
        await self.desk.close()
        await self.auditor.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def check_renewal(self, deployment: Deployment, identity: PartyIdentity) -> None:
        """Raise what ``renew`` would raise."""
        self._members.check(deployment, identity)

    async def renew(self, deployment: Deployment, identity: PartyIdentity) -> None:
        """Go on with another deployment file, with other keys of this party, or with both.

        Links whose keys do not count any more end, and are made anew with the new ones; with them
        the epoch ends, as at any new handshake, so queries under way have to be asked again.

        Raises:
            ConfigError: the file is another deployment's, or has other keys for this party;
                nothing has changed.
        """
        self.check_renewal(deployment, identity)
        async with self._lock:
            self._members.replace(deployment)
            self._keys.sign_with(identity.signing)
            self.catalog.renew(deployment, identity.signing)
        local = LocalIdentity(self.index, identity.static, deployment.id, triple=self.triple)
        self.auditor.note("settings", f"static key {identity.static_public.hex()}")
        self.peers.renew(local, self._members.peers())
        if self.replica is not None:
            self.replica.renew(local, self._members.primary())
        for link in self._door.renew(local, self.primary.links.values()):
            self._spawn(link.close())

    async def accept(self, stream: ByteStream) -> None:
        """Serve whoever has opened ``stream``, a peer or a gateway, until it ends."""
        await self._door.accept(stream)

    async def _serve(self, link: Link) -> None:
        await GatewayPort(link, self.answers, self.meters, self.auditor, self.budget).run()

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            self._keys.tidy()
            self._tell_counts()
            if self.peers.epoch is not None:
                async with self._lock:
                    await asyncio.to_thread(self.catalog.discard_expired)

    def _tell_counts(self) -> None:
        """The dealer counts nothing; it remembers, for evaluators that lose their counts."""
        counts = {m: r.served for m, r in self.catalog.stored().items() if r.num_requests}
        if self.index != 2 and counts != self._told:
            self._told = counts
            self.peers.greet(2)

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
            settings=self._role_settings,
            meters=self.meters,
            alarm=self._audit_failed,
        )
        self._role.start()

    def _audit_failed(self, what: str) -> None:
        """Stop until an operator acts: the epoch ends, and no other brings queries."""
        self.alarm.raise_(self.peers.epoch.hex() if self.peers.epoch else "", what)
        self.auditor.note("dealer", what)
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

    def _greeted(self, peer: int, payload: bytes, first: bool) -> None:
        heard = sync.CatalogReport.parse(payload)
        # While queries run the evaluators are a few apart; the dealer only remembers.
        counts = first or self.index == 2

        async def absorb() -> None:
            async with self._lock:
                before = self.catalog.entries
                if await asyncio.to_thread(sync.absorb, self.catalog, heard, counts):
                    log.info("party %d told of changes; taken over", peer)
                    await self.auditor.absorbed(peer, before)
                    self.primary.changed()
            self._models_changed()

        async def until_absorbed() -> None:
            while self._heard[peer] is heard:  # else it has told of something newer
                try:
                    await absorb()
                    break
                except UnavailableError as error:  # a full disk; nobody would tell us again
                    log.warning("what party %d told of is not taken over yet: %s", peer, error)
                    await self._clock.sleep(ABSORB_AGAIN_SECONDS)

        self._heard[peer] = heard
        self._spawn(until_absorbed())

    def _query_failed(self, number: str) -> None:
        if self._role is not None:
            self._role.dismiss(number)

    async def _mirrored(self, before: Mapping[str, Entry]) -> None:
        if self.catalog.entries is not before:
            await self.auditor.absorbed(self.index, before)
            self._changed()

    def _handed_over(self, record: Record, triple: int) -> None:
        log.info("the share of %r goes to triple %d", record.name, triple)
        self.auditor.handed_over(record, triple)

    def _changed(self) -> None:
        self.primary.changed()
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
    def pool_targets(self) -> Mapping[PoolKey, int]:
        """Bundles that are to be kept ready, at party 0."""
        return self._role.targets if self._role is not None else {}

    @property
    def storage_errors(self) -> int:
        """How often the disk has refused to read or to store something."""
        return self._store.refusals + self.auditor.refusals

    @property
    def key_age(self) -> float:
        """Seconds since the envelope key that is announced was made."""
        return self._keys.age

    @property
    def gateways(self) -> int:
        """Links to gateways."""
        return len(self._door.gateways)

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
        if self._role is None or self.index == 2:
            return None
        # SECURITY: not before it knows what was stopped or deleted while it was down.
        return None if self.replica is not None and self.replica.reason else self._role.submit

    @property
    def reason(self) -> str:
        """Why this party is not ready; empty when it is."""
        if self.alarm:
            return f"party {self.index} has stopped: {self.alarm.reason}"
        missing = self.peers.missing
        if missing:
            return f"party {self.index} has no link to party " + " and ".join(map(str, missing))
        if not self.peers.epoch:
            return "the parties are agreeing on a new epoch"
        return self.replica.reason if self.replica is not None else ""

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
