"""Party 0 within one epoch: it chooses the bundle of every run and names it to party 1."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from time import perf_counter

from libmpc.link import Message
from libmpc.party.auditing import AuditingLeader
from libmpc.party.audits import LeadAudits
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.entry import Entry
from libmpc.party.messages import BundleHeader, Deal, Kind, RunAgreement, RunHeader
from libmpc.party.meters import Meters
from libmpc.party.missing import Missing, not_there, too_late
from libmpc.party.pool import Bundle, PoolKey
from libmpc.party.queries import Query
from libmpc.party.rounds import end_unless_wanted
from libmpc.party.run import Part, RunAborted, cut, run_digest
from libmpc.party.settings import Alarm, EpochSecrets, Post, RoleSettings
from libmpc.party.sizes import KeySizes
from libmpc.party.supply import Supply
from libmpc.party.turns import Turns
from libmpc.party.variants import Wanted, model_of
from libmpc.runtime import StreamedBundle
from libmpc.runtime.ladder import LADDER
from libmpc.wire.errors import WireError

#: in place of a bundle's number, where a query ends that was in no run
NO_BUNDLE = 0
#: runs of one batch size at the same time; while one waits for a round another computes
MAX_RUNS = 4


class Leader(AuditingLeader):
    """Party 0."""

    def __init__(
        self,
        *,
        secrets: EpochSecrets,
        catalog: Catalog,
        peer: Post,
        dealer: Post,
        desk: QueryDesk,
        executor: Executor,
        settings: RoleSettings,
        meters: Meters,
        alarm: Alarm,
    ) -> None:
        super().__init__(
            index=0,
            secrets=secrets,
            catalog=catalog,
            peer=peer,
            dealer=dealer,
            desk=desk,
            executor=executor,
            settings=settings,
            meters=meters,
            alarm=alarm,
        )
        self._missing = Missing(self.spawn, lambda: self.supply.top_up())
        self._wanted = Wanted()
        self._turns = {rung: Turns(MAX_RUNS) for rung in LADDER}
        self._stream_turns = Turns(settings.streams)
        self._batches = itertools.count()
        # Streamed bundles that were asked for and have not begun.
        self._begun: dict[int, asyncio.Future[BundleHeader]] = {}
        self._streams: set[int] = set()

        self._audits = LeadAudits(self._secrets.epoch, settings.audit, self._tell)

        def request(deal: Deal) -> None:
            if self._audits.rate and not deal.streamed:
                self._audits.toss(range(deal.bundle, deal.bundle + deal.count))
                deal = deal.model_copy(update={"vouch": True})
            self._tell_dealer(Kind.DEAL, deal.bundle, 0, deal.encode())

        sizes = KeySizes(catalog, self.sizes)
        self.supply = Supply(
            pool=self.pool,
            request=request,
            served=self._kept_ready,
            targets=settings.pool,
            dropped=lambda number: self._tell(Kind.DROPPED, number),
            bundle_bytes=sizes.bundle_bytes,
            group=sizes.group,
            streamed=sizes.streamed,
            busy=lambda: bool(self._runs),
            max_bytes=settings.max_pool_bytes,
        )

    @property
    def targets(self) -> Mapping[PoolKey, int]:
        return self.supply.targets

    @property
    def streams(self) -> int:
        return len(self._streams)

    def start(self) -> None:
        """Begin to fill the pool."""
        self.supply.top_up()

    def receive(self, peer: int, message: Message) -> None:
        """A message of party 1 or 2.

        Raises:
            WireError: one that party 0 does not expect from that party.
        """
        match peer, message.kind:
            case ((1 | 2), Kind.DECLINED):
                self._on_declined(message.bundle)
            case 2, Kind.DEALT:
                self._on_dealt(BundleHeader.parse(message.payload))
            case 1, Kind.AGREE:
                run = self._runs.get(message.bundle)
                if run is not None:
                    run.agree(RunAgreement.parse(message.payload).digest)
            case 1, (Kind.COIN | Kind.MASKS | Kind.VERDICT):
                self._receive_of_audit(message)
            case 1, _:
                self._receive_of_run(message)
            case _:
                raise WireError("a message that party 0 does not expect of the dealer")

    def bundle_ready(self) -> None:
        self.supply.top_up()

    def models_changed(self) -> None:
        super().models_changed()
        self._missing.clear()
        self.supply.top_up()

    def _on_dealt(self, header: BundleHeader) -> None:
        """The dealer has finished bundles: prepare our halves. A streamed one begins."""
        if header.streamed:
            begun = self._begun.pop(header.bundle, None)
            if begun is not None and not begun.done():  # else its run has ended meanwhile
                begun.set_result(header)
            return
        asked = self.pool.expected(header.bundle)
        if asked is None:
            return  # deleted meanwhile
        if (*asked.key, len(asked.numbers)) != (header.model, header.rung, header.count):
            raise WireError("a bundle for something else than was asked for")
        if self._catalog.find(header.model) is None:
            for number in asked.numbers:
                self.pool.drop(number)
            return
        if self._audits.rate:
            self._audits.dealt(header)
            self._prepare_others(header.bundle)
        else:
            self._prepare(header, self._expect(header), [None] * header.count)

    def _on_declined(self, bundle: int) -> None:
        """Another party does not hold the bundle's model; ask again when that may have changed."""
        key = self.pool.drop(bundle)
        if key is not None:
            self._missing.models.add(model_of(key[0]))
        if (begun := self._begun.pop(bundle, None)) is not None and not begun.done():
            begun.set_exception(not_there())
        if (run := self._runs.get(bundle)) is not None:
            run.abort(RunAborted())
        self._missing.ask_again_later()

    def submit(self, queries: Sequence[Query]) -> None:
        """Run queries of one model, in order; those that ask for one output go together."""
        by_variant: dict[str, list[Query]] = {}
        for query in queries:
            by_variant.setdefault(query.entry.variant, []).append(query)
        for together in by_variant.values():
            entry, batch = together[0].entry, next(self._batches)
            if entry.variant != entry.first_variant:
                self._wanted.ask(entry.variant)
            for rung, parts in cut(together, self.sizes.ladder(entry), self.sizes.run_rows(entry)):
                # Long runs, of a large network or batch, must not hold up the others.
                streamed = self.sizes.streamed(entry, rung)
                turns = self._stream_turns if streamed else self._turns[rung]
                self.spawn(self._run(rung, parts, turns.turn(entry.record.model, batch)))

    def _kept_ready(self) -> list[str]:
        """The served models' own outputs, and others that were asked for of late."""
        models = [model for model in self.served if model not in self._missing.models]
        first = [self._catalog.entries[model].first_variant for model in models]
        return [*first, *(variant for variant in self._wanted if model_of(variant) in models)]

    def dismiss(self, number: str) -> None:
        """Tell party 1 of a query that will not be run, so that it need not wait there."""
        self._tell_end(NO_BUNDLE, (number,))

    async def _run(
        self, rung: int, parts: Sequence[Part], turn: AbstractAsyncContextManager[None]
    ) -> None:
        try:
            async with turn:
                while (parts := [p for p in parts if not p.query.done.done()]) and (
                    refused := await self._attempt(rung, parts)
                ):
                    # Queries that party 1 will not compute fail alone; the others go again, on a
                    # new bundle: nothing of theirs has left yet.
                    self._fail([p for p in parts if p.query.number in refused])
        except BaseException:
            self._fail(parts)  # nobody waits for a run that has ended, however it ended
            raise

    async def _attempt(self, rung: int, parts: Sequence[Part]) -> tuple[str, ...]:
        """One run; the queries that party 1 refused, if any."""
        entry = parts[0].query.entry
        key = (entry.variant, rung)
        take = self._stream_bundle if self.sizes.streamed(entry, rung) else self._pool_bundle
        try:
            async with take(key, parts) as (number, bundle):
                await self._lead(number, bundle, entry, rung, parts)
        except RunAborted as ended:
            if set(ended.refused) & {p.query.number for p in parts}:
                return ended.refused
            raise
        return ()

    @contextlib.asynccontextmanager
    async def _pool_bundle(
        self, key: PoolKey, parts: Sequence[Part]
    ) -> AsyncIterator[tuple[int, Bundle]]:
        taken = await self.supply.take(key, self._settings.take_timeout)
        try:
            yield taken
        finally:
            self.supply.spent(key)

    @contextlib.asynccontextmanager
    async def _stream_bundle(
        self, key: PoolKey, parts: Sequence[Part]
    ) -> AsyncIterator[tuple[int, Bundle]]:
        """A bundle that is dealt while it is spent; the dealer is told where that ends early."""
        # SECURITY: its number is this run's from the start and never in a pool; whatever happens
        # now, nothing else is computed under it.
        number = self.supply.stream(key)
        asked = perf_counter()
        begun = self._begun[number] = asyncio.get_running_loop().create_future()
        self._streams.add(number)
        try:
            try:
                async with asyncio.timeout(self._settings.take_timeout):
                    header = await begun
            except TimeoutError:
                raise too_late() from None
            if (header.model, header.rung) != key:
                raise WireError("a bundle for something else than was asked for")
            bundle = self._streamed(header, self._expect(header))
            self.meters.taken(key, asked)
            try:
                yield number, bundle
            finally:
                await bundle.aclose()
        except BaseException:
            self._tell_dealer(Kind.ENDED, number)
            raise
        finally:
            self._begun.pop(number, None)
            self._streams.discard(number)

    async def _lead(
        self, number: int, bundle: Bundle, entry: Entry, rung: int, parts: Sequence[Part]
    ) -> None:
        """Name the bundle to party 1 and run."""
        header = RunHeader(
            bundle=number,
            model=entry.variant,
            rung=rung,
            slices=tuple(p.to_slice() for p in parts),
            digest=run_digest(self._secrets.epoch, number, entry, rung, parts).hex(),
        )
        run = self._open_run(header)
        run.expect_agreement()
        if isinstance(bundle, StreamedBundle):
            run.first_allowance = self._settings.take_timeout
            for part in parts:
                part.query.done.add_done_callback(lambda _: end_unless_wanted(run, parts))
        try:
            self._post(Kind.RUN, number, 0, header.encode(), more=True)
            await self._evaluate(run, entry, parts, bundle)
        except RunAborted as ended:
            if not set(ended.refused) & {p.query.number for p in parts}:
                self._tell_end(number)
            raise
        except Exception:
            self._tell_end(number)
            raise
        finally:
            self._close_run(run)
