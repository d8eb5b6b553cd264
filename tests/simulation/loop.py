"""An event loop on which time is simulated, and processes can be killed and frozen.

Nothing waits: once nothing is ready, the clock jumps to the next timer, so that a minute of
heartbeats takes milliseconds and every deadline of the code under test is on this clock. What runs
when depends on the order of calls and on the random generator of the schedule, on nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context, ContextVar, copy_context
from enum import Enum
from typing import Any

#: more callbacks than any schedule needs; beyond it something goes round without waiting
MAX_STEPS = 3_000_000


class Stuck(Exception):
    """Nothing is ready and nothing ever will be, or something goes round for ever."""


class Crash(BaseException):
    """Raised within the code of a process that has just been killed."""


class State(Enum):
    RUNNING = 1
    FROZEN = 2
    DEAD = 3


class Process:
    """What dies, freezes and starts as one. Its code runs in ``context``, whoever caused it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = State.RUNNING
        #: called with the receiver's name and the bytes that are about to be sent
        self.before_write: Callable[[str, int], None] | None = None
        self.was_frozen = False
        self.deferred: list[asyncio.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.on_death: list[Callable[[], None]] = []
        self.context = copy_context()
        self.context.run(_PROCESS.set, self)

    @property
    def dead(self) -> bool:
        return self.state is State.DEAD

    def __repr__(self) -> str:
        return f"<{self.name}, {self.state.name.lower()}>"

    def kill(self) -> None:
        """As ``kill -9``: not one more step of it runs, and no ``finally`` either."""
        if not self.dead:
            self.state = State.DEAD
            self.deferred.clear()
            for callback in self.on_death:
                callback()

    def freeze(self) -> None:
        """As SIGSTOP."""
        if self.state is State.RUNNING:
            self.state = State.FROZEN
            self.was_frozen = True

    def thaw(self, loop: SimLoop) -> None:
        """As SIGCONT: what became due meanwhile happens now, in order."""
        if self.state is State.FROZEN:
            self.state = State.RUNNING
            deferred, self.deferred = self.deferred, []
            loop.ready.extend(deferred)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def current_process() -> Process | None:
    """Whose code is running; ``None`` for the simulation's own."""
    return _PROCESS.get()


class _Numbered:
    """Equal sets of these are walked in the same order in every run of a seed."""

    _numbers = itertools.count()

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number: int = next(_Numbered._numbers)
            return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimFuture(_Numbered, asyncio.Future[Any]):
    __hash__ = _Numbered.__hash__


class SimTask(_Numbered, asyncio.Task[Any]):
    __hash__ = _Numbered.__hash__


class SimLoop(asyncio.AbstractEventLoop):
    """The loop.

    Args:
        rng: decides how long work in threads takes.

    Attributes:
        steps: callbacks run so far.
        trouble: what nobody has caught.
    """

    def __init__(self, rng: random.Random) -> None:
        _Numbered._numbers = itertools.count()  # the same in every run of a seed
        self.ready: deque[asyncio.Handle] = deque()
        self.steps = 0
        self.trouble: list[str] = []
        self._rng = rng
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self._threads: dict[Hashable, float] = {}

    # ---- what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Skipped when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[Any]:
        task = SimTask(coro, loop=self, name=name, context=context)
        # What a kill leaves behind is dropped on purpose.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        process = (context.get(_PROCESS) if context is not None else None) or _PROCESS.get()
        if process is not None:
            process.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        process = _PROCESS.get()
        if not isinstance(error, Crash) and (process is None or not process.dead):
            self.trouble.append(f"{process}: {context.get('message')}: {error!r}")

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """A thread: it begins after a while, and what it did is seen by others before whoever
        waits for it goes on."""
        future = self.create_future()
        begin = self._now + self._rng.expovariate(500)
        if executor is not None:  # a pool of one thread keeps its order
            begin = max(begin, self._threads.get(executor, 0.0))
            self._threads[executor] = begin
        # A thread that has begun cannot be cancelled.
        runs_anyway = self._rng.random() < 0.7

        def work() -> None:
            if future.cancelled() and not runs_anyway:
                return
            try:
                result = function(*args)
            except Crash:
                return
            except BaseException as error:  # noqa: BLE001 - the waiter's
                finish(future.set_exception, error)
            else:
                finish(future.set_result, result)

        def finish(how: Callable[[Any], None], value: Any) -> None:
            self.call_later(self._rng.expovariate(1000), tell, how, value)

        def tell(how: Callable[[Any], None], value: Any) -> None:
            if not future.done():
                how(value)

        self.call_at(begin, work)
        return future

    async def shutdown_asyncgens(self) -> None:
        """Nothing is left open."""

    # ---- running

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run until ``main`` has ended.

        Raises:
            Stuck: it never will.
        """
        asyncio.events._set_running_loop(self)
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
            task.result()
        finally:
            asyncio.events._set_running_loop(None)

    def _step(self) -> None:
        if not self.ready:
            self._jump()
        handle = self.ready.popleft()
        if handle.cancelled():
            return
        process: Process | None = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is not None and process.state is not State.RUNNING:
            if process.state is State.FROZEN:
                process.deferred.append(handle)
            return
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Stuck(f"{MAX_STEPS} callbacks, at {self._now:.3f} s")
        handle._run()  # type: ignore[attr-defined]

    def _jump(self) -> None:
        """Let time pass until the next timer."""
        while self._timers:
            when, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._now = max(self._now, when)
                self.ready.append(handle)
                return
        raise Stuck(f"everybody waits for nothing, at {self._now:.3f} s")


def bury(processes: list[Process], loop: SimLoop) -> None:
    """Close what dead processes have left, so that nothing of it runs when it is collected.

    On their loop, which what ends may still give work to; nobody does it any more.
    """
    asyncio.events._set_running_loop(loop)
    try:
        _close(processes)
    finally:
        asyncio.events._set_running_loop(None)


def _close(processes: list[Process]) -> None:
    for process in processes:
        for task in process.tasks:
            if not task.done():
                with contextlib.suppress(BaseException):
                    coroutine = task.get_coro()
                    assert coroutine is not None
                    coroutine.close()
        process.tasks.clear()
