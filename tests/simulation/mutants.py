"""Seeded bugs: one production function each, made wrong, to see that the simulation finds it.

A mutant is a way to make a mistake that a reader might not notice. It lives in a patch, never in
the product. To add one, write the wrong function and give it a name in ``MUTANTS`` together with
words that must be in what the simulation says of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from libmpc.disk import FileDisk
from libmpc.errors import UnavailableError
from libmpc.link import noise, records
from libmpc.link.pulse import Beat, Pulse
from libmpc.party.answers import Answers
from libmpc.party.catalog import Catalog
from libmpc.party.intake import Intake
from libmpc.party.leader import Leader
from libmpc.party.messages import Commit, Kind
from libmpc.party.peers import PeerLinks
from libmpc.party.pool import Bundle, PoolKey
from libmpc.party.queries import Admission, Pending
from libmpc.party.records import Period
from libmpc.party.release import Releaser
from libmpc.party.run import Part
from libmpc.party.store import Record, Store
from libmpc.wire.command import Command
from libmpc.wire.signed import Signed
from services.gateway.parties import Parties
from tests.simulation import chaos
from tests.simulation.chaos import Fault


@dataclass(frozen=True)
class Mutant:
    """A seeded bug.

    Attributes:
        make: the patch.
        found_by: one of these is in what the simulation says.
        faults: those that bring it to light, so that few schedules are enough.
        seed: where to begin, for the same reason.
    """

    make: Callable[[], AbstractContextManager[Any]]
    found_by: tuple[str, ...]
    faults: tuple[Fault, ...] | None = None  # all of them
    seed: int = 0


_tasks: set[asyncio.Task[None]] = set()


def _later(work: Coroutine[Any, Any, None]) -> None:
    """Let something happen after whoever waits has been told that it has."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def take_after_sending() -> AbstractContextManager[Any]:
    """The bundle stays in the pool until its run is over."""

    @contextlib.asynccontextmanager
    async def take(
        self: Leader, key: PoolKey, parts: Sequence[Part]
    ) -> AsyncIterator[tuple[int, Bundle]]:
        number, bundle = await self.supply.take(key, self._settings.take_timeout)
        self.pool._add(number, key, bundle)
        try:
            yield number, bundle
        finally:
            self.pool.drop(number)
            self.supply.spent(key)

    return patch.object(Leader, "_pool_bundle", take)


def reuse_on_retry() -> AbstractContextManager[Any]:
    """Queries that go again, because another one was refused, go with the same bundle."""
    real, kept = Leader._pool_bundle, dict[tuple[str, int, int], tuple[int, Bundle]]()

    @contextlib.asynccontextmanager
    async def take(
        self: Leader, key: PoolKey, parts: Sequence[Part]
    ) -> AsyncIterator[tuple[int, Bundle]]:
        names = [(p.query.number, p.start, id(self)) for p in parts]
        before = next((kept[name] for name in names if name in kept), None)
        if before is not None:
            yield before
            return
        async with real(self, key, parts) as taken:
            kept.update(dict.fromkeys(names, taken))
            yield taken

    return patch.object(Leader, "_pool_bundle", take)


def skip_replay_check() -> AbstractContextManager[Any]:
    """A number that was used before is taken again."""
    return patch.object(Intake, "claim", lambda self, item: None)


def acknowledge_push_early() -> AbstractContextManager[Any]:
    """A commit is answered before it is made."""
    real = Answers.commit

    async def commit(self: Answers, commit: Commit) -> None:
        _later(real(self, commit))

    return patch.object(Answers, "commit", commit)


def acknowledge_command_early() -> AbstractContextManager[Any]:
    """A command is answered before it is applied."""
    real = Answers.command

    async def command(self: Answers, signed: Signed) -> None:
        _later(real(self, signed))

    return patch.object(Answers, "command", command)


def count_after_answer() -> AbstractContextManager[Any]:
    """The reply leaves, and then it is counted."""
    real = Releaser._count

    async def count(self: Releaser, query: Pending) -> None:
        _later(real(self, query))

    return patch.object(Releaser, "_count", count)


@contextlib.contextmanager
def forget_counts() -> Iterator[None]:
    """After a restart, counts begin anew, and what peers say of them is not heard."""
    real = Store.records

    def records(self: Store) -> list[Record]:
        return [replace(record, served=0) for record in real(self)]

    def unheard(self: Catalog, *said: Any) -> None:
        pass

    unheard_of = patch.object(Catalog, "counted_by_peer", unheard)
    with patch.object(Store, "records", records), unheard_of:
        yield


def do_not_wait_for_the_disk() -> AbstractContextManager[Any]:
    """A commit returns before it is on the disk."""
    real = FileDisk.connect

    def connect(self: FileDisk, path: Path) -> sqlite3.Connection:
        db = real(self, path)
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    return patch.object(FileDisk, "connect", connect)


def do_not_flush_names() -> AbstractContextManager[Any]:
    """A file has its new name before the directory is on the disk."""
    return patch.object(FileDisk, "rename", lambda self, path, target: path.replace(target))


