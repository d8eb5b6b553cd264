"""Party 1 within one epoch: it checks what party 0 chose, and computes or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor

from libmpc.errors import InputError
from libmpc.party.catalog import Catalog, Entry
from libmpc.party.evaluator import EpochSecrets, Evaluator, Send
from libmpc.party.messages import BundleHeader, Kind, RunAbort, RunAgreement, RunHeader, Slice
from libmpc.party.queries import Query
from libmpc.party.run import LADDER, Part, Run, RunAborted, run_digest, tag_check
from libmpc.runtime import correction_sizes
from libmpc.wire.errors import WireError

#: waits for a query's envelope, or its fate: ``None`` when party 1 has refused it or never got it
FindQuery = Callable[[str], Coroutine[None, None, Query | None]]


class Follower(Evaluator):
    """Party 1.

    Args (besides those of ``Evaluator``):
        find: finds an opened query by number, waiting a moment for it.
        dismiss: gives up on a query.
        take_timeout: seconds that a run waits for its bundle.
    """

    def __init__(
        self,
        *,
        secrets: EpochSecrets,
        catalog: Catalog,
        peer: Send,
        find: FindQuery,
        dismiss: Callable[[str], None],
        release: Callable[[Query], None],
        executor: Executor,
        round_timeout: float,
        take_timeout: float,
    ) -> None:
        super().__init__(
            index=1,
            secrets=secrets,
            catalog=catalog,
            peer=peer,
            release=release,
            executor=executor,
            round_timeout=round_timeout,
        )
        self._find = find
        self._dismiss = dismiss
        self._take_timeout = take_timeout
        self._coming: dict[int, BundleHeader] = {}
        self._declined: set[int] = set()

    # ---- bundles

    def on_bundle(self, header: BundleHeader) -> None:
        """The dealer begins a bundle."""
        if header.rung not in LADDER:
            raise WireError("a bundle for an unknown batch size")
        if header.model not in self._catalog.entries:
            # A push that is in force at the others already, or a delete that is not yet.
            self._declined.add(header.bundle)
            self.spawn(self._send(Kind.DECLINED, header.bundle, 0, b""))
            return
        entry = self._expect(header)
        expected = correction_sizes(entry.plan, header.rung)
        self.pool.announce(header.bundle, (header.model, header.rung), expected)
        self._coming[header.bundle] = header
        if not expected:
            self._complete(header.bundle)

    def on_correction(self, bundle: int, step: int, payload: bytes) -> None:
        if bundle in self._declined:
            return
        if self.pool.correct(bundle, step, payload):
            self._complete(bundle)

    def _complete(self, bundle: int) -> None:
        header = self._coming.pop(bundle)
        try:
            entry = self._expect(header)
        except WireError:
            self.pool.drop(bundle)  # deleted while it was on its way
            self.spawn(self._send(Kind.DECLINED, bundle, 0, b""))
            return
        self._prepare(header, entry)

    # ---- runs

    def on_run(self, header: RunHeader) -> None:
        """Party 0 begins a run; its first round is right behind."""
        if header.bundle in self._runs:
            raise WireError("a run that is under way")
        self.spawn(self._follow(header, self._open_run(header)))

    def on_abort(self, bundle: int, abort: RunAbort) -> None:
        """A run has ended at party 0, or queries that were in none."""
        super().on_abort(bundle, abort)
        if bundle not in self._runs:
            for number in abort.refused:
                self._dismiss(number)

    async def _follow(self, header: RunHeader, run: Run) -> None:
        parts: list[Part] = []
        try:
            entry = self._catalog.entries.get(header.model)
            if entry is None or header.rung not in LADDER:
                raise RunAborted
            found = await asyncio.gather(*(self._part(s, header.model) for s in header.slices))
            parts = [p for p in found if p is not None]
            # SECURITY: taken before anything that depends on it is sent, and gone even if the run
            # ends at once: party 0 has sent its first message under it.
            bundle = await self.pool.take_named(
                header.bundle, (header.model, header.rung), self._take_timeout
            )
            refused = [s.query for s, p in zip(header.slices, found, strict=True) if p is None]
            if refused:
                await self._tell_end(header.bundle, refused)
                return
            self._check(header, entry, parts)
            agreement = RunAgreement(digest=header.digest)
            await self._send(Kind.AGREE, header.bundle, 0, agreement.encode())
            await self._evaluate(run, entry, parts, bundle)
        except asyncio.CancelledError:
            self._fail(parts)
            raise
        except Exception:
            self._fail(parts)
            await self._tell_end(header.bundle)
            raise
        finally:
            del self._runs[header.bundle]

    async def _part(self, item: Slice, model: str) -> Part | None:
        """The rows that party 0 named, or ``None`` where this query cannot be computed."""
        query = await self._find(item.query)
        if query is None or query.released or query.entry.record.model != model:
            return None
        if not item.start < item.stop <= query.rows or item.tag_check != tag_check(query):
            # Its two envelopes do not belong together; nobody can compute this one.
            query.fail(InputError("the query's two envelopes do not belong together"))
            return None
        return Part(query, item.start, item.stop)

    def _check(self, header: RunHeader, entry: Entry, parts: list[Part]) -> None:
        rows = [(p.query.number, row) for p in parts for row in range(p.start, p.stop)]
        if len(rows) > header.rung or len(set(rows)) != len(rows):
            raise RunAborted
        digest = run_digest(self._secrets.epoch, header.bundle, entry, header.rung, parts)
        if digest.hex() != header.digest:
            raise RunAborted
