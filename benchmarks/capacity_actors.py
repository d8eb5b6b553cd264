"""What the model of capacity is made of: stations, gateways and triples."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libmpc.runtime.forecast import RUNS
from libmpc.runtime.ladder import LADDER, compose
from libmpc.runtime.sizes import prepared_sizes

if TYPE_CHECKING:
    from benchmarks.capacity_model import Simulation

#: of a gateway and of a party, as their settings say
BATCHES, MAX_BATCHES, DELAY, ROWS, QUEUE = 2, 4, 0.02, 128, 1024
POOL_BYTES = 96 << 20


@dataclass
class Station:
    """Serves in the order of arrival, ``servers`` at a time."""

    name: str
    servers: int = 1
    speed: float = 1.0
    busy: float = 0.0
    _free: list[float] = field(default_factory=list)

    def at(self, now: float, seconds: float) -> float:
        """When work that arrives now is done."""
        if not self._free:
            self._free = [0.0] * self.servers
        seconds /= self.speed
        end = max(now, heapq.heappop(self._free)) + seconds
        heapq.heappush(self._free, end)
        self.busy += seconds
        return end


class Gateway:
    """Its core, and for each triple the queries that gather."""

    def __init__(self, model: Simulation, index: int) -> None:
        self._model = model
        self.core = model.core("gateway's core")
        most = model.scenario.own or len(model.triples)
        first = index * most if most * model.scenario.gateways <= len(model.triples) else index
        self._triples = [model.triples[(first + i) % len(model.triples)] for i in range(most)]
        self._waiting: dict[Triple, deque[tuple[float, float]]] = defaultdict(deque)
        self._flights: dict[Triple, list[int]] = defaultdict(list)
        self._armed: dict[Triple, bool] = defaultdict(bool)

    def take(self, began: float) -> None:
        """A query has arrived: count it, read it, and let it gather for the idlest triple."""
        model = self._model
        read = max(self.core.at(model.now, model.machine.gateway_cpu), model.reserve(1))
        model.later(read, lambda: self._queue(began))

    def _queue(self, began: float) -> None:
        model = self._model
        triple = min(self._triples, key=lambda one: one.load)
        if len(self._waiting[triple]) >= QUEUE:
            model.refused += 1
            return
        triple.load += model.scenario.images
        self._waiting[triple].append((began, model.now))
        self._pump(triple)

    def _pump(self, triple: Triple) -> None:
        """As ``services.gateway.batching``."""
        model, waiting, flights = self._model, self._waiting[triple], self._flights[triple]
        images = model.scenario.images
        while waiting and len(flights) < MAX_BATCHES:
            enough = not flights or (
                len(flights) < BATCHES and len(waiting) * images >= min(ROWS, *flights)
            )
            left = waiting[0][1] + DELAY - model.now
            if not enough and left > 1e-9:
                if not self._armed[triple]:
                    self._armed[triple] = True
                    model.later(model.now + left, lambda: self._ring(triple))
                return
            most = max(1, ROWS // images)
            taken = [waiting.popleft()[0] for _ in range(min(most, len(waiting)))]
            flights.append(len(taken) * images)
            model.batches.append(len(taken) * images)
            triple.batch(len(taken), lambda taken=taken: self._landed(triple, taken))  # type: ignore[misc]

    def _ring(self, triple: Triple) -> None:
        self._armed[triple] = False
        self._pump(triple)

    def _landed(self, triple: Triple, taken: list[float]) -> None:
        model = self._model
        images = model.scenario.images
        self._flights[triple].remove(len(taken) * images)
        triple.load -= len(taken) * images
        for began in taken:
            model.later(model.now, lambda began=began: model.answered(began))  # type: ignore[misc]
        self._pump(triple)


class Triple:
    """Three cores, the runs on them, and a pool of masks for each batch size."""

    def __init__(self, model: Simulation) -> None:
        self._model = model
        self.load = 0
        names = ("party 0's core", "party 1's core", "dealer's core")
        self.cores = tuple(model.core(name) for name in names)
        self.slots = Station("runs at once", RUNS)
        self._runs: deque[Callable[[], None]] = deque()
        self._running = 0
        self._pool: dict[int, int] = {}
        self._wanted: dict[int, deque[Callable[[], None]]] = defaultdict(deque)
        for rung in LADDER:
            bundle = sum(prepared_sizes(model.plan, rung).values())
            self._pool[rung] = max(1, POOL_BYTES // len(LADDER) // bundle)

    def batch(self, queries: int, done: Callable[[], None]) -> None:
        """Run a batch: its envelopes are opened, then one run for each rung it is made of."""
        model, now = self._model, self._model.now
        opened = max(
            core.at(now, (queries - 1) * model.machine.open_cpu) for core in self.cores[:2]
        )
        rungs = compose(queries * model.scenario.images, run_rows=model.run_rows)
        left = len(rungs)

        def ended() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        for rung in rungs:
            model.later(opened, lambda rung=rung: self._begin(rung, ended))  # type: ignore[misc]

    def _begin(self, rung: int, ended: Callable[[], None]) -> None:
        if self._running >= RUNS:
            self._runs.append(lambda: self._begin(rung, ended))
            return
        self._running += 1
        if self._pool[rung]:
            self._pool[rung] -= 1
            self._deal(rung)
            self._evaluate(rung, ended)
        else:
            self._wanted[rung].append(lambda: self._evaluate(rung, ended))
            self._deal(rung)

    def _evaluate(self, rung: int, ended: Callable[[], None]) -> None:
        model = self._model
        work = model.work[rung]
        # What a run computes is spread over its rounds; between them others have the core.
        cpu = max(core.at(model.now, work.evaluate) for core in self.cores[:2])
        carried = model.rounds.at(model.now, work.rounds)
        end = max(cpu, carried) + work.wait + work.delays * model.scenario.network.delay
        self.slots.busy += end - model.now
        model.later(end, lambda: self._over(ended))

    def _over(self, ended: Callable[[], None]) -> None:
        self._running -= 1
        ended()
        if self._runs:
            self._runs.popleft()()

    def _deal(self, rung: int) -> None:
        """A bundle in place of one that is used: dealt, sent, prepared."""
        model = self._model
        dealt = self.cores[2].at(model.now, model.work[rung].deal)
        model.later(dealt, lambda: self._send(rung))

    def _send(self, rung: int) -> None:
        model = self._model
        there = model.masks.at(model.now, model.work[rung].masks) + model.scenario.network.delay
        model.later(there, lambda: self._prepare(rung))

    def _prepare(self, rung: int) -> None:
        model, work = self._model, self._model.work[rung]
        first = self.cores[0].at(model.now, work.prepare)
        second = self.cores[1].at(model.now, work.prepare + work.receive)
        model.later(max(first, second), lambda: self._ready(rung))

    def _ready(self, rung: int) -> None:
        if self._wanted[rung]:
            self._wanted[rung].popleft()()
        else:
            self._pool[rung] += 1
