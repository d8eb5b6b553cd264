"""What a party answers to gateways: the work behind each request of ``gateways.py``."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable

from libmpc._version import __version__
from libmpc.clock import Clock
from libmpc.errors import ConflictError, IntegrityError, LibmpcError, UnavailableError
from libmpc.party.catalog import Catalog
from libmpc.party.condition import Condition
from libmpc.party.desk import QueryDesk
from libmpc.party.entry import Entry
from libmpc.party.messages import (
    MAX_POOLS,
    Batch,
    Commit,
    ModelList,
    ModelState,
    PartyReport,
    PartyStatus,
    PoolLevel,
)
from libmpc.party.proofs import stored_manifest
from libmpc.party.records import Record
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire.envelope import PushPlaintext
from libmpc.wire.headers import PushHeader, QueryHeader, push_info
from libmpc.wire.lifetime import check_expiry, to_millis
from libmpc.wire.manifest import model_digest
from libmpc.wire.signed import Signed

MAX_PUSH_LIFE_MS = 3_600_000


class Answers:
    """Carries out requests; one object for all gateways.

    Args:
        index: 0, 1 or 2.
        deployment: the deployment's id.
        lock: serialises changes of the catalog.
        condition: the epoch, why there is none, and where queries go.
        changed: called when a model was pushed, served, stopped, replaced or deleted.
        catch_up: at a replica, which takes no pushes and commands, returns once it holds what
            the primary holds now; ``None`` at triple 0.
    """

    def __init__(
        self,
        index: int,
        deployment: bytes,
        *,
        catalog: Catalog,
        desk: QueryDesk,
        keys: HpkeKeys,
        clock: Clock,
        lock: asyncio.Lock,
        condition: Condition,
        changed: Callable[[], None],
        catch_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._index = index
        self._deployment = deployment
        self._catalog = catalog
        self._desk = desk
        self._keys = keys
        self._clock = clock
        self._lock = lock
        self._condition = condition
        self._changed = changed
        self._born = clock.monotonic()
        self._catch_up = catch_up
        self._pushing = asyncio.Lock()  # one at a time: a push takes a multiple of its share

    def status(self) -> PartyStatus:
        epoch = self._condition.epoch
        return PartyStatus(
            party=self._index,
            version=__version__,
            ready=epoch is not None and not self._condition.reason,
            reason=self._condition.reason,
            epoch=epoch.hex() if epoch else None,
            models=len(self._catalog.entries),
        )

    def report(self) -> PartyReport:
        ready: Counter[tuple[str, int]] = Counter()
        # By name, whatever is answered: levels follow from the load and from no input.
        for (variant, rung), level in self._condition.pool_levels.items():
            if (entry := self._catalog.find(variant)) is not None:
                ready[entry.record.name, rung] += level
        pools = [PoolLevel(model=m, rung=r, ready=n) for (m, r), n in sorted(ready.items())]
        return PartyReport(
            **dict(self.status()),
            uptime_seconds=self._clock.monotonic() - self._born,
            clock_ms=to_millis(self._clock.now()),
            pools=tuple(pools[:MAX_POOLS]),
        )

    def key(self) -> Signed:
        return self._keys.current()

    def models(self) -> ModelList:
        catalog = self._catalog
        states = [
            _state(e.record, e.plan.digest.hex(), e.descriptor, e.record.serving)
            for e in catalog.entries.values()
        ]
        # Gateways call these incomplete, since the other parties say something else of them.
        for record in catalog.damaged.values():
            with contextlib.suppress(LibmpcError):  # a manifest that says nothing any more
                plan_digest = stored_manifest(record).plan_digest.hex()
                states.append(_state(record, plan_digest, None, serving=False))
        return ModelList(models=tuple(sorted(states, key=lambda state: state.name)))

    async def prepare(self, header: PushHeader, envelope: memoryview) -> Signed:
        self._check_managed()
        check_expiry("push", header.expires_ms, self._clock.now(), MAX_PUSH_LIFE_MS)
        info = push_info(self._deployment, header, self._index)
        key_id = header.key_ids[self._index]

        def open_and_check() -> tuple[PushPlaintext, Entry]:
            push = PushPlaintext.parse(self._keys.open(key_id, info, envelope))
            if model_digest(push.manifest.document).hex() != header.model:
                raise IntegrityError("the push holds another model than it says", status=422)
            return push, self._catalog.check(push.manifest, memoryview(push.share))

        async with self._pushing:
            push, entry = await asyncio.to_thread(open_and_check)
            # What took long is done: queries are counted under this lock, too.
            async with self._lock:
                share = memoryview(push.share)
                return await asyncio.to_thread(self._catalog.prepare, push.manifest, share, entry)

    async def commit(self, commit: Commit) -> None:
        self._check_managed()
        async with self._lock:
            await asyncio.to_thread(self._catalog.commit, commit.model, commit.receipts)
        self._changed()

    async def command(self, signed: Signed) -> None:
        self._check_managed()
        async with self._lock:
            await asyncio.to_thread(self._catalog.command, signed)
        self._changed()

    async def sync(self) -> None:
        """Return when this party's models are what they are at triple 0 now."""
        if self._catch_up is not None:
            await self._catch_up()

    def _check_managed(self) -> None:
        # SECURITY: a replica changes by its primary only: what was refused or ended there must not
        # be brought into force here.
        if self._catch_up is not None:
            raise ConflictError(
                "models are pushed, served, stopped and deleted at triple 0; this one follows it",
                status=409,
            )

    def query_batch(
        self, batch: Batch, envelopes: list[memoryview]
    ) -> list[tuple[QueryHeader, asyncio.Future[bytes]]]:
        submit = self._condition.submit
        if submit is None:
            error = UnavailableError(
                self._condition.reason or "not an evaluator", status=503, retry_after=1
            )
            return [(entry.header, _refused(error)) for entry in batch.entries]
        return self._desk.take(batch, envelopes, submit)


def _state(
    record: Record, plan_digest: str, descriptor: Signed | None, serving: bool
) -> ModelState:
    return ModelState(
        name=record.name,
        model=record.model,
        state="serving" if serving else "stopped",
        num_requests=record.num_requests,
        served=record.served,
        plan_digest=plan_digest,
        descriptor=descriptor,
    )


def _refused(error: LibmpcError) -> asyncio.Future[bytes]:
    reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    reply.set_exception(error)
    return reply
