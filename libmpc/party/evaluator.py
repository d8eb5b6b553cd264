"""What both evaluators do within one epoch: keep a pool, run, abort, and let results leave.

``Leader`` (party 0) and ``Follower`` (party 1) build on this. An evaluator is made when an epoch
begins and closed when it ends; nothing of it survives into the next.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import LibmpcError
from libmpc.link import Buffer, Message
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.entry import Entry
from libmpc.party.epoch_tasks import EpochTasks
from libmpc.party.keys import CORRELATED, LEAVING, bundle_stream
from libmpc.party.messages import BundleHeader, Kind, RunAbort, RunHeader
from libmpc.party.meters import Meters
from libmpc.party.pool import Bundle, BundlePool, PoolKey
from libmpc.party.programs import Programs
from libmpc.party.rounds import Run
from libmpc.party.run import Part, RunAborted, stack, stack_labels, unavailable
from libmpc.party.settings import Alarm, EpochSecrets, Post, RoleSettings
from libmpc.party.sizes import Sizes
from libmpc.party.variants import model_of
from libmpc.prg import Stream
from libmpc.protocol import Compute, EvaluatorWeights, Payload
from libmpc.runtime import PreparedBundle, Preparer, StreamedBundle, prepare
from libmpc.wire.errors import WireError

log = logging.getLogger(__name__)


class Evaluator:
    """One evaluator within one epoch.

    Args:
        index: 0 or 1.
        secrets: the epoch and its secrets.
        catalog: the stored models.
        peer: posts to the other evaluator.
        dealer: posts to party 2.
        desk: where queries are found, and from where complete ones leave.
        executor: where bundles are prepared.
        settings, meters: bounds, and what this party counts.
        alarm: told of a failed audit.
    """

    def __init__(
        self,
        *,
        index: int,
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
        self.index = index
        self._alarm = alarm
        self.meters = meters
        self.pool = BundlePool(executor, meters)
        self.sizes = Sizes(settings.stream_bytes, settings.stream_window)
        self._secrets = secrets
        self._catalog = catalog
        self._peer = peer
        self._dealer = dealer
        self._desk = desk
        self._executor = executor
        self._settings = settings
        self._compute = Compute()
        self._programs = Programs()
        self._runs: dict[int, Run] = {}
        self._tasks = EpochTasks(meters)
        self.spawn = self._tasks.spawn
        self._closed = False

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        """Bundles that are ready, by model and batch size."""
        return self.pool.levels

    @property
    def targets(self) -> Mapping[PoolKey, int]:
        """Bundles that are to be kept ready; party 0 decides."""
        return {}

    @property
    def streams(self) -> int:
        """Streamed bundles under way."""
        raise NotImplementedError

    def close(self) -> None:
        """The epoch has ended: every run and every bundle with it."""
        self._closed = True
        for run in list(self._runs.values()):
            run.abort(RunAborted())
        self._tasks.close()
        self.pool.reset()

    # ---- frames of the other evaluator

    def _receive_of_run(self, message: Message) -> None:
        """A message that both evaluators may send.

        Raises:
            WireError: it is another one.
        """
        # A run that has ended here is one that the peer does not know of yet.
        run = self._runs.get(message.bundle)
        match message.kind:
            case Kind.ROUND:
                if run is not None:
                    run.receive(message.step, message.payload)
            case Kind.ABORT:
                abort = RunAbort.parse(message.payload)
                if run is not None:
                    log.info("bundle %d: the other evaluator has ended the run", run.bundle)
                    run.abort(RunAborted(abort.refused))
                else:
                    self._give_up(abort.refused)
            case _:
                raise WireError(f"a message that party {self.index} does not expect here")

    def _give_up(self, numbers: Sequence[str]) -> None:
        """Queries that the other evaluator will not run, and that are in no run here."""

    # ---- bundles

    def _expect(self, header: BundleHeader) -> Entry:
        """Check a dealer's header against our own catalog."""
        entry = self._catalog.find(header.model)
        if entry is None:
            raise WireError("a bundle for a model that is not stored here")
        if (header.plan, header.sharing) != (entry.plan.digest.hex(), entry.sharing.hex()):
            raise WireError("a bundle for another plan or sharing")
        return entry

    def _prepare(
        self,
        header: BundleHeader,
        entry: Entry,
        given: Sequence[Mapping[int, Payload] | None],
        audited: Collection[int] = (),
    ) -> None:
        """Prepare a group in a thread, but for what is audited.

        Args:
            given: each bundle's corrections, none at party 0.
        """
        weights, secret = entry.weights, self._secrets.correlated
        assert isinstance(weights, EvaluatorWeights)

        def one(number: int, part: Mapping[int, Payload] | None) -> PreparedBundle | None:
            if number in audited:
                return None
            stream = self._stream(secret, CORRELATED, header.model, number)
            return prepare(entry.plan, weights, header.rung, stream, part)

        async def work() -> None:
            numbered = list(enumerate(given, header.bundle))
            try:
                await self.pool.prepare(header.bundle, lambda: [one(*item) for item in numbered])
            finally:
                self.bundle_ready()

        self.spawn(work())

    def _streamed(
        self,
        header: BundleHeader,
        entry: Entry,
        corrections: Callable[[int], Awaitable[Payload]] | None = None,
        used: Callable[[int], None] = lambda step: None,
    ) -> StreamedBundle:
        """Our half of a bundle that is prepared while its run spends it."""
        weights = entry.weights
        assert isinstance(weights, EvaluatorWeights)
        stream = self._stream(self._secrets.correlated, CORRELATED, header.model, header.bundle)
        return StreamedBundle(
            Preparer(entry.plan, weights, header.rung, stream),
            window=self._settings.stream_window,
            corrections=corrections,
            used=used,
            compute=Compute(self._executor),
        )

    def _tell_dealer(self, kind: Kind, bundle: int, step: int = 0, body: bytes = b"") -> None:
        # SECURITY: as in ``_post``. Where the link is down, the epoch ends by itself.
        if not self._closed:
            with contextlib.suppress(LibmpcError):
                self._dealer(kind, bundle, step, body)

    def bundle_ready(self) -> None:
        """Called when the pool has gained a bundle."""

    @property
    def served(self) -> list[str]:
        """The models (digests) that bundles are kept for."""
        return [
            model
            for model, e in self._catalog.entries.items()
            if e.record.serving and (self._settings.limited or e.record.num_requests is None)
        ]

    def models_changed(self) -> None:
        """A model was pushed, served, stopped, replaced or deleted."""
        for variant, _ in self.pool.levels:
            if model_of(variant) not in self.served:
                self.pool.drop_model(variant)
        self.sizes.forget(list(self._catalog.entries))
        self._programs.forget(self._catalog.entries)

    # ---- runs

    async def _evaluate(
        self, run: Run, entry: Entry, parts: Sequence[Part], bundle: Bundle
    ) -> None:
        """The rounds of one run, then its rows to their queries."""
        weights, model, rung = entry.weights, run.header.model, run.header.rung
        assert isinstance(weights, EvaluatorWeights)
        # SECURITY: this stream starts only now that both evaluators have taken the bundle.
        leaving = self._stream(self._secrets.leaving, LEAVING, model, run.bundle)
        x = stack(parts, rung)
        width = entry.plan.label_width
        labels = None if width is None else stack_labels(parts, rung, width)
        program = self._programs.of(entry, weights, rung)
        began = perf_counter()
        with self.meters.run((model, rung), parts):
            y = await program.run(bundle, x, leaving, run.exchange, self._compute, labels)
        for part in parts:
            if (span := part.query.trace) is not None:
                if part.start == 0:
                    span.phase("wait for bundle", part.query.opened, began)
                span.phase("rounds", began, perf_counter())
        self._distribute(y, parts, bytes.fromhex(run.header.digest))

    def _distribute(self, y: NDArray[np.uint64], parts: Sequence[Part], digest: bytes) -> None:
        row = 0
        for part in parts:
            part.query.keep(part.start, part.stop, y[row : row + part.rows], digest)
            row += part.rows
            if part.query.complete and not part.query.released and not part.query.done.done():
                # SECURITY: from here on no run may take this query again: its half may be out.
                part.query.released = True
                self._desk.release(part.query)

    def _post(
        self, kind: Kind, bundle: int, step: int, payload: Buffer, *, more: bool = False
    ) -> None:
        # SECURITY: bundle numbers begin anew in the next epoch, on the same link; nothing of this
        # one may be sent into it.
        if self._closed:
            raise RunAborted
        # A run waits for the peer after each of its messages, so they cannot pile up.
        self._peer(kind, bundle, step, payload, more=more)

    def _tell(self, kind: Kind, bundle: int, body: bytes = b"") -> None:
        """Where the link is down, the peer ends the run or the bundle by itself."""
        with contextlib.suppress(LibmpcError):
            self._post(kind, bundle, 0, body)

    def _tell_end(self, bundle: int, refused: Sequence[str] = ()) -> None:
        self._tell(Kind.ABORT, bundle, RunAbort(refused=tuple(refused)).encode())

    def _fail(self, parts: Sequence[Part]) -> None:
        for query in (part.query for part in parts if not part.query.released):
            query.fail(unavailable())

    def _open_run(self, header: RunHeader) -> Run:
        entry = self._catalog.find(header.model)
        allowance = self.sizes.round_seconds(entry, header.rung) if entry is not None else ()
        timeout = self._settings.round_timeout
        run = Run(header.bundle, header, partial(self._post, Kind.ROUND), timeout, allowance)
        run.rounds = self.meters.rounds
        self._runs[header.bundle] = run
        return run

    def _close_run(self, run: Run) -> None:
        run.close()
        del self._runs[run.bundle]

    def _stream(self, secret: bytes, purpose: str, model: str, bundle: int) -> Stream:
        return bundle_stream(secret, self._secrets.epoch, purpose, model, bundle)
