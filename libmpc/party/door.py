"""Where links come in: handshakes with whoever connects, and the links of gateways."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from libmpc.clock import Clock
from libmpc.errors import LibmpcError
from libmpc.link import GATEWAY, ByteStream, Link, LinkSettings, LinkTotals, LocalIdentity, accept
from libmpc.party.members import Members

log = logging.getLogger(__name__)

#: at the same time; before it has shown its key somebody may have sent a window, 16 MiB
MAX_HANDSHAKES = 32
#: a gateway has one, and another one for each push
MAX_GATEWAY_LINKS = 64


class Door:
    """Lets in who belongs to the deployment, within bounds.

    Args:
        local: this party.
        members: whom it knows.
        serve: serves a gateway's link until it is over.
        adopt: takes over a peer's link.
        mirror: serves the link of this party's own process in another triple until it is over.
        traffic: adds up what all links carry.
    """

    def __init__(
        self,
        local: LocalIdentity,
        members: Members,
        *,
        clock: Clock,
        settings: LinkSettings,
        serve: Callable[[Link], Awaitable[None]],
        adopt: Callable[[Link], None],
        mirror: Callable[[Link], Awaitable[None]],
        traffic: LinkTotals,
    ) -> None:
        self._local = local
        self._members = members
        self._clock = clock
        self._settings = settings
        self._serve = serve
        self._adopt = adopt
        self._mirror = mirror
        self._traffic = traffic
        self._handshakes = 0
        self.gateways: set[Link] = set()

    async def accept(self, stream: ByteStream) -> None:
        """Serve whoever has opened ``stream``, a peer or a gateway, until it ends."""
        if self._handshakes >= MAX_HANDSHAKES:
            log.warning("a connection was refused: too many handshakes at once")
            return
        link = await self._shake_hands(stream)
        if link is None:
            return
        if not self._members.accepts(link):  # the file was replaced during the handshake
            await link.close()
        elif link.peer == self._local.index:
            self._traffic.add(link)
            await self._mirror(link)
        elif link.peer != GATEWAY:
            self._adopt(link)
            await link.wait_closed()
        elif len(self.gateways) >= MAX_GATEWAY_LINKS:
            log.warning("a gateway's link was refused: there are %d", len(self.gateways))
            await link.close()
        else:
            self.gateways.add(link)
            self._traffic.add(link)
            try:
                await self._serve(link)
            finally:
                self.gateways.discard(link)

    async def _shake_hands(self, stream: ByteStream) -> Link | None:
        self._handshakes += 1
        try:
            return await accept(
                stream,
                self._local,
                self._members.lookup,
                clock=self._clock,
                settings=self._settings,
            )
        except LibmpcError as error:
            log.warning("a connection was refused: %s", getattr(error, "reason", error))
            return None
        finally:
            self._handshakes -= 1

    def renew(self, local: LocalIdentity, replicas: Iterable[Link]) -> list[Link]:
        """Use another key for new links; the gateways' and replicas' links that have to end."""
        rekeyed = local.public_key != self._local.public_key
        self._local = local
        links = [*self.gateways, *replicas]
        return [link for link in links if rekeyed or not self._members.accepts(link)]
