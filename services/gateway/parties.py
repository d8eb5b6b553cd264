"""What is asked of all three parties: readiness, keys, lists, and changes that all make."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import TypeVar

from libmpc.errors import ServiceError, UnavailableError
from libmpc.link import Buffer
from libmpc.party.messages import Kind, ModelList, PartyStatus
from libmpc.wire.errors import WireError
from libmpc.wire.signed import Signed
from services.gateway.errors import RETRY_SECONDS, most_specific, reading, unreachable
from services.gateway.links import PartyLink
from services.gateway.timers import Timers

T = TypeVar("T")
ALL = (0, 1, 2)
#: how long an answer about readiness may be repeated
STATUS_SECONDS = 0.2


class Parties:
    """Three links as one.

    Args:
        links: to parties 0, 1 and 2.
        call_timeout: seconds that a party may take to answer a short question.
        commit_timeout: seconds to go on trying when a party is lost in the middle of a change.
    """

    def __init__(
        self,
        links: Sequence[PartyLink],
        timers: Timers,
        *,
        call_timeout: float,
        commit_timeout: float,
    ) -> None:
        self.links = links
        self._timers = timers
        self._call_timeout = call_timeout
        self._commit_timeout = commit_timeout
        self._reason = ""
        self._asked: float | None = None
        self._asking: asyncio.Task[str] | None = None

    def check_up(self, parties: Sequence[int] = ALL) -> None:
        """Raise UnavailableError, naming them, unless these parties are reachable."""
        down = [party for party in parties if not self.links[party].up]
        if len(down) == 1:
            raise unreachable(down[0])
        if down:
            text = "parties " + " and ".join(map(str, down))
            raise UnavailableError(
                f"{text} are not reachable; try again in a moment",
                status=503,
                retry_after=RETRY_SECONDS,
            )

    async def reason(self) -> str:
        """Why queries cannot be answered; empty when they can. Asks five times a second at most."""
        now = self._timers.now()
        if self._asked is None or now - self._asked >= STATUS_SECONDS:
            if self._asking is None:
                self._asking = asyncio.ensure_future(self._find_reason())
                self._asking.add_done_callback(self._asked_now)
            # Shielded, since others may wait for the same answer.
            return await asyncio.shield(self._asking)
        try:
            self.check_up()  # what is lost shows at once
        except UnavailableError as error:
            return str(error)
        return self._reason

    def _asked_now(self, task: asyncio.Task[str]) -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is None:
            self._reason, self._asked = task.result(), self._timers.now()

    async def _find_reason(self) -> str:
        try:
            self.check_up()
            answers = await self._ask_all(Kind.STATUS)
        except ServiceError as error:
            return str(error)
        statuses = []
        for party, answer in enumerate(answers):
            try:
                status = PartyStatus.parse(answer)
            except WireError:
                return f"party {party} gave no proper answer; see its log"
            if not status.ready:
                return f"party {party} is not ready: {status.reason}"
            statuses.append(status)
        if len({status.epoch for status in statuses}) != 1:
            return "the parties are agreeing on a new epoch"
        return ""

    async def keys(self) -> list[Signed]:
        """Each party's signed short-lived key."""
        self.check_up()
        keys = []
        for party, answer in enumerate(await self._ask_all(Kind.KEYS)):
            with reading(party):
                keys.append(Signed.parse(answer))
        return keys

    async def models(self, party: int) -> ModelList:
        """What one party has stored."""
        answer = await self.links[party].call(Kind.MODELS, timeout=self._call_timeout)
        with reading(party):
            return ModelList.parse(answer)

    async def _ask_all(self, kind: Kind) -> list[Buffer]:
        calls = [link.call(kind, timeout=self._call_timeout) for link in self.links]
        return await all_of(calls)

    async def change(self, kind: Kind, payload: bytes, *, some: bool = False) -> None:
        """Make all three do something that may be done twice.

        Args:
            some: one that does not hold the model has nothing to do, if another one does.

        A party that is lost meanwhile is asked again when it is back, for ``commit_timeout``
        seconds; should that not be enough, the parties tell each other when they meet.

        Raises:
            ServiceError: one refused, or was not back in time; names it.
        """
        self.check_up()
        missing: list[ServiceError] = []

        async def change(link: PartyLink) -> None:
            try:
                await self._insist(link, kind, payload)
            except ServiceError as error:
                if not some or error.status != HTTPStatus.NOT_FOUND:
                    raise
                missing.append(error)

        await all_of([change(link) for link in self.links])
        if len(missing) == len(self.links):
            raise missing[0]

    async def _insist(self, link: PartyLink, kind: Kind, payload: bytes) -> None:
        loss: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._timers.call_later(self._commit_timeout, lambda: _expire(loss, link.party))
        work = asyncio.ensure_future(self._until_answered(link, kind, payload))
        try:
            await asyncio.wait({work, loss}, return_when=asyncio.FIRST_COMPLETED)
            await (work if work.done() else loss)
        finally:
            timer.cancel()
            work.cancel()
            loss.cancel()

    async def _until_answered(self, link: PartyLink, kind: Kind, payload: bytes) -> None:
        while True:
            try:
                await link.call(kind, payload, timeout=self._commit_timeout)
            except UnavailableError:
                if link.up:  # it is there and does not answer
                    raise
                await link.wait_up()
            else:
                return


def _expire(future: asyncio.Future[None], party: int) -> None:
    if not future.done():
        text = (
            f"party {party} is not reachable; the others may have made the change, and it follows"
            " when it is back; ask for the list of models, and try again if need be"
        )
        error = UnavailableError(text, status=503, retry_after=RETRY_SECONDS)
        future.set_exception(error)


async def all_of(calls: Sequence[Awaitable[T]]) -> list[T]:
    """The results of all calls, which run at the same time and to their ends.

    Raises:
        ServiceError: the most specific of what went wrong.
    """
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors: list[ServiceError] = []
    found: list[T] = []
    for result in results:
        if isinstance(result, ServiceError):
            errors.append(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            found.append(result)
    if errors:
        raise most_specific(errors)
    return found
