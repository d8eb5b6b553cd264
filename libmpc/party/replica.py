"""A party's process of triple 1 or more: follows its own organisation's process of triple 0.

It asks what is in force there, fetches what it lacks, and lets go of what was deleted or replaced;
again whenever it is told of a change, a gateway wants it to be up to date, or the link is new. It
believes the primary where that means less: a model that is stopped, limited, gone. What is to be
computed with must have its owner's signature, the digest that the owner signed, and the mark of
the organisation's storage key (see ``handover``). When the primary is lost, it goes on with what
it has.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from libmpc.clock import Clock
from libmpc.errors import LibmpcError, UnavailableError
from libmpc.failure import describe
from libmpc.link import (
    ByteStream,
    Link,
    LinkError,
    LinkSettings,
    LinkTotals,
    LocalIdentity,
    RemoteIdentity,
)
from libmpc.link import connect as open_link
from libmpc.party.handover import ModelInForce
from libmpc.party.mirror import Mirror
from libmpc.party.primary_link import PrimaryLink

log = logging.getLogger(__name__)

MAX_PAUSE = 2.0


class Replica:
    """Keeps a link to the primary, and the catalog even with it.

    Args:
        local: this process.
        primary: the same party's process of triple 0.
        open_stream: opens a byte stream to it.
        settings: of the link; ``max_message`` bounds a share.
        traffic: counts what goes over the link.
    """

    def __init__(
        self,
        local: LocalIdentity,
        primary: RemoteIdentity,
        open_stream: Callable[[], Awaitable[ByteStream]],
        mirror: Mirror,
        *,
        clock: Clock,
        settings: LinkSettings,
        traffic: LinkTotals,
    ) -> None:
        self._local = local
        self._primary = primary
        self._open_stream = open_stream
        self._mirror = mirror
        self._clock = clock
        self._settings = settings
        self._traffic = traffic
        self._link: PrimaryLink | None = None
        self._wanted = asyncio.Event()
        self._rounds = 0
        self._closing: asyncio.Future[None] | None = None
        self._turn = 0  # how often somebody has wanted this catalog to be up to date
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._uneven_since: float | None = clock.monotonic()
        self._why = "it is not reached yet"
        self._ready = False

    # ---- as others see it

    @property
    def linked(self) -> bool:
        """Whether there is a link to the primary."""
        return self._link is not None

    @property
    def behind(self) -> float:
        """Seconds since it has last known that it holds what the primary holds; 0 while it does."""
        since = self._uneven_since
        return 0.0 if since is None else self._clock.monotonic() - since

    @property
    def reason(self) -> str:
        """Why nothing may be computed here yet; empty once it has caught up since its start."""
        # SECURITY: a model may have been stopped or deleted while this process was down.
        if self._ready:
            return ""
        return f"{self._who} has yet to fetch what is in force at triple 0: {self._why}"

    @property
    def _who(self) -> str:
        return f"party {self._local.index} of triple {self._local.triple}"

    async def sync(self) -> None:
        """Return when this catalog is what the primary's was at this moment or later.

        Raises:
            UnavailableError: it does not follow the primary at this time; says why.
        """
        if self._link is None:
            raise self._unavailable()
        self._want()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._turn, future))
        await future

    def _unavailable(self) -> UnavailableError:
        what = f"{self._who} does not follow triple 0 at this time: {self._why}"
        return UnavailableError(what, status=503, retry_after=1)

    # ---- following

    async def run(self) -> None:
        """Follow the primary until cancelled."""
        pause, told = 0.05, ""
        try:
            while True:
                before = self._rounds
                try:
                    await self._follow(await self._connect())
                except LibmpcError as error:
                    reason = str(getattr(error, "reason", error))
                    if reason != told or self._rounds != before:
                        log.warning("triple 0 is not followed: %s", reason)
                    self._why, told = str(error), reason
                except Exception as error:  # noqa: BLE001 - nothing else would ever follow again
                    log.error("triple 0 is not followed: %s", describe(error))
                    self._why = "an internal error; the party's log has more"
                self._let_go()
                if self._rounds != before:
                    pause = 0.05
                await self._clock.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, MAX_PAUSE)
        finally:
            self._let_go()

    def renew(self, local: LocalIdentity, primary: RemoteIdentity) -> None:
        """Use other keys for new links; a link that was made with keys of no use any more ends."""
        rekeyed = local.public_key != self._local.public_key
        self._local, self._primary = local, primary
        if self._link is not None and (rekeyed or not self._belongs(self._link.link)):
            self._closing = asyncio.ensure_future(self._link.link.close())

    def _belongs(self, link: Link) -> bool:
        return link.peer_key in self._primary.keys

    async def _connect(self) -> PrimaryLink:
        link = await open_link(
            await self._open_stream(),
            self._local,
            self._primary,
            clock=self._clock,
            settings=self._settings,
        )
        if not self._belongs(link):  # the keys that counted when the handshake began
            await link.close()
            raise LinkError("the keys were replaced during the handshake")
        self._traffic.add(link)
        return PrimaryLink(link, self._clock, self._settings.max_message, self._want)

    async def _follow(self, link: PrimaryLink) -> None:
        self._link, self._why = link, "it is being compared"
        known = 0
        self._want()
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                turn = self._turn
                version, lacking = await self._mirror.compare(link, known)
                if await self._take_over(link, lacking, turn):
                    known = version
                    self._done(turn)
        finally:
            await link.link.close()

    async def _take_over(
        self, link: PrimaryLink, lacking: Sequence[ModelInForce], turn: int
    ) -> bool:
        failed: LibmpcError | None = None
        for number, item in enumerate(lacking):
            self._why = f"it lacks {len(lacking) - number} models"
            try:
                await self._mirror.take_over(link, item)
            except LinkError:
                raise
            except LibmpcError as error:  # the others may do
                log.error("model %s was not taken over: %s", item.model[:12], error)
                failed = failed or error
            # What ends a model must not wait until others have come.
            if self._turn != turn:
                return False
        if failed is not None:
            raise failed
        return True

    def _want(self) -> None:
        self._turn += 1
        self._wanted.set()
        if self._uneven_since is None:
            self._uneven_since = self._clock.monotonic()

    def _done(self, turn: int) -> None:
        if not self._ready:
            log.info("%s has caught up with triple 0", self._who)
        self._ready = True
        self._rounds += 1
        if turn == self._turn:
            self._uneven_since = None
        for _, future in self._settle(turn):
            future.set_result(None)

    def _let_go(self) -> None:
        self._link = None
        if self._uneven_since is None:
            self._uneven_since = self._clock.monotonic()
        for _, future in self._settle(self._turn):
            future.set_exception(self._unavailable())

    def _settle(self, turn: int) -> list[tuple[int, asyncio.Future[None]]]:
        """Those that wait for this turn, or for one before it, and wait no more."""
        settled = [item for item in self._waiting if item[0] <= turn]
        self._waiting = [item for item in self._waiting if item[0] > turn]
        return [item for item in settled if not item[1].done()]
