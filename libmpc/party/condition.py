"""How a party is at this moment: whether it takes queries, and why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from libmpc.party.alarm import Alarm
from libmpc.party.current_role import CurrentRole
from libmpc.party.peers import PeerLinks
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.party.replica import Replica


class Condition:
    """Asks everything that can keep a party from its work; keeps nothing itself.

    Args:
        index: 0, 1 or 2.
        replica: follows triple 0; ``None`` there.
    """

    def __init__(
        self,
        index: int,
        *,
        alarm: Alarm,
        peers: PeerLinks,
        role: CurrentRole,
        replica: Replica | None,
    ) -> None:
        self._index = index
        self._alarm = alarm
        self._peers = peers
        self._role = role
        self._replica = replica

    @property
    def epoch(self) -> bytes | None:
        """The epoch in force."""
        return self._peers.epoch

    @property
    def submit(self) -> Callable[[Sequence[Query]], None] | None:
        """Where an evaluator's queries go; ``None`` while there is no epoch, and at party 2."""
        # SECURITY: not before it knows what was stopped or deleted while it was down.
        return None if self._replica is not None and self._replica.reason else self._role.submit

    @property
    def pool_levels(self) -> Mapping[PoolKey, int]:
        """Bundles that are ready, by model and batch size."""
        return self._role.levels

    @property
    def reason(self) -> str:
        """Why this party is not ready; empty when it is."""
        if self._alarm:
            return f"party {self._index} has stopped: {self._alarm.reason}"
        missing = self._peers.missing
        if missing:
            return f"party {self._index} has no link to party " + " and ".join(map(str, missing))
        if not self._peers.epoch:
            return "the parties are agreeing on a new epoch"
        return self._replica.reason if self._replica is not None else ""
