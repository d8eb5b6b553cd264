"""A party's links to the two others, and the epoch that follows from them.

The lower index opens a link and opens it again, with growing pauses, whenever it is down. Every
new link is a new handshake, so it ends the epoch; the next one begins when all three agree.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial

from libmpc.clock import Clock
from libmpc.errors import LibmpcError
from libmpc.link import (
    ByteStream,
    Link,
    LinkError,
    LinkSettings,
    LinkTotals,
    LocalIdentity,
    Message,
    RemoteIdentity,
)
from libmpc.link import connect as open_link
from libmpc.party.epoch import PARTIES, EpochReport, EpochTracker
from libmpc.party.messages import Kind
from libmpc.wire.errors import WireError

log = logging.getLogger(__name__)

#: messages of an epoch that a peer may send before we have heard that it has begun
MAX_EARLY = 4096
MAX_PAUSE = 2.0


class PeerLinks:
    """Two links, one epoch.

    Args:
        local: this party.
        peers: the other two.
        open_stream: opens a byte stream to a peer of higher index.
        clock, settings: for the links.
        begin: called when an epoch begins, with its hash and the links.
        end: called when it ends.
        receive: called with every message of the epoch.
        traffic: counts what goes over the links.
        greet: makes the first message on a new link.
        greeted: called with a peer's, and whether it is the first on its link.
    """

    def __init__(
        self,
        local: LocalIdentity,
        peers: Mapping[int, RemoteIdentity],
        open_stream: Callable[[int], Awaitable[ByteStream]],
        *,
        clock: Clock,
        settings: LinkSettings,
        begin: Callable[[bytes, Mapping[int, Link]], None],
        end: Callable[[], None],
        receive: Callable[[int, Message], None],
        greet: Callable[[Link], bytes],
        greeted: Callable[[int, bytes, bool], None],
        traffic: LinkTotals,
    ) -> None:
        self._traffic = traffic
        self.links: dict[int, Link] = {}
        self.epochs = 0
        self._local = local
        self._peers = peers
        self._open_stream = open_stream
        self._clock = clock
        self._settings = settings
        self._begin = begin
        self._end = end
        self._receive = receive
        self._greet = greet
        self._greeted = greeted
        self._tracker = EpochTracker(local.index)
        self._epoch: bytes | None = None
        self._told: EpochReport | None = None
        self._met: set[int] = set()  # peers whose first greeting on their link has come
        self._early: list[tuple[int, Message]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def epoch(self) -> bytes | None:
        return self._epoch

    @property
    def missing(self) -> list[int]:
        """Peers without a link."""
        return [p for p in PARTIES if p != self._local.index and p not in self.links]

    def start(self) -> None:
        """Begin to open links to the parties of higher index."""
        for peer in self._peers:
            if peer > self._local.index:
                self._spawn(self._dial(peer))

    async def close(self) -> None:
        """End both links and the epoch."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        links = list(self.links.values())
        self.links.clear()
        self._stop_epoch()
        await asyncio.gather(*(link.close() for link in links))

    async def _dial(self, peer: int) -> None:
        pause, told = 0.05, ""
        while True:
            try:
                stream = await self._open_stream(peer)
                link = await open_link(
                    stream,
                    self._local,
                    self._peers[peer],
                    clock=self._clock,
                    settings=self._settings,
                )
            except LibmpcError as error:
                reason = str(getattr(error, "reason", error))
                if reason != told:
                    log.info("party %d is not reached yet: %s", peer, reason)
                told = reason
            else:
                self.adopt(link)
                pause, told = 0.05, ""
                await link.wait_closed()
            await self._clock.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, MAX_PAUSE)

    def renew(self, local: LocalIdentity, peers: Mapping[int, RemoteIdentity]) -> None:
        """Use other keys for new links; links that were made with keys of no use any more end."""
        rekeyed = local.public_key != self._local.public_key
        self._local, self._peers = local, peers
        for link in list(self.links.values()):
            if rekeyed or link.peer_key not in peers[link.peer].keys:
                self._spawn(link.close())

    def greet(self, *peers: int) -> None:
        """Send the greeting again, to all or to some: what it says has changed."""
        for peer, link in self.links.items():
            if link.alive and (not peers or peer in peers):
                link.post(Kind.CATALOG, 0, 0, self._greet(link))

    def adopt(self, link: Link) -> None:
        """Take over a link whose handshake has just finished."""
        old = self.links.get(link.peer)
        # The other keys: those that counted when the handshake began.
        if self._closing or link.peer_key not in self._peers[link.peer].keys:
            self._spawn(link.close())
            return
        self.links[link.peer] = link
        self._met.discard(link.peer)
        self._traffic.add(link)
        if old is not None:
            self._spawn(old.close())  # the peer has lost it, or it would not have come back
        self._tracker.link_up(link.peer, link.transcript)
        link.start(partial(self._take, link), on_end=partial(self._ended, link))
        self._told = None
        self._changed()
        link.post(Kind.CATALOG, 0, 0, self._greet(link))
        log.info("party %d is connected", link.peer)

    def _ended(self, link: Link) -> None:
        if self.links.get(link.peer) is link:
            del self.links[link.peer]
            self._tracker.link_down(link.peer)
            log.warning("party %d is disconnected", link.peer)
            self._changed()

    def _take(self, link: Link, message: Message) -> None:
        if self.links.get(link.peer) is not link:
            return
        if message.kind == Kind.EPOCH:
            # SECURITY: what the peer sent before this report belongs to an epoch that it has
            # left; bundle numbers begin anew in each, so it must not count in the next.
            self._early = [early for early in self._early if early[0] != link.peer]
            self._tracker.hear(link.peer, EpochReport.parse(message.payload))
            self._changed()
        elif message.kind == Kind.CATALOG:
            self._greeted(link.peer, bytes(message.payload), link.peer not in self._met)
            self._met.add(link.peer)
        elif self._epoch is not None:
            self._receive(link.peer, message)
        elif len(self._early) < MAX_EARLY:
            # The peer has heard from all and we have not yet; replayed when the epoch begins.
            self._early.append((link.peer, message))
        else:
            raise WireError("too many messages before the epoch")

    def _changed(self) -> None:
        self._tell()
        epoch = self._tracker.epoch
        if epoch == self._epoch:
            return
        self._stop_epoch()
        if epoch is None:
            return
        early, self._early = self._early, []
        try:
            self._begin(epoch, dict(self.links))
        except LinkError:
            return  # a link has died this moment, and with it the epoch
        log.info("epoch %s begins", epoch.hex()[:12])
        self._epoch = epoch
        self.epochs += 1
        for peer, message in early:
            try:
                self._receive(peer, message)
            except LibmpcError as error:
                log.warning("party %d: %s", peer, error)
                self._spawn(self.links[peer].close())

    def _stop_epoch(self) -> None:
        if self._epoch is not None:
            log.warning(
                "epoch %s has ended: every bundle and run is dropped", self._epoch.hex()[:12]
            )
            self._epoch = None
            self._end()

    def _tell(self) -> None:
        report = self._tracker.report()
        if report == self._told:
            return
        self._told = report
        for link in self.links.values():
            if link.alive:
                link.post(Kind.EPOCH, 0, 0, report.encode())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
