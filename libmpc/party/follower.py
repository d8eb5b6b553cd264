"""Party 1 within one epoch: it checks what party 0 chose, and computes or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from libmpc.errors import InputError
from libmpc.link import Buffer, Message
from libmpc.party.auditing import AuditingFollower
from libmpc.party.audits import FollowAudits
from libmpc.party.catalog import Catalog
from libmpc.party.desk import QueryDesk
from libmpc.party.entry import Entry
from libmpc.party.framing import split
from libmpc.party.groups import Arrival
from libmpc.party.messages import BundleHeader, Kind, RunAgreement, RunHeader, Slice
from libmpc.party.meters import Meters
from libmpc.party.queries import Query
from libmpc.party.rounds import Run
from libmpc.party.run import Part, RunAborted, run_digest, tag_check
from libmpc.party.settings import Alarm, EpochSecrets, Post, RoleSettings
from libmpc.party.streams import Corrections
from libmpc.runtime import StreamedBundle, correction_sizes
from libmpc.runtime.ladder import LADDER
from libmpc.wire.errors import WireError


class Follower(AuditingFollower):
    """Party 1."""

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
            index=1,
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
        self._arrival: Arrival | None = None  # of the group that is on its way
        self._declined: set[int] = set()  # first numbers of what still comes and is ignored
        self._streams: dict[int, tuple[Corrections, StreamedBundle]] = {}
        self._ended: set[int] = set()  # streams of which more may still come
        self._dropping: set[asyncio.Task[None]] = set()
        self._audits = FollowAudits(self._secrets.epoch, self._tell)

    @property
    def streams(self) -> int:
        return len(self._streams)

    def start(self) -> None:
        """Party 0 begins everything."""

    def submit(self, queries: Sequence[Query]) -> None:
        """Party 0 says when they run, and with which bundle."""

    def dismiss(self, number: str) -> None:
        """Party 0 hears of it when it names the query."""

    def receive(self, peer: int, message: Message) -> None:
        """A message of party 0 or 2.

        Raises:
            WireError: one that party 1 does not expect from that party.
        """
        match peer, message.kind:
            case 2, Kind.BUNDLE:
                head, first = split(message.payload)
                self._on_bundle(BundleHeader.parse(head), first)
            case 2, Kind.CORRECTION:
                self._on_correction(message.bundle, message.step, message.payload)
            case 2, Kind.ENDED:
                self._end_stream(message.bundle)
                self._ended.discard(message.bundle)
                self._declined.discard(message.bundle)
            case 0, (Kind.TOSS | Kind.COIN | Kind.SHOWN):
                self._receive_of_audit(message)
            case 0, Kind.RUN:
                self._on_run(RunHeader.parse(message.payload))
            case 0, Kind.DROPPED:
                self.pool.drop(message.bundle)
            case 0, _:
                self._receive_of_run(message)
            case _:
                raise WireError("a message that party 1 does not expect of the dealer")

    # ---- bundles

    def _on_bundle(self, header: BundleHeader, first: Buffer) -> None:
        """The dealer begins a bundle, or a group of them with the first piece."""
        numbers = range(header.bundle, header.bundle + header.count)
        if header.rung not in LADDER:
            raise WireError("a bundle for an unknown batch size")
        if not header.streamed and self._arrival is not None:
            raise WireError("a bundle before the last one is complete")
        if self._catalog.find(header.model) is None:
            # A push that is in force at the others already, or a delete that is not yet.
            self.pool.reserve(numbers)
            self._declined.add(header.bundle)
            self._decline(numbers)
            return
        entry = self._expect(header)
        expected = correction_sizes(entry.plan, header.rung)
        if header.streamed:
            self._begin_stream(header, entry, expected)
            return
        self._arrival = Arrival(header, expected)
        self.pool.announce(numbers, (header.model, header.rung))
        self._on_piece(0, first)

    def _on_correction(self, bundle: int, step: int, payload: Buffer) -> None:
        if bundle in self._declined or bundle in self._ended:
            return
        if bundle in self._streams:
            self._streams[bundle][0].receive(step, payload)
        elif self._arrival is not None and self._arrival.header.bundle == bundle:
            self._on_piece(step, payload)
        else:
            raise WireError("an unexpected correction")

    def _on_piece(self, number: int, piece: Buffer) -> None:
        arrival = self._arrival
        assert arrival is not None
        if not arrival.take(number, piece):
            return
        self._arrival = None
        header = arrival.header
        try:
            entry = self._expect(header)
        except WireError:  # deleted while they were on their way
            self._decline(range(header.bundle, header.bundle + header.count))
            return
        corrections = arrival.corrections()
        if not self._held_for_audit(header, corrections):
            self._prepare(header, entry, corrections)

    def _decline(self, numbers: range) -> None:
        for number in numbers:
            self.pool.drop(number)
            self._tell(Kind.DECLINED, number)

    def _begin_stream(
        self, header: BundleHeader, entry: Entry, expected: Mapping[int, int]
    ) -> None:
        """A bundle that is prepared while its run spends it; the run is named by party 0."""
        number = header.bundle

        def used(step: int) -> None:
            if step in expected and number in self._streams:
                self._tell_dealer(Kind.CREDIT, number, step)

        corrections = Corrections(expected)
        bundle = self._streamed(header, entry, corrections, used)
        self._streams[number] = corrections, bundle
        self.pool.hold(number, (header.model, header.rung), bundle)

    def _end_stream(self, number: int, *, early: bool = False) -> None:
        """Drop a stream, whether its run has spent it, has ended, or was never begun.

        Args:
            early: the dealer does not know yet: tell it, and ignore what it sends meanwhile.
        """
        self.pool.drop(number)
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        corrections, bundle = stream
        corrections.end(RunAborted())
        self._drop(bundle)
        if early:
            self._ended.add(number)
            self._tell_dealer(Kind.ENDED, number)

    def _drop(self, bundle: StreamedBundle) -> None:
        # Not for the epoch only, as ``spawn``: it is dropped when the epoch ends, too.
        task = asyncio.get_running_loop().create_task(bundle.aclose())
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    def close(self) -> None:
        super().close()
        for number in list(self._streams):
            self._end_stream(number)

    # ---- runs

    def _on_run(self, header: RunHeader) -> None:
        """Party 0 begins a run; its first round is right behind."""
        if header.bundle in self._runs:
            raise WireError("a run that is under way")
        self.spawn(self._follow(header, self._open_run(header)))

    def _give_up(self, numbers: Sequence[str]) -> None:
        for number in numbers:
            self._desk.dismiss(number)

    async def _follow(self, header: RunHeader, run: Run) -> None:
        parts: list[Part] = []
        spent = False
        try:
            entry = self._catalog.find(header.model)
            if entry is None or header.rung not in LADDER:
                raise RunAborted
            late = [s.query for s in header.slices if not self._desk.knows(s.query)]
            if late:
                await asyncio.gather(*map(self._desk.find, late))
            found = [self._part(s, header.model) for s in header.slices]
            parts = [p for p in found if p is not None]
            # SECURITY: taken before anything that depends on it is sent, and gone even if the run
            # ends at once: party 0 has sent its first message under it.
            bundle = await self.pool.take_named(
                header.bundle, (header.model, header.rung), self._settings.take_timeout
            )
            refused = [s.query for s, p in zip(header.slices, found, strict=True) if p is None]
            if refused:
                self._tell_end(header.bundle, refused)
                return
            self._check(header, entry, parts)
            agreement = RunAgreement(digest=header.digest)
            self._post(Kind.AGREE, header.bundle, 0, agreement.encode(), more=True)
            if header.bundle in self._streams:
                run.on_abort = self._streams[header.bundle][0].end
            await self._evaluate(run, entry, parts, bundle)
            spent = True
        except asyncio.CancelledError:
            self._fail(parts)
            raise
        except Exception:
            self._fail(parts)
            self._tell_end(header.bundle)
            raise
        finally:
            self._close_run(run)
            self._end_stream(header.bundle, early=not spent)

    def _part(self, item: Slice, model: str) -> Part | None:
        """The rows that party 0 named, or ``None`` where this query cannot be computed."""
        query = self._desk.found(item.query)
        if query is None or query.released or query.entry.variant != model:
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