def answer_although_the_disk_is_full() -> AbstractContextManager[Any]:
    """What cannot be counted is answered all the same."""
    real = Store.add_served

    def add_served(self: Store, counts: Mapping[Period, int]) -> None:
        with contextlib.suppress(UnavailableError):
            real(self, counts)

    return patch.object(Store, "add_served", add_served)


def keep_reservations() -> AbstractContextManager[Any]:
    """A query that fails keeps its place among the requests of a limit."""
    return patch.object(Admission, "leave", lambda self, model: None)


def accept_stale_epoch() -> AbstractContextManager[Any]:
    """What a peer sent before its report of the epoch counts in the next one."""
    real = PeerLinks._take

    def take(self: PeerLinks, link: Any, message: Any) -> None:
        early = list(self._early)
        if message.kind == Kind.EPOCH:
            self._early = []
            hear = self._tracker.hear

            def restored(*given: Any) -> None:
                hear(*given)
                self._early = early

            with patch.object(self._tracker, "hear", restored):
                real(self, link, message)
        else:
            real(self, link, message)

    return patch.object(PeerLinks, "_take", take)


def accept_repeated_record() -> AbstractContextManager[Any]:
    """Records are not numbered."""
    stack = contextlib.ExitStack()
    for module in (records, noise):
        stack.enter_context(patch.object(module, "nonce_bytes", lambda number: bytes(12)))
    return stack


def obey_old_command() -> AbstractContextManager[Any]:
    """A command counts, however old it is."""
    real = Catalog.command

    def command(self: Catalog, signed: Signed, *, from_peer: bool = False) -> None:
        entry = self.entries.get(Command.parse(signed.document).model)
        if entry is not None:
            object.__setattr__(entry.record, "command_ms", 0)
        real(self, signed, from_peer=from_peer)

    return patch.object(Catalog, "command", command)


def revive_deleted() -> AbstractContextManager[Any]:
    """That a model was deleted is not remembered."""
    real = Catalog._drop

    def drop(self: Catalog, model: str) -> None:
        real(self, model)
        self.tombstones = {m: c for m, c in self.tombstones.items() if m != model}

    return patch.object(Catalog, "_drop", drop)


def never_call_a_peer_dead() -> AbstractContextManager[Any]:
    """A peer that has vanished without a word counts as alive."""
    real = Pulse.tick

    def tick(self: Pulse, **now: Any) -> Beat:
        beat = real(self, **now)
        return Beat.NOTHING if beat is Beat.DEAD else beat

    return patch.object(Pulse, "tick", tick)


def insist_for_ever() -> AbstractContextManager[Any]:
    """A gateway waits for a party that does not come back in the middle of a change."""

    async def insist(self: Parties, link: Any, kind: Kind, payload: bytes, within: float) -> None:
        await self._until_answered(link, kind, payload, within)

    return patch.object(Parties, "_insist", insist)


MUTANTS = {
    "take the bundle after sending": Mutant(take_after_sending, ("used twice", "begun twice")),
    "reuse a bundle on retry": Mutant(reuse_on_retry, ("used twice", "begun twice")),
    "skip the replay check": Mutant(skip_replay_check, ("answered twice",)),
    "acknowledge a push before its commit": Mutant(acknowledge_push_early, ("disk",)),
    "acknowledge a command before its commit": Mutant(acknowledge_command_early, ("disk",)),
    "count after the answer": Mutant(count_after_answer, ("before it was counted",)),
    "forget counts at a restart": Mutant(
        forget_counts, ("counted durably", "owner's limit"), (chaos.crash,)
    ),
    "do not wait for the disk at a commit": Mutant(
        do_not_wait_for_the_disk, ("does not start", "disagree"), (chaos.lose_power,)
    ),
    "do not flush a name": Mutant(do_not_flush_names, ("missing",), (chaos.lose_power,)),
    "answer although the disk is full": Mutant(
        answer_although_the_disk_is_full, ("before it was counted",), (chaos.fill_the_disk,)
    ),
    "keep reservations of failed queries": Mutant(keep_reservations, ("reservations", "limit")),
    "accept a stale epoch": Mutant(
        accept_stale_epoch, ("another epoch",), (chaos.lose_dealer, chaos.reset)
    ),
    "accept a repeated record": Mutant(
        accept_repeated_record, ("another epoch", "logs"), (chaos.tamper,)
    ),
    "obey an old command": Mutant(obey_old_command, ("which", "peace", "limit", "used up"), ()),
    "forget that a model was deleted": Mutant(revive_deleted, ("which",), (), seed=118),
    "forget a deadline: a peer that says nothing": Mutant(
        never_call_a_peer_dead, ("not ready", "took"), (chaos.crash,)
    ),
    "forget a deadline: a party that never comes back": Mutant(
        insist_for_ever, ("took", "left"), (chaos.crash_at_a_durable_step,)
    ),
}
