"""How long a query takes and how many images a second go through, from a plan alone.

The model, with d the one-way delay between parties and R the plan's rounds::

    latency    = query + images·image + R·round + (R + 1)·d
                 + bytes online / bandwidth + arithmetic
    throughput = the least of
        processor  1 / seconds of the busiest party per image, preprocessing included
        bandwidth  of the link that has most to carry: evaluators each way, or dealer to party 1
        delay      images under way at once / latency of their run

R + 1, since party 1 can send its first message only when party 0 has named the bundle. Latency is
that with a bundle ready in the pool, seen by a client beside the gateway, which is beside the
parties: other ways come on top. Nor are slow starts of long links in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from libmpc.graph.plan import Plan, ProductStep
from libmpc.runtime.cost import plan_cost
from libmpc.runtime.ladder import compose, run_rows
from libmpc.runtime.sizes import prepared_sizes
from libmpc.runtime.speed import MEASURED, Machine

#: runs of a party at the same time
RUNS = 4


@dataclass(frozen=True)
class Network:
    """What lies between the parties.

    Attributes:
        delay: seconds, one way.
        bandwidth: bytes a second, each way of each link.
        shared_cores: where all services are on one machine: its cores; else each has its own.
    """

    name: str
    delay: float
    bandwidth: float
    shared_cores: int | None = None


GIGABIT = 125e6
NETWORKS = (
    Network("one machine", 0.0, float("inf"), shared_cores=2),
    Network("lan", 0.1e-3, 10 * GIGABIT),
    Network("20ms", 20e-3, GIGABIT),
    Network("20ms-100mbit", 20e-3, GIGABIT / 10),
    Network("100ms", 100e-3, GIGABIT),
    Network("100ms-100mbit", 100e-3, GIGABIT / 10),
)


@dataclass(frozen=True)
class Latency:
    """One query's seconds, by what they go to."""

    delay: float
    transfer: float
    arithmetic: float
    rounds: float
    query: float

    @property
    def total(self) -> float:
        return self.delay + self.transfer + self.arithmetic + self.rounds + self.query


@dataclass(frozen=True)
class Throughput:
    """Images a second that each bound allows, in runs of one batch size."""

    batch: int
    processor: float
    bandwidth: float
    delay: float

    @property
    def images(self) -> float:
        """The least of them."""
        return min(self.processor, self.bandwidth, self.delay)

    @property
    def bound(self) -> str:
        """Which one it is."""
        bounds = {"processor": self.processor, "bandwidth": self.bandwidth, "delay": self.delay}
        return min(bounds, key=bounds.__getitem__)


@dataclass(frozen=True)
class Forecast:
    """Estimates for a plan on one kind of machine."""

    plan: Plan
    machine: Machine = MEASURED

    def latency(self, batch: int, network: Network) -> Latency:
        """Of one query; one of more images than the largest batch takes several runs."""
        rungs = compose(batch, run_rows=run_rows(self.plan))
        runs = [self._run(rung, network) for rung in rungs]
        # Runs of one query overlap: while one waits, another computes.
        first = max(runs, key=lambda run: run.total)
        waves = -(-len(runs) // RUNS)
        return Latency(
            delay=first.delay * waves,
            transfer=sum(run.transfer for run in runs),
            arithmetic=sum(run.arithmetic for run in runs),
            rounds=sum(run.rounds for run in runs),
            query=self.machine.query + batch * self.machine.image,
        )

    def _run(self, rung: int, network: Network) -> Latency:
        cost, machine = plan_cost(self.plan, rung), self.machine
        online = cost.online_bytes
        computing = rung * self._macs * machine.mac + online * (
            machine.online_byte + machine.sent_byte
        )
        if network.shared_cores is not None:
            # Both evaluators compute at the same time.
            computing *= max(1.0, 2 / network.shared_cores)
        return Latency(
            delay=(cost.rounds + 1) * network.delay,
            transfer=online / network.bandwidth,
            arithmetic=computing,
            rounds=cost.rounds * machine.round,
            query=0.0,
        )

    def throughput(self, rung: int, network: Network) -> Throughput:
        """Of runs of one batch size, without end: everything that is used is dealt meanwhile."""
        cost, machine = plan_cost(self.plan, rung), self.machine
        evaluator, dealer = self.evaluator_seconds(rung), self.dealer_seconds(rung)
        received = self.received_seconds(rung)
        if network.shared_cores is None:
            busiest = max(evaluator + received, dealer) / machine.cores
        else:
            # The gateway and the client compute about what an evaluator does for a query.
            together = 2 * evaluator + received + dealer + machine.query_cpu
            busiest = together / (network.shared_cores * machine.shared)
        carried = max(cost.online_bytes, cost.correction_bytes)
        return Throughput(
            batch=rung,
            processor=rung / busiest,
            bandwidth=rung * network.bandwidth / carried if carried else float("inf"),
            delay=RUNS * rung / self._run(rung, network).total,
        )

    def evaluator_seconds(self, rung: int) -> float:
        """Processor time of an evaluator for one query of a run's size, and for its bundle."""
        cost, machine = plan_cost(self.plan, rung), self.machine
        return (
            self.prepare_seconds(rung)
            + rung * self._macs * machine.mac
            + cost.online_bytes * (machine.online_byte + machine.sent_byte)
            + cost.rounds * machine.round_cpu
            + machine.query_cpu
        )

    def prepare_seconds(self, rung: int) -> float:
        """Processor time of an evaluator to prepare a run's bundle."""
        size = sum(prepared_sizes(self.plan, rung).values())
        return rung * self._macs * self.machine.mac + size * self.machine.prepared_byte

    def received_seconds(self, rung: int) -> float:
        """Processor time of party 1 for the masks that it is sent for a run."""
        return plan_cost(self.plan, rung).correction_bytes * self.machine.bulk_byte

    def dealer_seconds(self, rung: int) -> float:
        """Processor time of the dealer for a run's bundle, until party 1 has it."""
        dealt = plan_cost(self.plan, rung).correction_bytes * self.machine.dealt_byte
        return rung * self._macs * self.machine.mac + dealt + self.received_seconds(rung)

    @property
    def _macs(self) -> int:
        linear = sum(step.macs for step in self.plan.linear_steps.values())
        return linear + sum(s.size for s in self.plan.steps if isinstance(s, ProductStep))
