"""A discrete-event model of gateways, batches, triples, links and dealers.

Time is the model's own, and every random number comes from one seed. Whatever does one thing after
the other is a ``Station``: a core, a link, the database. What is left out: loss, retries, failures,
slow starts of connections, the operating system. Constants are those of ``libmpc.runtime.speed``.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.capacity_actors import Gateway, Station, Triple
from libmpc.graph.plan import Plan
from libmpc.runtime.capacity import RESERVED_IMAGES
from libmpc.runtime.cost import plan_cost
from libmpc.runtime.forecast import Forecast, Network
from libmpc.runtime.ladder import LADDER, run_rows
from libmpc.runtime.speed import MEASURED, Machine

#: a durable write of a quota's reservation, and an evaluator's wait for a disk
WRITE_SECONDS = 2e-3


@dataclass(frozen=True)
class Work:
    """What a run of one batch size takes: seconds of a core, and bytes.

    Attributes:
        evaluate, prepare: at each evaluator; ``receive`` at party 1 beside it.
        deal: at the dealer.
        wait: of a run, when nobody computes for it, without delay.
        rounds, masks: bytes each way between the evaluators, and from the dealer.
    """

    evaluate: float
    prepare: float
    receive: float
    deal: float
    wait: float
    delays: int
    rounds: int
    masks: int

    @classmethod
    def of(cls, forecast: Forecast, rung: int) -> Work:
        """Of one batch size."""
        machine, cost = forecast.machine, plan_cost(forecast.plan, rung)
        # What of a query's time is nobody's computing is waiting for the network and the system.
        elsewhere = machine.query_cpu + machine.client_cpu + machine.gateway_cpu
        wait = cost.rounds * (machine.round - machine.round_cpu)
        prepare = forecast.prepare_seconds(rung)
        return cls(
            evaluate=forecast.evaluator_seconds(rung) - prepare,
            prepare=prepare,
            receive=forecast.received_seconds(rung),
            deal=forecast.dealer_seconds(rung),
            wait=wait + max(0.0, machine.query - elsewhere),
            delays=cost.rounds + 1,
            rounds=cost.online_bytes,
            masks=cost.correction_bytes,
        )


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        rate: queries a second, arriving at random; or ``clients`` that ask one after the other.
        images: in each query.
        own: triples that each gateway sends to, its neighbours; 0: all of them.
        limited: whether a token's quota has to be set aside in the database.
        seconds: simulated, the first fifth of which is not counted.
    """

    rate: float = 0.0
    clients: int = 0
    images: int = 1
    triples: int = 1
    gateways: int = 1
    own: int = 0
    network: Network = Network("near", 0.1e-3, float("inf"))
    limited: bool = False
    seconds: float = 5.0
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        used: of each kind of station the busiest one's share of the time.
        refused: queries that found the queue full.
    """

    images_per_second: float
    latencies: list[float]
    mean_batch: float
    used: dict[str, float]
    refused: int

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the queries was answered."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(share * len(found)))] if found else float("nan")

    @property
    def bottleneck(self) -> str:
        """What is used most."""
        return max(self.used, key=self.used.__getitem__)


class Simulation:
    """One run of a scenario."""

    def __init__(self, plan: Plan, scenario: Scenario, machine: Machine = MEASURED) -> None:
        self.plan, self.scenario, self.machine = plan, scenario, machine
        self.work = {rung: Work.of(Forecast(plan, machine), rung) for rung in LADDER}
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._random = random.Random(scenario.seed)
        self.run_rows = run_rows(plan)
        shared = scenario.network.shared_cores
        self._one = Station("the machine's cores", shared, machine.shared) if shared else None
        bandwidth = scenario.network.bandwidth
        # Between two organisations there is one link, whatever the number of triples.
        self.masks = Station("link 2 → 1", speed=bandwidth)
        self.rounds = Station("link 0 ⇄ 1", speed=bandwidth)
        self.database = Station("database")
        self.clients = self.core("client") if shared else Station("client", 1 << 10)
        self.triples = [Triple(self) for _ in range(scenario.triples)]
        self.gateways = [Gateway(self, index) for index in range(scenario.gateways)]
        self._latencies: list[float] = []
        self._reserved = 0
        self.batches: list[int] = []
        self.refused = 0

    def core(self, name: str) -> Station:
        """A core of its own, or where all are shared the machine's."""
        return self._one or Station(name)

    def later(self, when: float, work: Callable[[], None]) -> None:
        """Do something at a time that has not passed."""
        heapq.heappush(self._events, (when, next(self._order), work))

    def run(self) -> Outcome:
        """The whole of it."""
        scenario = self.scenario
        if scenario.clients:
            for _ in range(scenario.clients):
                self.later(self._random.uniform(0, 0.01), self._ask)
        else:
            self.later(0.0, self._arrive)
        while self._events and self._events[0][0] < scenario.seconds:
            self.now, _, work = heapq.heappop(self._events)
            work()
        counted = 0.8 * scenario.seconds
        return Outcome(
            images_per_second=len(self._latencies) * scenario.images / counted,
            latencies=self._latencies,
            mean_batch=sum(self.batches) / max(1, len(self.batches)),
            used=self._used(),
            refused=self.refused,
        )

    def _used(self) -> dict[str, float]:
        cores = [core for triple in self.triples for core in triple.cores]
        cores += [gateway.core for gateway in self.gateways]
        cores += [triple.slots for triple in self.triples]
        stations = [*cores, self.masks, self.rounds, self.database]
        used: dict[str, float] = defaultdict(float)
        for one in stations:
            share = one.busy / one.servers / self.scenario.seconds
            used[one.name] = max(used[one.name], share)
        return dict(used)

    # ---- queries

    def _arrive(self) -> None:
        self.later(self.now + self._random.expovariate(self.scenario.rate), self._arrive)
        self._ask()

    def _ask(self) -> None:
        began = self.now
        # Half of what a client computes: it seals here, and opens in the end.
        end = self.clients.at(self.now, self.machine.client_cpu / 2)
        gateway = self._random.choice(self.gateways)
        self.later(end, lambda: gateway.take(began))

    def reserve(self, images: int) -> float:
        """When a query's images are set aside durably."""
        self._reserved -= images
        if not self.scenario.limited or self._reserved >= 0:
            return self.now
        self._reserved = RESERVED_IMAGES
        return self.database.at(self.now, WRITE_SECONDS)

    def answered(self, began: float) -> None:
        """A query's answer is at its client, which opens it."""
        end = self.clients.at(self.now, self.machine.client_cpu / 2)
        self.later(end, lambda: self._opened(began))

    def _opened(self, began: float) -> None:
        if self.now >= 0.2 * self.scenario.seconds:
            self._latencies.append(self.now - began)
        if self.scenario.clients:
            self._ask()


def slower(machine: Machine, factor: float) -> Machine:
    """The same machine in a slower hour."""
    seconds = {
        name: getattr(machine, name) * factor
        for name in (
            *("mac", "online_byte", "prepared_byte", "dealt_byte", "sent_byte", "bulk_byte"),
            *("round", "round_cpu", "query", "image", "query_cpu"),
            *("gateway_cpu", "open_cpu", "client_cpu"),
        )
    }
    return replace(machine, **seconds)
