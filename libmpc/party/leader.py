"""Party 0 within one epoch: it chooses the bundle of every run and names it to party 1."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from libmpc.link import Message
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.evaluator import EpochSecrets, Evaluator, RoleSettings, Send
from libmpc.party.messages import BundleHeader, Deal, Kind, RunAgreement, RunHeader
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.party.run import Part, RunAborted, cut, run_digest
from libmpc.party.supply import Supply
from libmpc.runtime import plan_cost
from libmpc.wire.errors import WireError

#: in place of a bundle's number, where a query ends that was in no run
NO_BUNDLE = 0
#: memory of a prepared bundle, as a multiple of its corrections (1.33 for the tutorial CNN, 1.45
#: for a wide perceptron)
PREPARED_FACTOR = 1.5
#: first and longest pause before bundles are asked for that another party had no model for
ASK_AGAIN_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
#: runs of one party at the same time; while one waits for a round another computes
MAX_RUNS = 4


class Leader(Evaluator):
    """Party 0.

    Args (besides those of ``Evaluator``):
        dealer: sends to party 2.
    """

    def __init__(
        self,
        *,
        secrets: EpochSecrets,
        catalog: Catalog,
        peer: Send,
        dealer: Send,
        desk: QueryDesk,
        executor: Executor,
        settings: RoleSettings,
    ) -> None:
        super().__init__(
            index=0,
            secrets=secrets,
            catalog=catalog,
            peer=peer,
            desk=desk,
            executor=executor,
            settings=settings,
        )
        self._asking = False
        self._pause = ASK_AGAIN_SECONDS
        self._missing: set[str] = set()  # models that another party does not hold
        self._slots = asyncio.Semaphore(MAX_RUNS)
        self._sizes: dict[PoolKey, int] = {}

        def request(deal: Deal) -> None:
            self.spawn(self._request(dealer, deal))

        self.supply = Supply(
            pool=self.pool,
            request=request,
            served=lambda: [model for model in self.served if model not in self._missing],
            targets=settings.pool,
            bundle_bytes=self._bundle_bytes,
            max_bytes=settings.max_pool_bytes,
        )

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
            case 1, _:
                self._receive_of_run(message)
            case _:
                raise WireError("a message that party 0 does not expect of the dealer")

    def _bundle_bytes(self, key: PoolKey) -> int:
        entry = self._catalog.entries.get(key[0])
        if key not in self._sizes and entry is not None:
            corrections = plan_cost(entry.plan, key[1]).correction_bytes
            self._sizes[key] = int(PREPARED_FACTOR * corrections)
        return self._sizes.get(key, 0)

    @staticmethod
    async def _request(dealer: Send, deal: Deal) -> None:
        await dealer(Kind.DEAL, deal.bundle, 0, deal.encode())

    def bundle_ready(self) -> None:
        self.supply.top_up()

    def models_changed(self) -> None:
        super().models_changed()
        self._pause = ASK_AGAIN_SECONDS
        self._missing.clear()
        self.supply.top_up()

    def _on_dealt(self, header: BundleHeader) -> None:
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

    def _on_declined(self, bundle: int) -> None:
        """Another party does not hold the bundle's model; ask again when that may have changed."""
        key = self.pool.drop(bundle)
        if key is not None:
            self._missing.add(key[0])
        if not self._asking:
            self._asking = True
            self.spawn(self._ask_again())

    async def _ask_again(self) -> None:
        # The party may never hold it, after a restored backup: it must not be dealt for in vain
        # all the time.
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._asking = False
        self._missing.clear()
        self.supply.top_up()

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
        number, bundle = await self.supply.take((model, rung), self._settings.take_timeout)
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
