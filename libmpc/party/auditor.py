"""What a party writes into its audit log: changes one by one, the rest added up by the second.

What a gateway can repeat at will (queries, refused commands, commands that change nothing) is
added up, and a model that is not stored here is not named: so a gateway can neither fill the log,
to have its beginning dropped, nor write words of its own into it. A change of a model is on disk
before the gateway hears that it was made. Sums are on disk within a second or two: a crash may
lose those, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from libmpc._version import __version__
from libmpc.audit.record import Event
from libmpc.audit.writer import AuditLog, Entry
from libmpc.clock import Clock
from libmpc.errors import LibmpcError, UnavailableError
from libmpc.failure import describe
from libmpc.party.catalog import Catalog
from libmpc.party.entry import Entry as Model
from libmpc.party.refusals import refuse
from libmpc.party.store import Record
from libmpc.wire.lifetime import to_millis
from libmpc.wire.manifest import Manifest

log = logging.getLogger(__name__)

#: how long queries are added up
SECONDS = 1.0
#: how often the newest head is told to the service's own log
HEAD_SECONDS = 3600.0
#: records that wait for a disk that does not take them; beyond it, requests are refused
MAX_WAITING = 10_000


@dataclass(slots=True)
class _Sum:
    stored: Model | Record | None  # as it was when the first of them came
    count: int = 0
    samples: int = 0


class Auditor:
    """Collects what happens and hands it to the log. Used from the event loop only.

    Args:
        log: where it goes; ``None`` where no log is kept, as in tests of other things.
        catalog: knows names and owners.
    """

    def __init__(self, log: AuditLog | None, catalog: Catalog, clock: Clock) -> None:
        self._log = log
        self._catalog = catalog
        self._clock = clock
        self._sums: dict[tuple[Event, bytes, str, int], _Sum] = {}
        self._since = 0
        self._waiting: list[Entry] = []
        self._soon: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._flushes: set[asyncio.Task[None]] = set()
        self._failed = ""
        self.refusals = 0  # by the disk, since the start
        self._told = 0.0

    # ---- queries

    def query(self, gateway: bytes, model: str, samples: int, outcome: int) -> None:
        """One answer to a gateway's query. Takes a microsecond or two; never waits."""
        self._sum("query", gateway, model, samples, outcome)

    def _sum(self, event: Event, gateway: bytes, model: str, samples: int, outcome: int) -> None:
        if self._log is None:
            return
        stored = self.stored(model)
        key = event, gateway, model if stored is not None else "", outcome
        if not self._sums:
            self._since = to_millis(self._clock.now())
        total = self._sums.get(key)
        if total is None:
            total = self._sums[key] = _Sum(stored)
        total.count += 1
        total.samples += samples
        if self._soon is None:
            self._soon = asyncio.ensure_future(self._flush_soon())

    def check(self) -> None:
        """Refuse work that could not be recorded.

        Raises:
            UnavailableError: the log cannot be written at this time.
        """
        if self._failed:
            raise UnavailableError(
                "this party's audit log cannot be written", status=503, retry_after=5
            )

    # ---- everything else

    def started(self) -> None:
        """The process has started."""
        self.note("started", f"libmpc {__version__}")

    def note(self, event: Event, note: str) -> None:
        """Something of this party's own."""
        self._add(event, {"note": note})

    @contextlib.asynccontextmanager
    async def change(
        self, event: Event, gateway: bytes, model: str, num_requests: int | None = None
    ) -> AsyncIterator[None]:
        """Record what the block does; a change is on disk when it is left.

        Args:
            event: what was asked for.
            model: digest of the model that it is for.

        Raises:
            UnavailableError: it cannot be written. If the block had done its work by then, it
                will be written as soon as that is possible.
        """
        self.check()
        stored, state = self.stored(model), self._state(model)
        try:
            yield
        except LibmpcError as error:
            self._sum(event, gateway, model, 0, refuse(error).status)
            raise
        if self._state(model) == state:
            self._sum(event, gateway, model, 0, 200)
            return
        stored = self.stored(model) or stored
        fields = {"model": model, "gateway": gateway.hex(), "outcome": 200}
        fields |= _whose(stored) if stored is not None else {}
        if num_requests is not None:
            fields["num_requests"] = num_requests
        self._add(event, fields)
        await self.flush()
        self.check()

    def _state(self, model: str) -> object:
        """Differs before and after whatever changes a model, but for its count."""
        if (entry := self._catalog.entries.get(model)) is not None:
            return entry.record.command, entry.record.certificate
        return model in self._catalog.prepared, model in self._catalog.tombstones

    def stored(self, model: str) -> Model | Record | None:
        """What is stored of a model, in force or prepared."""
        return self._catalog.entries.get(model) or self._catalog.prepared.get(model)

    async def absorbed(self, peer: int, before: Mapping[str, Model]) -> None:
        """Another party has told of changes, with proofs; the catalog was ``before`` that."""
        after = self._catalog.entries
        for model in [*before, *(m for m in after if m not in before)]:
            old, new = before.get(model), after.get(model)
            if old is new:
                continue
            stored = new or old
            assert stored is not None
            self._add(_difference(old, new), {"model": model, **_whose(stored), "peer": peer})
        await self.flush()

    def handed_over(self, record: Record, triple: int) -> None:
        """A share goes to this party's own process of another triple."""
        note = f"its share, encrypted, to triple {triple}"
        self._add("replica", {"model": record.model, **_whose(record), "note": note})

    # ---- writing

    def _add(self, event: Event, fields: Mapping[str, Any]) -> None:
        if self._log is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._failed = self._failed or "too much waits"
            return
        self._waiting.append(Entry(event, dict(fields)))
        if self._soon is None:
            self._soon = asyncio.ensure_future(self._flush_soon())

    async def _flush_soon(self) -> None:
        await self._clock.sleep(SECONDS)
        self._soon = None
        await self.flush()

    async def flush(self) -> None:
        """Write what waits; on failure it goes on waiting. May be cancelled without harm."""
        if self._log is None:
            return
        work = asyncio.ensure_future(self._flush(self._log))
        self._flushes.add(work)
        work.add_done_callback(self._flushes.discard)
        await asyncio.shield(work)

    async def _flush(self, audit: AuditLog) -> None:
        async with self._writing:
            self._collect()
            entries, self._waiting = self._waiting, []
            if not entries:
                return
            try:
                await asyncio.to_thread(audit.append, entries)
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing was written
                reason = error.strerror if isinstance(error, OSError) else describe(error)
                if not self._failed:
                    log.error("the audit log cannot be written, so requests wait: %s", reason)
                self._failed = reason or "error"
                self.refusals += 1
                self._waiting = entries + self._waiting
                if self._soon is None:
                    self._soon = asyncio.ensure_future(self._flush_soon())
                return
            self._failed = ""
        self._tell(audit)

    def _collect(self) -> None:
        sums, self._sums = self._sums, {}
        for (event, gateway, model, outcome), total in sums.items():
            fields: dict[str, Any] = {"gateway": gateway.hex(), "outcome": outcome}
            fields |= {"count": total.count, "from_ms": self._since}
            if event == "query":
                fields["samples"] = total.samples
            if total.stored is not None:
                fields |= {"model": model, **_whose(total.stored)}
            self._waiting.append(Entry(event, fields))

    def _tell(self, audit: AuditLog) -> None:
        # A head that has left this machine is what shows later that nothing was cut off.
        now = self._clock.monotonic()
        if not self._told or now - self._told >= HEAD_SECONDS:
            self._told = now
            log.info("audit log: record %d, head %s", audit.number, audit.head)

    async def close(self) -> None:
        """Write what is left, with the end of this process."""
        if self._log is None:
            return
        await self.flush()
        self.note("stopped", f"libmpc {__version__}")
        if self._soon is not None:
            self._soon.cancel()  # it only sleeps
            self._soon = None
        await self.flush()
        log.info("audit log: record %d, head %s", self._log.number, self._log.head)


def _whose(stored: Model | Record) -> dict[str, Any]:
    if isinstance(stored, Model):
        return {"name": stored.record.name, "owner": stored.manifest.owner}
    return {"name": stored.name, "owner": Manifest.parse(stored.manifest).owner}


def _difference(old: Model | None, new: Model | None) -> Event:
    if new is None:
        return "delete"
    if old is None:
        return "commit"
    return "serve" if new.record.serving else "stop"
