"""Party 1 within one epoch: it checks what party 0 chose, and computes or refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from libmpc.errors import InputError
from libmpc.link import Message
from libmpc.party.catalog import Catalog, Entry
from libmpc.party.desk import QueryDesk
from libmpc.party.evaluator import EpochSecrets, Evaluator, RoleSettings, Send
from libmpc.party.messages import BundleHeader, Kind, RunAgreement, RunHeader, Slice
from libmpc.party.queries import Query
from libmpc.party.run import LADDER, Part, Run, RunAborted, run_digest, tag_check
from libmpc.runtime import correction_sizes
from libmpc.wire.errors import WireError


class Follower(Evaluator):
    """Party 1."""

    def __init__(
        self,
        *,
        secrets: EpochSecrets,
        catalog: Catalog,
        peer: Send,
        desk: QueryDesk,
        executor: Executor,
        settings: RoleSettings,
    ) -> None:
        super().__init__(
            index=1,
            secrets=secrets,
            catalog=catalog,
            peer=peer,
            desk=desk,
            executor=executor,
            settings=settings,
        )
        self._coming: dict[int, BundleHeader] = {}
        self._declined: set[int] = set()

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
                self._on_bundle(BundleHeader.parse(message.payload))
            case 2, Kind.CORRECTION:
                self._on_correction(message.bundle, message.step, bytes(message.payload))
            case 0, Kind.RUN:
                self._on_run(RunHeader.parse(message.payload))
            case 0, _:
                self._receive_of_run(message)
            case _:
                raise WireError("a message that party 1 does not expect of the dealer")

    # ---- bundles

    def _on_bundle(self, header: BundleHeader) -> None:
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

    def _on_correction(self, bundle: int, step: int, payload: bytes) -> None:
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
        try:
            entry = self._catalog.entries.get(header.model)
            if entry is None or header.rung not in LADDER:
                raise RunAborted
            found = await asyncio.gather(*(self._part(s, header.model) for s in header.slices))
            parts = [p for p in found if p is not None]
            # SECURITY: taken before anything that depends on it is sent, and gone even if the run
            # ends at once: party 0 has sent its first message under it.
            bundle = await self.pool.take_named(
                header.bundle, (header.model, header.rung), self._settings.take_timeout
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
        query = await self._desk.find(item.query)
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
