"""The role that a party has at this moment: made when an epoch begins, closed when it ends.

Between epochs there is none, and whoever asks for bundles, streams or a place for queries gets
nothing. Links, the catalog and the desk outlive epochs; of a role nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from libmpc.link import Link, Message
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.meters import Meters
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.party.roles import Role, make_role
from libmpc.party.settings import Alarm, RoleSettings


class CurrentRole:
    """Makes and ends the role of one party.

    Args:
        index: 0, 1 or 2.
        catalog: the stored models.
        desk: told of the end of an epoch.
        executor: where bundles are dealt or prepared.
        settings, meters: bounds, and what this party counts.
        alarm: told of a failed audit.

    Attributes:
        now: the role; ``None`` between epochs.
    """

    def __init__(
        self,
        index: int,
        *,
        catalog: Catalog,
        desk: QueryDesk,
        executor: Executor,
        settings: RoleSettings,
        meters: Meters,
        alarm: Alarm,
    ) -> None:
        self.now: Role | None = None
        self._index = index
        self._catalog = catalog
        self._desk = desk
        self._executor = executor
        self._settings = settings
        self._meters = meters
        self._alarm = alarm

    def begin(self, epoch: bytes, links: Mapping[int, Link]) -> None:
        """An epoch begins, over these links."""
        self.now = make_role(
            self._index,
            epoch,
            links,
            catalog=self._catalog,
            desk=self._desk,
            executor=self._executor,
            settings=self._settings,
            meters=self._meters,
            alarm=self._alarm,
        )
        self.now.start()

    def end(self) -> None:
        """The epoch has ended."""
        if self.now is not None:
            self.now.close()
            self.now = None
            self._desk.end_epoch()

    def receive(self, peer: int, message: Message) -> None:
        """A peer's message of this epoch."""
        if self.now is not None:
            self.now.receive(peer, message)

    def dismiss(self, number: str) -> None:
        """A query will not be run."""
        if self.now is not None:
            self.now.dismiss(number)

    def models_changed(self) -> None:
        """A model was pushed, served, stopped, replaced or deleted."""
        if self.now is not None:
            self.now.models_changed()

    @property
    def submit(self) -> Callable[[Sequence[Query]], None] | None:
        """Where an evaluator's queries go; ``None`` while there is no epoch, and at party 2."""
        return None if self.now is None or self._index == 2 else self.now.submit

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        """Bundles that are ready, by model and batch size."""
        return self.now.levels if self.now is not None else {}

    @property
    def targets(self) -> Mapping[PoolKey, int]:
        """Bundles that are to be kept ready, at party 0."""
        return self.now.targets if self.now is not None else {}

    @property
    def streams(self) -> int:
        """Streamed bundles under way."""
        return self.now.streams if self.now is not None else 0
