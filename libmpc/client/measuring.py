"""How quickly a deployment answers, seen from the client's side: nothing else is looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from libmpc.client.final import Answer
from libmpc.client.sync import Client
from libmpc.errors import InputError

Connect = Callable[[], Client]
Check = Callable[[Answer], None]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Measurement:
    """Queries that were all answered.

    Attributes:
        batch: samples in each query.
        concurrency: clients that asked at the same time, one query after the other each.
        seconds: from the beginning of the first query to the end of the last.
        latencies: seconds of each query, in the order in which they ended.
    """

    batch: int
    concurrency: int
    seconds: float
    latencies: tuple[float, ...] = field(repr=False)

    @property
    def queries(self) -> int:
        """How many there were."""
        return len(self.latencies)

    @property
    def median(self) -> float:
        """Seconds that half of the queries took at most."""
        return self.quantile(0.5)

    @property
    def samples_per_second(self) -> float:
        """All samples over all of the time."""
        return self.batch * self.queries / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds that this share of the queries took at most."""
        return float(np.quantile(self.latencies, share))


def measure(
    connect: Connect,
    name: str,
    x: NDArray[np.generic],
    *,
    concurrency: int = 1,
    queries: int | None = None,
    seconds: float | None = None,
    warm_up: int = 1,
    output: str | None = None,
    before: Callable[[], object] = lambda: None,
    check: Check = lambda answer: None,
    progress: Progress = lambda done: None,
) -> Measurement:
    """Ask a model the same thing many times.

    Each of ``concurrency`` clients has connections of its own and asks as soon as it has its last
    answer. The time of a query includes checking the input, sharing, sealing, retries, opening
    and putting the answer together.

    Args:
        connect: makes a client; called ``concurrency`` times.
        name: the model's.
        x: the query, (batch, *input_shape).
        queries: how many to ask in all; with ``seconds`` also at least so many.
        seconds: how long to go on asking; queries under way by then are waited for and counted.
        warm_up: queries of each client that come first and do not count.
        output: what to ask for, as for ``Client.query``.
        before: called before each query, outside of its time.
        check: called with each answer, outside of the query's time; what it raises ends it all.
        progress: called with the number of answers so far.

    Raises:
        InputError: neither ``queries`` nor ``seconds`` is given, or a number makes no sense.
        ServiceError: a query failed, retries included.
    """
    if queries is None and seconds is None:
        raise InputError("say how many queries to ask, or for how many seconds")
    given = [number for number in (concurrency, queries, seconds) if number is not None]
    if warm_up < 0 or not all(number > 0 for number in given):
        raise InputError("concurrency, queries and seconds must be above 0")
    asking = _Asking(name, x, output, queries, seconds, before, check, progress)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect()) for _ in range(concurrency)]
        threads = stack.enter_context(ThreadPoolExecutor(concurrency, "libmpc-measure"))
        stack.callback(asking.stop)  # on Ctrl-C as well, before the threads are waited for
        for _ in threads.map(lambda client: asking.warm_up(client, warm_up), clients):
            pass
        asking.begin()
        for _ in threads.map(asking.ask, clients):
            pass
    ends = asking.end - asking.start
    return Measurement(len(x), concurrency, ends, tuple(asking.latencies))


class _Asking:
    """What the clients' threads share."""

    def __init__(
        self,
        name: str,
        x: NDArray[np.generic],
        output: str | None,
        queries: int | None,
        seconds: float | None,
        before: Callable[[], object],
        check: Check,
        progress: Progress,
    ) -> None:
        self.latencies: list[float] = []
        self.start = self.end = 0.0
        self._name, self._x, self._output = name, x, output
        self._queries, self._seconds = queries, seconds
        self._before, self._check, self._progress = before, check, progress
        self._begun = 0
        self._stopped = False
        self._lock = threading.Lock()

    def warm_up(self, client: Client, queries: int) -> None:
        for _ in range(queries):
            if not self._stopped:
                self._check(client.query(self._name, self._x, output=self._output))

    def stop(self) -> None:
        """Begin no more queries."""
        self._stopped = True

    def begin(self) -> None:
        self.start = self.end = time.perf_counter()

    def ask(self, client: Client) -> None:
        """Ask until it is enough, or until another client's query has failed."""
        try:
            while self._next():
                self._before()
                begin = time.perf_counter()
                answer = client.query(self._name, self._x, output=self._output)
                end = time.perf_counter()
                self._check(answer)
                with self._lock:
                    self.latencies.append(end - begin)
                    self.end = max(self.end, end)
                    self._progress(len(self.latencies))
        except BaseException:
            self.stop()
            raise

    def _next(self) -> bool:
        """Whether one more query is wanted; counts it."""
        with self._lock:
            few = self._queries is not None and self._begun < self._queries
            early = self._seconds is not None and time.perf_counter() < self.start + self._seconds
            if self._stopped or not (few or early):
                return False
            self._begun += 1
            return True
