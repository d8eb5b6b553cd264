"""Links to the parties: kept up for ever, and requests over them with their answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

from libmpc.clock import Clock
from libmpc.errors import ConfigError, ServiceError, UnavailableError
from libmpc.link import Buffer, Link, LinkError, Message
from libmpc.link.hello import TRACES_SINCE
from libmpc.party.messages import Kind
from services.gateway.errors import RETRY_SECONDS, refused, unreachable
from services.gateway.timers import Timers

logger = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.05, 2.0
NUMBER_BYTES = 16
Dial = Callable[[], Awaitable[Link]]


class Answers(Protocol):
    """Who waits for what a party says to one request."""

    def on_response(self, status: int, payload: Buffer) -> None:
        """The request as a whole was answered: the last that is heard of it."""
        ...

    def on_result(self, number: bytes, status: int, payload: Buffer) -> None:
        """One query of a batch was answered."""
        ...

    def on_lost(self, error: ServiceError) -> None:
        """Nothing more will come."""
        ...


class Session:
    """Requests over one link, from when it is made until it is over.

    Args:
        party: who is at the other end.
        link: not yet started.
    """

    def __init__(self, party: int, link: Link, timers: Timers) -> None:
        self.party = party
        self._link = link
        self._timers = timers
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Answers] = {}
        link.start(self._take, self._end)

    @property
    def alive(self) -> bool:
        return self._link.alive

    @property
    def takes_traces(self) -> bool:
        """Whether the party knows the field that names a query's trace."""
        return self._link.version[1] >= TRACES_SINCE

    @property
    def peer_key(self) -> bytes:
        """The static key that the party has proven."""
        return self._link.peer_key

    def begin(self, kind: Kind, payload: tuple[Buffer, ...], answers: Answers) -> int:
        """Send a request without waiting; returns its number.

        Raises:
            UnavailableError: the link is over.
        """
        number = next(self._numbers)
        try:
            self._link.post(kind, number, 0, *payload)
        except LinkError:
            raise unreachable(self.party) from None
        self._waiting[number] = answers
        return number

    def forget(self, request: int) -> None:
        """Whatever may still come to this request is not wanted any more."""
        self._waiting.pop(request, None)

    async def call(self, kind: Kind, *payload: Buffer, timeout: float) -> Buffer:
        """Send a request and return the answer.

        Raises:
            ServiceError: refused; or the link was lost, or no answer came within ``timeout`` s.
        """
        return await self.ask(kind, *payload, timeout=timeout)

    def ask(self, kind: Kind, *payload: Buffer, timeout: float) -> Coroutine[None, None, Buffer]:
        """As ``call``, but the request is on its way, and ``payload`` let go, before the wait."""
        call = _Call(self.party)
        return self._answer(self.begin(kind, payload, call), call, timeout)

    async def _answer(self, request: int, call: _Call, timeout: float) -> Buffer:
        timer = self._timers.call_later(timeout, lambda: call.late(timeout))
        try:
            return await call.answer
        finally:
            timer.cancel()
            self.forget(request)

    async def close(self) -> None:
        """End the link; within a second."""
        await self._link.close()

    async def wait_closed(self) -> None:
        """Return when the link is over."""
        await self._link.wait_closed()

    def _take(self, message: Message) -> None:
        answers = self._waiting.get(message.bundle)
        if message.kind == Kind.RESPONSE:
            self.forget(message.bundle)
            if answers is not None:
                answers.on_response(message.step, message.payload)
        elif message.kind == Kind.RESULT:
            if answers is not None:
                view = memoryview(message.payload)
                number, body = bytes(view[:NUMBER_BYTES]), view[NUMBER_BYTES:]
                answers.on_result(number, message.step, body)
        else:
            raise LinkError("the link broke: an unknown message arrived")

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answers in waiting.values():
            answers.on_lost(unreachable(self.party))


class _Call:
    """One answer for one waiter."""

    def __init__(self, party: int) -> None:
        self._party = party
        self.answer: asyncio.Future[Buffer] = asyncio.get_running_loop().create_future()

    def on_response(self, status: int, payload: Buffer) -> None:
        if self.answer.done():
            return
        if status == 200:
            self.answer.set_result(payload)
        else:
            self.answer.set_exception(refused(self._party, payload))

    def on_result(self, number: bytes, status: int, payload: Buffer) -> None:
        pass

    def on_lost(self, error: ServiceError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def late(self, seconds: float) -> None:
        text = f"party {self._party} did not answer within {seconds:g} s; try again"
        self.on_lost(UnavailableError(text, status=503, retry_after=RETRY_SECONDS))


class PartyLink:
    """The gateway's one long-lived link to a party, made again whenever it is lost.

    Args:
        party: its index.
        dial: makes a new link to it; raises LinkError.
        on_change: called whenever the party becomes reachable or stops being so.
    """

    def __init__(
        self,
        party: int,
        dial: Dial,
        *,
        timers: Timers,
        clock: Clock,
        on_change: Callable[[int, bool], None] = lambda party, up: None,
    ) -> None:
        self.party = party
        self._dial = dial
        self._timers = timers
        self._clock = clock
        self._on_change = on_change
        self._session: Session | None = None
        self._changed = asyncio.Event()

    @property
    def up(self) -> bool:
        """Whether requests can be sent."""
        return self._session is not None and self._session.alive

    @property
    def session(self) -> Session:
        """The link of this moment.

        Raises:
            UnavailableError: there is none.
        """
        if self._session is None or not self._session.alive:
            raise unreachable(self.party)
        return self._session

    @property
    def peer_key(self) -> bytes | None:
        """The party's static key on the link of this moment, if there is one."""
        return self._session.peer_key if self._session is not None else None

    async def drop(self) -> None:
        """End the link of this moment; another one follows."""
        if self._session is not None:
            await self._session.close()

    async def call(self, kind: Kind, *payload: Buffer, timeout: float) -> Buffer:
        """As ``Session.call``."""
        return await self.session.call(kind, *payload, timeout=timeout)

    async def second(self) -> Session:
        """Another link of its own, for bulk that should not hold up queries; close it.

        Raises:
            UnavailableError: it cannot be made.
        """
        try:
            return Session(self.party, await self._dial(), self._timers)
        except LinkError:
            raise unreachable(self.party) from None

    async def wait_up(self) -> None:
        """Return once the party is reachable."""
        while not self.up:
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        delay, told = FIRST_DELAY, False
        try:
            while True:
                born = self._timers.now()
                try:
                    link = await self._dial()
                except (LinkError, ConfigError) as error:
                    reason = getattr(error, "reason", str(error))
                    level = logging.DEBUG if told else logging.WARNING
                    logger.log(level, "party %d is not reachable: %s", self.party, reason)
                    told = True
                else:
                    told = False
                    await self._serve(Session(self.party, link, self._timers))
                # One that ends at once is no success: whoever refuses us is not to be flooded.
                if self._timers.now() - born > LAST_DELAY:
                    delay = FIRST_DELAY
                await self._clock.sleep(delay * random.uniform(0.5, 1.0))
                delay = min(2 * delay, LAST_DELAY)
        finally:
            if self._session is not None:
                with contextlib.suppress(LinkError):
                    await self._session.close()

    async def _serve(self, session: Session) -> None:
        self._session = session
        logger.info("party %d is linked", self.party)
        self._changed.set()
        self._on_change(self.party, True)
        try:
            await session.wait_closed()
        finally:
            self._on_change(self.party, False)
        self._session = None
