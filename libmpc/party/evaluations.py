"""The private evaluations that are under way at an evaluator; in memory only."""

from __future__ import annotations

import asyncio

from libmpc.clock import Clock
from libmpc.errors import ConflictError, InputError, LimitError
from libmpc.party.queries import Collect, Part
from libmpc.party.run import reply_digest
from libmpc.party.tally import Tally
from libmpc.wire.evaluation import Evaluation

#: an evaluation of which nothing has come for so long is dropped
IDLE_SECONDS = 600.0
MAX_EVALUATIONS = 1024
#: numbers kept for all evaluations together
MAX_KEPT = 1 << 22


class Evaluations:
    """Lets parts and requests for the sum in, and drops what is never finished.

    They outlive epochs: a part's sum depends on no live bundle. A restart of the party ends them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallies: dict[bytes, Tally] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._tallies)

    def find(self, number: bytes) -> Tally:
        """The evaluation of that number.

        Raises:
            ConflictError: there is none here.
        """
        if number not in self._tallies:
            raise _unknown()
        return self._tallies[number]

    def join(self, request: Part | Collect) -> None:
        """Find a request's evaluation; the first part begins it.

        Raises:
            ConflictError: there is no such evaluation here (any more), or its sum has been made.
            InputError: the request does not fit it.
            LimitError: too many evaluations are under way.
        """
        self.sweep()
        evaluation = request.evaluation
        if isinstance(request, Part) and request.rows != evaluation.rows_of(request.index):
            raise InputError("the query does not have as many samples as its evaluation's part")
        terms = _terms(request)
        tally = self._tallies.get(evaluation.number)
        if tally is None:
            tally = self._begin(request)
        # SECURITY: each envelope says for itself to whom the sum goes and over how many samples;
        # so nobody who learns the number can have a part of it counted for another key or list.
        elif not tally.is_of(*terms):
            raise InputError("the query is of another evaluation than the one of that number")
        if tally.sealed is not None and isinstance(request, Part):
            raise ConflictError("the evaluation's sum has been made; begin a new one", status=409)
        tally.touched = self._clock.monotonic()
        request.tally = tally

    def add(self, part: Part) -> None:
        """A part has been computed.

        Raises:
            ConflictError: its evaluation is over.
            LimitError: no more can be kept.
        """
        tally = part.tally
        if self._tallies.get(tally.evaluation.number) is not tally:
            raise _unknown()
        if tally.sealed is not None:
            raise ConflictError("the evaluation's sum has been made; begin a new one", status=409)
        if sum(each.kept for each in self._tallies.values()) >= MAX_KEPT:
            raise LimitError("too many evaluations; try again later", status=429, retry_after=30)
        tally.add(part.index, bytes.fromhex(part.number), reply_digest(part), part.total)
        tally.touched = self._clock.monotonic()

    def sweep(self) -> None:
        """Drop what nobody has gone on with."""
        oldest = self._clock.monotonic() - IDLE_SECONDS
        self._tallies = {n: t for n, t in self._tallies.items() if t.touched > oldest}

    def _begin(self, request: Part | Collect) -> Tally:
        if not isinstance(request, Part) or request.index != 0:
            raise _unknown()
        if len(self._tallies) >= MAX_EVALUATIONS:
            raise LimitError("too many evaluations; try again later", status=429, retry_after=30)
        model, output, evaluation, reply_key = _terms(request)
        shape, now = request.entry.plan.output_shape, self._clock.monotonic()
        tally = Tally(model, output, evaluation, shape, reply_key, now)
        self._tallies[evaluation.number] = tally
        if self._timer is None:
            self._set_timer()
        return tally

    def _set_timer(self) -> None:
        """Shares do not stay for longer only because nothing else comes."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(IDLE_SECONDS, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.sweep()
        if self._tallies:
            self._set_timer()


def _terms(request: Part | Collect) -> tuple[str, str, Evaluation, bytes]:
    model, _, output = request.entry.variant.partition(":")
    return model, output, request.evaluation, request.reply_key


def _unknown() -> ConflictError:
    return ConflictError(
        "the evaluation is not known here: nothing of it came for "
        f"{IDLE_SECONDS / 60:g} minutes, or the party was started anew; begin it again",
        status=409,
    )
