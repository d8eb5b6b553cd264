"""Party 0 within one epoch: it chooses the bundle of every run and names it to party 1."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor

from libmpc.party.catalog import Catalog
from libmpc.party.evaluator import EpochSecrets, Evaluator, Send
from libmpc.party.messages import BundleHeader, Deal, Kind, RunAgreement, RunHeader
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.party.run import Part, RunAborted, cut, run_digest
from libmpc.party.supply import Supply
from libmpc.wire.errors import WireError

#: in place of a bundle's number, where a query ends that was in no run
NO_BUNDLE = 0
#: pause before bundles are asked for that another party had no model for
ASK_AGAIN_SECONDS = 0.1
#: runs of one party at the same time; while one waits for a round another computes
MAX_RUNS = 4


class Leader(Evaluator):
    """Party 0.

    Args (besides those of ``Evaluator``):
        dealer: sends to party 2.
        targets: how many bundles to hold, by rung.
        bundle_bytes: memory that one bundle takes.
        max_pool_bytes: memory for all bundles.
        take_timeout: seconds that a run waits for a bundle.
    """

    def __init__(
        self,
        *,
        secrets: EpochSecrets,
        catalog: Catalog,
        peer: Send,
        dealer: Send,
        release: Callable[[Query], None],
        executor: Executor,
        round_timeout: float,
        targets: Mapping[int, int],
        bundle_bytes: Callable[[PoolKey], int],
        max_pool_bytes: int,
        take_timeout: float,
    ) -> None:
        super().__init__(
            index=0,
            secrets=secrets,
            catalog=catalog,
            peer=peer,
            release=release,
            executor=executor,
            round_timeout=round_timeout,
        )
        self._take_timeout = take_timeout
        self._asking = False
        self._slots = asyncio.Semaphore(MAX_RUNS)

        def request(deal: Deal) -> None:
            self.spawn(self._request(dealer, deal))

        self.supply = Supply(
            pool=self.pool,
            request=request,
            served=lambda: self.served,
            targets=targets,
            bundle_bytes=bundle_bytes,
            max_bytes=max_pool_bytes,
        )

    @staticmethod
    async def _request(dealer: Send, deal: Deal) -> None:
        await dealer(Kind.DEAL, deal.bundle, 0, deal.encode())

    def bundle_ready(self) -> None:
        self.supply.top_up()

    def models_changed(self) -> None:
        super().models_changed()
        self.supply.top_up()

    def on_dealt(self, header: BundleHeader) -> None:
        """The dealer has finished a bundle: prepare our half."""
        asked = self.pool.expected(header.bundle)
        if asked is None:
            return  # deleted meanwhile
        if asked != (header.model, header.rung):
            raise WireError("a bundle for something else than was asked for")
        if header.model not in self._catalog.entries:
            self.pool.drop(header.bundle)
            return
        entry = self._expect(header)
        self._prepare(header, entry)

    def on_declined(self, bundle: int) -> None:
        """Another party does not hold the bundle's model; ask again when that may have changed."""
        self.pool.drop(bundle)
        if not self._asking:
            self._asking = True
            self.spawn(self._ask_again())

    async def _ask_again(self) -> None:
        await asyncio.sleep(ASK_AGAIN_SECONDS)
        self._asking = False
        self.supply.top_up()

    def on_agreement(self, bundle: int, agreement: RunAgreement) -> None:
        run = self._runs.get(bundle)
        if run is not None:
            run.agree(agreement.digest)

    def submit(self, queries: Sequence[Query]) -> None:
        """Run queries of one model, in order."""
        for rung, parts in cut(queries):
            self.spawn(self._run(rung, parts))

    def dismiss(self, number: str) -> None:
        """Tell party 1 of a query that will not be run, so that it need not wait there."""
        self.spawn(self._tell_end(NO_BUNDLE, (number,)))

    async def _run(self, rung: int, parts: Sequence[Part]) -> None:
        try:
            async with self._slots:
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
        model = entry.record.model
        number, bundle = await self.supply.take((model, rung), self._take_timeout)
        header = RunHeader(
            bundle=number,
            model=model,
            rung=rung,
            slices=tuple(p.to_slice() for p in parts),
            digest=run_digest(self._secrets.epoch, number, entry, rung, parts).hex(),
        )
        run = self._open_run(header)
        run.expect_agreement()
        try:
            await self._send(Kind.RUN, number, 0, header.encode())
            await self._evaluate(run, entry, parts, bundle)
        except RunAborted as ended:
            if set(ended.refused) & {p.query.number for p in parts}:
                return ended.refused
            await self._tell_end(number)
            raise
        except Exception:
            await self._tell_end(number)
            raise
        finally:
            del self._runs[number]
        return ()
