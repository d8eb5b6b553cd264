"""Which triple gets a query, the one that it is sealed for; and which one the next is to be for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from libmpc.errors import ConflictError, ServiceError, UnavailableError
from libmpc.wire.errors import WireError
from libmpc.wire.headers import QueryHeader
from libmpc.wire.keys import PartyKey
from libmpc.wire.signed import Signed
from services.gateway.timers import Timers
from services.gateway.triple import Triple

T = TypeVar("T")
KeySet = tuple[Triple, list[Signed]]

#: keys of one triple that are remembered: it has a few, since old ones are good for a while
MAX_KEYS = 64
#: how often the triples are asked whose an unknown key is, at most
ASK_SECONDS = 1.0
#: how long one slow triple may hold up the keys of the others
KEYS_SECONDS = 0.5
#: errors of a query that another triple would answer no better
_SAME_ELSEWHERE = ("memory_full", "stopping", "tokens", "late")


class Router:
    """All triples of a deployment.

    A query can be answered by one triple only, since it is sealed to its keys. So the choice is
    the client's, on the gateway's word: with its keys, and with a hint in every answer.

    Args:
        make: makes the triple of a number.
    """

    def __init__(self, make: Callable[[int], Triple], timers: Timers) -> None:
        self._make = make
        self._timers = timers
        self._running = False
        self.triples = [make(0)]
        self._owners: OrderedDict[str, Triple] = OrderedDict()  # by party 0's key id
        self._turn = 0
        self._asked: float | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def first(self) -> Triple:
        """Triple 0, where models are managed."""
        return self.triples[0]

    def start(self) -> None:
        """Begin to link up."""
        self._running = True
        for triple in self.triples:
            self._begin(triple)

    def _begin(self, triple: Triple) -> None:
        triple.start()
        # With one triple there is nothing to choose.
        if len(self.triples) > 1:
            for each in self.triples:
                each.watch()

    def resize(self, count: int) -> list[Triple]:
        """Have so many triples; returns those that are to leave, the last ones."""
        while len(self.triples) < count:
            triple = self._make(len(self.triples))
            self.triples.append(triple)
            if self._running:
                self._begin(triple)
        gone, self.triples = self.triples[count:], self.triples[:count]
        for triple in gone:
            triple.leaving = True
            for key in [key for key, owner in self._owners.items() if owner is triple]:
                del self._owners[key]
        return gone

    def ready(self) -> list[Triple]:
        """Those that can answer, the least loaded first; equal ones take turns."""
        if len(self.triples) == 1:
            return self.triples
        self._turn += 1
        count = len(self.triples)
        found = [self.triples[(self._turn + i) % count] for i in range(count)]
        return sorted((t for t in found if t.ready), key=lambda triple: triple.load)

    def hint(self, rows: int) -> int | None:
        """Where a client whose query was answered should send the next; None: it makes no odds.

        Args:
            rows: samples of that query; the next is thought to have as many.
        """
        if len(self.triples) == 1:
            return None
        ready = self.ready()
        if not ready:
            return None
        ready[0].promise(rows)
        return ready[0].number

    def of(self, header: QueryHeader) -> Triple | None:
        """Whose keys a query was sealed to; ``None`` if ``find`` has to ask."""
        if len(self.triples) == 1:
            return self.triples[0]
        return self._owners.get(header.key_ids[0])

    async def find(self, header: QueryHeader) -> Triple:
        """As ``of``, but another gateway may have handed the keys out.

        Raises:
            ConflictError: they are no triple's, or not any more.
        """
        now = self._timers.now()
        if self._asking is None and (self._asked is None or now - self._asked >= ASK_SECONDS):
            self._asked = now
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._answered)
        if self._asking is not None:
            await asyncio.shield(self._asking)
        triple = self.of(header)
        if triple is None:
            text = "the query was sealed to keys that no triple has any more; fetch the new ones"
            raise ConflictError(text, status=409)
        return triple

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waits has it

    async def _ask(self) -> None:
        await self._sets([triple for triple in self.triples if triple.up])

    async def key_sets(self, only_first: bool = False) -> list[KeySet]:
        """The keys of the triples that are ready, the least loaded first.

        Args:
            only_first: of triple 0 alone: it counts requests.

        Raises:
            ServiceError: of no triple.
        """
        if only_first or len(self.triples) == 1:
            return [(self.first, await self._keys(self.first))]
        triples = self.ready() or [t for t in self.triples if t.up] or [self.first]
        if self.first.up and self.first not in triples:
            triples.append(self.first)  # to be pushed to, at least
        return await self._sets(triples)

    async def _sets(self, triples: Sequence[Triple]) -> list[KeySet]:
        tasks = {triple: asyncio.ensure_future(self._keys(triple)) for triple in triples}
        if not tasks:
            return []
        try:
            found = await self._until_one(tasks)
        finally:
            for task in tasks.values():
                task.cancel()
        return found

    async def _until_one(self, tasks: dict[Triple, asyncio.Task[list[Signed]]]) -> list[KeySet]:
        """Those that are there soon; or the first one."""
        await asyncio.wait(tasks.values(), timeout=KEYS_SECONDS)
        while True:
            found = [
                (triple, task.result())
                for triple, task in tasks.items()
                if task.done() and task.exception() is None
            ]
            left = [task for task in tasks.values() if not task.done()]
            if found or not left:
                break
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        if not found:
            raise next(error for task in tasks.values() if (error := task.exception()))
        return found

    async def _keys(self, triple: Triple) -> list[Signed]:
        keys = await triple.parties.keys()
        if len(self.triples) > 1:
            self._learn(triple, keys[0])
        return keys

    def _learn(self, triple: Triple, signed: Signed) -> None:
        # Whether it is true is for the client to see; a wrong one leads to a refusal at most.
        with contextlib.suppress(WireError):
            key = PartyKey.parse(signed.document)
            if not triple.leaving:
                self._owners[key.key_id] = triple
                self._owners.move_to_end(key.key_id)
        while len(self._owners) > MAX_KEYS * len(self.triples):
            self._owners.popitem(last=False)

    async def read(self, ask: Callable[[Triple], Awaitable[T]]) -> T:
        """Ask triple 0; or, where that cannot answer, another one that is ready.

        Raises:
            ServiceError: what triple 0 says, if none can.
        """
        triples = [self.first, *(t for t in self.ready() if t is not self.first)]
        if len(triples) > 1 and not self.first.up:
            triples.append(triples.pop(0))
        problem: UnavailableError | None = None
        for triple in triples:
            try:
                return await ask(triple)
            except UnavailableError as error:
                if triple is self.first or problem is None:
                    problem = error
        assert problem is not None
        raise problem

    async def reason(self, only_first: bool = False) -> str:
        """Why queries cannot be answered; empty when a triple can, or triple 0 where it must."""
        if only_first or len(self.triples) == 1:
            return await self.first.parties.reason()
        if any(triple.ready for triple in self.triples):
            return ""
        reasons = await asyncio.gather(*(triple.parties.reason() for triple in self.triples))
        if "" in reasons:
            return ""
        return "; ".join(f"triple {number}: {reason}" for number, reason in enumerate(reasons))

    def names(self) -> set[str]:
        """The models that there were when they were last listed."""
        return {name for triple in self.triples for name in triple.catalogue.names}

    def forget(self, name: str) -> None:
        """What was known of a model's name may have changed."""
        for triple in self.triples:
            triple.catalogue.forget(name)

    def failed(self, triple: Triple, error: ServiceError) -> None:
        """A query came to nothing there: count it, if it is one to ask another triple."""
        lost = error.status == 503 and error.code not in _SAME_ELSEWHERE
        if lost and any(other.ready for other in self.triples if other is not triple):
            triple.meters.failovers += 1
