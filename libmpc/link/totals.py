"""Traffic with each peer, added up over all links that there have been."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from libmpc.link.terms import Traffic


class Counted(Protocol):
    """A link, as far as it is counted."""

    peer: int
    version: tuple[int, int]

    @property
    def rekeys(self) -> int: ...
    @property
    def sent(self) -> Traffic: ...
    @property
    def received(self) -> Traffic: ...
    @property
    def alive(self) -> bool: ...


@dataclass
class PeerTotals:
    """Of one peer.

    Attributes:
        links: how many links there have been.
        rekeys: how often their frame keys were replaced at this end.
        sent, received: what went over them.
    """

    links: int = 0
    rekeys: int = 0
    sent: Traffic = field(default_factory=Traffic)
    received: Traffic = field(default_factory=Traffic)

    def add(self, other: Counted | PeerTotals) -> None:
        """Include other counters as they are now, but for the number of links."""
        self.rekeys += other.rekeys
        for total, own in ((self.sent, other.sent), (self.received, other.received)):
            total.messages += own.messages
            total.payload_bytes += own.payload_bytes
            total.wire_bytes += own.wire_bytes


class LinkTotals:
    """Reads the links' own counters, and keeps those of links that are over."""

    def __init__(self) -> None:
        self._past: dict[int, PeerTotals] = {}
        self._links: list[Counted] = []

    def add(self, link: Counted) -> None:
        """Count a link from now on."""
        # Those that are over are let go when others come, so there are never many.
        for old in self._links:
            if not old.alive:
                self._past[old.peer].add(old)
        self._links = [*(old for old in self._links if old.alive), link]
        self._past.setdefault(link.peer, PeerTotals()).links += 1

    @property
    def by_peer(self) -> dict[int, PeerTotals]:
        """The totals of this moment."""
        found = {peer: PeerTotals(past.links) for peer, past in self._past.items()}
        for peer, past in self._past.items():
            found[peer].add(past)
        for link in self._links:
            found[link.peer].add(link)
        return found

    @property
    def versions(self) -> set[tuple[int, tuple[int, int]]]:
        """Which wire versions (major, minor) are spoken with each peer at this moment."""
        return {(link.peer, link.version) for link in self._links if link.alive}
