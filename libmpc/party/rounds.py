"""The rounds of one run at an evaluator: its frames, their order and their time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from libmpc.errors import LibmpcError
from libmpc.link import Buffer
from libmpc.meters import Histogram
from libmpc.party.messages import RunHeader
from libmpc.party.run import Part, RunAborted
from libmpc.protocol.exchange import round_tag

log = logging.getLogger(__name__)

_TAGS_PER_STEP = round_tag(1, 0)

PostRound = Callable[[int, int, Buffer], None]


@dataclass(eq=False)
class Run:
    """The frames of one run. A step is sent once and accepted once, ever: tags rise both ways.

    One task runs the protocol and waits for one frame at a time. A round whose frame has come
    before costs no future; all of them together have one timer.

    Args:
        bundle: the bundle's number.
        header: what the run is for.
        post: sends one round's frame to the other evaluator, without waiting.
        timeout: seconds to wait for the other evaluator's frame of a round.
        allowance: by step, seconds more for the peer's work before it.
        first_allowance: seconds more for the first round.
        on_abort: called when the run is aborted.
        rounds: counts how long each round took.
    """

    bundle: int
    header: RunHeader
    post: PostRound
    timeout: float
    allowance: Sequence[float] = ()
    first_allowance: float = 0.0
    on_abort: Callable[[LibmpcError], None] | None = field(default=None, repr=False)
    rounds: Histogram = field(default_factory=Histogram, repr=False)
    _sent: int = -1  # tags of the last frame each way
    _received: int = -1
    _frames: dict[int, Buffer] = field(default_factory=dict, repr=False)
    _agreed: bool = True
    _error: LibmpcError | None = None
    _waiting: asyncio.Future[None] | None = field(default=None, repr=False)
    _deadline: float = 0.0
    _seconds: float = 0.0
    _timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    _timer_at: float = 0.0

    def expect_agreement(self) -> None:
        """Party 0: let the first round end only when party 1 has named the same digest."""
        self._agreed = False

    def agree(self, digest: str) -> None:
        """Party 1's digest has come."""
        if digest != self.header.digest:
            # SECURITY: on a mismatch nothing more is sent.
            self.abort(RunAborted())
            return
        self._agreed = True
        self._wake()

    async def exchange(self, tag: int, payload: Buffer) -> Buffer:
        """One round: send our masked values and wait for the peer's of the same tag.

        Raises:
            LibmpcError: the run has been aborted; mostly ``RunAborted``.
        """
        if self._error is not None:
            raise self._error
        # SECURITY: sending a step twice under the same masks gives one evaluator the weights.
        if tag <= self._sent:
            raise RunAborted
        first, self._sent = self._sent < 0, tag
        began = perf_counter()
        self.post(self.bundle, tag, payload)
        if not self._complete:
            await self._wait(self._time(tag, first=first))
            if self._error is not None:  # aborted after its last frame had come
                raise self._error
        self.rounds.since(began)
        return self._frames.pop(tag)  # all of them together may be large

    @property
    def _complete(self) -> bool:
        """Whether the round of the last frame sent can end."""
        return self._agreed and self._sent in self._frames

    def _time(self, tag: int, *, first: bool) -> float:
        """Seconds that a round may take."""
        step = tag // _TAGS_PER_STEP
        more = self.allowance[step] if step < len(self.allowance) else 0.0
        return self.timeout + more + (self.first_allowance if first else 0.0)

    def receive(self, tag: int, payload: Buffer) -> None:
        """A frame of the peer. A second one for the same round ends the run."""
        if tag <= self._received:
            self.abort(RunAborted())
            return
        self._received = tag
        self._frames[tag] = payload
        self._wake()

    def abort(self, error: LibmpcError) -> None:
        """Wake whoever waits for a frame, now or later; nothing more is sent."""
        self._error = error
        self._frames.clear()
        if self.on_abort is not None:
            self.on_abort(error)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def close(self) -> None:
        """The run is over: its timer ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._seconds, self._deadline = seconds, loop.time() + seconds
        if self._timer is None or self._timer_at > self._deadline:
            self._set_timer(loop)
        self._waiting = loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _wake(self) -> None:
        waiting = self._waiting
        if waiting is not None and self._complete and not waiting.done():
            waiting.set_result(None)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self.close()
        self._timer_at = self._deadline
        self._timer = loop.call_at(self._timer_at, self._on_time, loop)

    def _on_time(self, loop: asyncio.AbstractEventLoop) -> None:
        """The timer was set for this round, or for one before it, which has ended in time."""
        self._timer = None
        if self._waiting is None or self._waiting.done():
            return
        if loop.time() < self._deadline:
            self._set_timer(loop)
            return
        step = self._sent // _TAGS_PER_STEP
        log.warning(
            "bundle %d: no message of step %d within %.1f s", self.bundle, step, self._seconds
        )
        self.abort(RunAborted())


def end_unless_wanted(run: Run, parts: Sequence[Part]) -> None:
    """A long run need not go on once the time of all its queries is up."""
    if all(p.query.done.done() for p in parts):
        run.abort(RunAborted())
