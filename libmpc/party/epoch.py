"""Epochs: which three handshakes are in force, agreed by all three parties.

Every secret that masks come from belongs to one handshake between two parties. An *epoch* is the
hash over the three handshakes' transcripts. A party knows two of them and hears of the third from
both its peers; it takes part in runs only while all three name the same epoch. Any new handshake
on any link gives another epoch, and everything that was prepared under the old one is dropped. So
neither a crash nor a restored backup can bring a mask back.

This file has the decision only, without any input or output: the caller reports what happened
and sends ``report()`` to the live peers whenever it has changed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from libmpc.party.messages import Control
from libmpc.wire.context import context, sha256
from libmpc.wire.fields import Hex32

PARTIES = (0, 1, 2)


class EpochReport(Control):
    """What one party tells the others: its own live links, and the epoch that it could join."""

    transcripts: Annotated[dict[str, Hex32], Field(max_length=2)]  # by the peer's index
    epoch: Hex32 | None


class EpochTracker:
    """Follows links and reports, and says which epoch holds, if any."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._peers = tuple(p for p in PARTIES if p != index)
        self._own: dict[int, bytes] = {}
        self._heard: dict[int, EpochReport] = {}

    def link_up(self, peer: int, transcript: bytes) -> None:
        """A new handshake with ``peer`` has finished; whatever it said before is void."""
        self._own[peer] = transcript
        self._heard.pop(peer, None)

    def link_down(self, peer: int) -> None:
        self._own.pop(peer, None)
        self._heard.pop(peer, None)

    def hear(self, peer: int, report: EpochReport) -> None:
        if peer in self._own:
            self._heard[peer] = report

    def report(self) -> EpochReport:
        """What to tell the peers now."""
        candidate = self.candidate
        return EpochReport(
            transcripts={str(p): t.hex() for p, t in sorted(self._own.items())},
            epoch=candidate.hex() if candidate else None,
        )

    @property
    def candidate(self) -> bytes | None:
        """The epoch that follows from all links, where all ends of all links agree on them."""
        a, b = self._peers
        if len(self._own) < 2 or len(self._heard) < 2:
            return None
        for peer in self._peers:
            if self._heard[peer].transcripts.get(str(self.index)) != self._own[peer].hex():
                return None
        third = self._heard[a].transcripts.get(str(b))
        if third is None or third != self._heard[b].transcripts.get(str(a)):
            return None
        by_pair = {
            frozenset((self.index, a)): self._own[a],
            frozenset((self.index, b)): self._own[b],
            frozenset((a, b)): bytes.fromhex(third),
        }
        return sha256(context("epoch", *(by_pair[frozenset(p)] for p in ((0, 1), (0, 2), (1, 2)))))

    @property
    def epoch(self) -> bytes | None:
        """The epoch in force: ours, and the same at both peers; else ``None``."""
        candidate = self.candidate
        if candidate is None:
            return None
        # SECURITY: nothing is dealt or run before all three name the same three handshakes.
        if any(self._heard[p].epoch != candidate.hex() for p in self._peers):
            return None
        return candidate
