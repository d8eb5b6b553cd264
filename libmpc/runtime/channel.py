"""The in-memory channel between two evaluators in one process, with counted traffic."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from libmpc.protocol.exchange import Payload


@dataclass
class Traffic:
    """What went through, counted on encoded bytes.

    Attributes:
        rounds: exchanges that both sides completed.
        sent: bytes that party 0 and party 1 sent to each other.
        corrections: bytes that the dealer sent to party 1.
    """

    rounds: int = 0
    sent: tuple[int, int] = (0, 0)
    corrections: int = 0

    def add_sent(self, party: int, count: int) -> None:
        """Count a message of one evaluator."""
        zero, one = self.sent
        self.sent = (zero + count, one) if party == 0 else (zero, one + count)


class MemoryChannel:
    """One end of a pair; use ``memory_pair``. Implements ``Exchange``."""

    def __init__(
        self, party: int, queues: list[asyncio.Queue[tuple[int, bytes]]], traffic: Traffic
    ) -> None:
        self._party = party
        self._queues = queues
        self._traffic = traffic

    async def __call__(self, tag: int, payload: Payload) -> bytes:
        """Exchange messages; a copy goes over, as it would on a network.

        Raises:
            RuntimeError: the other end is at another tag: the two run different programs.
        """
        self._traffic.add_sent(self._party, len(payload))
        self._queues[1 - self._party].put_nowait((tag, bytes(payload)))
        their_tag, received = await self._queues[self._party].get()
        if their_tag != tag:
            raise RuntimeError(f"expected the message of tag {tag}, got that of {their_tag}")
        if self._party == 0:
            self._traffic.rounds += 1
        return received


def memory_pair(traffic: Traffic | None = None) -> tuple[MemoryChannel, MemoryChannel]:
    """Two connected ends, for party 0 and party 1, in the running event loop."""
    counted = traffic if traffic is not None else Traffic()
    queues: list[asyncio.Queue[tuple[int, bytes]]] = [asyncio.Queue(), asyncio.Queue()]
    return MemoryChannel(0, queues, counted), MemoryChannel(1, queues, counted)
