"""A party: links to its peers, gateways to serve, models to keep, and a role in every epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path

from libmpc.audit import AuditLog
from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.identity.keys import PartyIdentity
from libmpc.link import ByteStream, Link, LinkTotals, LocalIdentity
from libmpc.party.alarm import Alarm
from libmpc.party.answers import Answers
from libmpc.party.auditor import Auditor
from libmpc.party.budget import MessageBudget
from libmpc.party.catalog import Catalog
from libmpc.party.condition import Condition
from libmpc.party.current_role import CurrentRole
from libmpc.party.desk import QueryDesk
from libmpc.party.door import Door
from libmpc.party.gateways import GatewayPort
from libmpc.party.greetings import Greetings
from libmpc.party.members import Members
from libmpc.party.meters import Meters
from libmpc.party.node_settings import NodeSettings
from libmpc.party.peers import PeerLinks
from libmpc.party.siblings import Siblings
from libmpc.party.store import Store
from libmpc.party.workers import make_executor
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.tracing import Tracing

TIDY_SECONDS = 20.0


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
        self.meters = Meters()
        longest = min(self.settings.link.max_message, self.settings.gateway_bytes)
        self.budget = MessageBudget(self.settings.gateway_bytes, longest)
        self.alarm = Alarm(alarm, clock)
        self.catalog = Catalog(index, deployment, store, identity.signing, clock)
        self.auditor = Auditor(audit, self.catalog, clock)
        self._members = Members(index, deployment, triple)
        self._clock = clock
        self.store = store
        self._lock = asyncio.Lock()
        self._keys = HpkeKeys(identity.signing, deployment.id, index, clock)
        self._executor = make_executor(index, self.settings.workers)
        self._tasks: set[asyncio.Task[None]] = set()
        self.desk = QueryDesk(
            index,
            deployment.id,
            self.catalog,
            store,
            self._keys,
            clock,
            self._lock,
            lambda number: self.role.dismiss(number),
            self.meters,
            replica=triple > 0,
            tracing=tracing,
        )
        self.role = CurrentRole(
            index,
            catalog=self.catalog,
            desk=self.desk,
            executor=self._executor,
            settings=replace(self.settings.role, limited=triple == 0),
            meters=self.meters,
            alarm=self._audit_failed,
        )
        self.traffic = LinkTotals()
        local = LocalIdentity(index, identity.static, deployment.id, triple=triple)
        self.siblings = Siblings(
            local,
            self._members,
            self.catalog,
            store,
            self._lock,
            auditor=self.auditor,
            open_stream=lambda: open_stream(index),
            clock=clock,
            settings=self.settings.link,
            traffic=self.traffic,
            changed=self._changed,
        )
        replica = self.siblings.replica
        self._greetings = Greetings(
            index,
            self.catalog,
            self._lock,
            clock=clock,
            auditor=self.auditor,
            primary=self.siblings.primary,
            greet=lambda peer: self.peers.greet(peer),
            changed=self._models_changed,
            spawn=self._spawn,
        )
        self.peers = PeerLinks(
            local,
            self._members.peers(),
            open_stream,
            clock=clock,
            settings=self.settings.link,
            begin=self._begin,
            end=self.role.end,
            receive=self.role.receive,
            greet=self._greetings.make,
            greeted=self._greetings.hear,
            traffic=self.traffic,
        )
        self.condition = Condition(
            index, alarm=self.alarm, peers=self.peers, role=self.role, replica=replica
        )
        self.answers = Answers(
            index,
            deployment.id,
            catalog=self.catalog,
            desk=self.desk,
            keys=self._keys,
            clock=clock,
            lock=self._lock,
            condition=self.condition,
            changed=self._changed,
            catch_up=replica.sync if replica is not None else None,
        )
        self.door = Door(
            local,
            self._members,
            clock=clock,
            settings=self.settings.link,
            serve=self._serve,
            adopt=self.peers.adopt,
            mirror=self.siblings.primary.serve,
            traffic=self.traffic,
        )

    # ---- life

    def start(self) -> None:
        """Begin to look for the peers."""
        self.auditor.started()
        self.peers.start()
        self.siblings.start()
        self._spawn(self._tidy())

    async def close(self) -> None:
        """End every link and run; what is durable stays."""
        for task in list(self._tasks):
            task.cancel()
        await self.siblings.close()
        replicas = self.siblings.primary.links.values()
        await asyncio.gather(
            self.peers.close(),
            *(link.close() for link in [*self.door.gateways, *replicas]),
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
        self.siblings.renew(local)
        for link in self.door.renew(local, self.siblings.primary.links.values()):
            self._spawn(link.close())

    async def accept(self, stream: ByteStream) -> None:
        """Serve whoever has opened ``stream``, a peer or a gateway, until it ends."""
        await self.door.accept(stream)

    async def _serve(self, link: Link) -> None:
        await GatewayPort(link, self.answers, self.meters, self.auditor, self.budget).run()

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(TIDY_SECONDS)
            self._keys.tidy()
            self._greetings.tell_counts()
            if self.peers.epoch is not None:
                async with self._lock:
                    await asyncio.to_thread(self.catalog.discard_expired)

    # ---- epochs

    def _begin(self, epoch: bytes, links: Mapping[int, Link]) -> None:
        if not self.alarm:  # else nothing is asked of the dealer, and no query run
            self.role.begin(epoch, links)

    def _audit_failed(self, what: str) -> None:
        """Stop until an operator acts: the epoch ends, and no other brings queries."""
        self.alarm.raise_(self.peers.epoch.hex() if self.peers.epoch else "", what)
        self.auditor.note("dealer", what)
        for link in list(self.peers.links.values()):
            self._spawn(link.close())

    def _changed(self) -> None:
        self.siblings.primary.changed()
        # A gateway may die before it has told the others.
        self.peers.greet()
        self._models_changed()

    def _models_changed(self) -> None:
        self.meters.forget(self.catalog.entries)
        self.role.models_changed()

    @property
    def key_age(self) -> float:
        """Seconds since the envelope key that is announced was made."""
        return self._keys.age

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
