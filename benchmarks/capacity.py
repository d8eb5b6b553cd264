"""Where the first bottleneck is at 10, 1,000 and 100,000 queries a second, by simulation.

    python -m benchmarks.capacity                # the tables of docs/capacity.md
    python -m benchmarks.capacity --measure      # the model against this machine (a minute; idle)

The model is ``capacity_model``. With ``--measure`` one triple of real services answers the same
load as the model, on the cores of this machine; the machine's speed is fitted by the first row, so
the others say how good the model is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libmpc
from benchmarks.capacity_model import Outcome, Scenario, Simulation, slower
from benchmarks.deployment import served
from benchmarks.networks import CNN
from libmpc.graph.plan import Plan
from libmpc.runtime.capacity import Demand, plan_capacity
from libmpc.runtime.forecast import GIGABIT, NETWORKS, Network
from libmpc.runtime.speed import MEASURED

FAR = Network("5 ms, 1 Gbit/s", 5e-3, GIGABIT)
WIDE = Network("5 ms, 400 Gbit/s", 5e-3, 400 * GIGABIT)
HERE = NETWORKS[0]
#: of what comes in, that must be answered: arrivals are random, and the time is short
_MOST = 0.9


@dataclass(frozen=True)
class Row:
    """One load on one deployment."""

    scenario: Scenario
    outcome: Outcome

    @property
    def keeps_up(self) -> bool:
        """Whether what comes in is answered, within a second."""
        asked = self.scenario.rate * self.scenario.images
        answered = self.outcome.images_per_second >= _MOST * asked
        return answered and self.outcome.percentile(0.99) < 1


def growing(plan: Plan) -> Iterator[Row]:
    """Each load on one triple, then on what ``libmpc capacity`` plans for it."""
    for load, seconds in ((10.0, 60.0), (1_000.0, 5.0), (100_000.0, 1.5)):
        for network in (FAR, WIDE):
            planned = plan_capacity(plan, Demand(load, network=network))
            most = int(planned["triples"]), int(planned["gateways"])
            sizes = [(1, 1, 0), (*most, 0)] if load < 1e5 else [(*most, 2)]
            if load >= 1e5 and network is WIDE:
                sizes.insert(0, (*most, 0))
            for triples, gateways, own in sizes:
                scenario = Scenario(
                    rate=load,
                    triples=triples,
                    gateways=gateways,
                    own=own,
                    network=network,
                    limited=True,
                    seconds=seconds,
                )
                yield Row(scenario, Simulation(plan, scenario).run())


def scaling(plan: Plan) -> Iterator[Row]:
    """The most that so many triples answer, with links and gateways to spare."""
    for triples in (1, 2, 4):
        best: Row | None = None
        for load in range(200, 1600, 200):
            scenario = Scenario(
                rate=float(load * triples),
                triples=triples,
                gateways=2 * triples,
                own=1,
                network=WIDE,
                seconds=3.0,
            )
            row = Row(scenario, Simulation(plan, scenario).run())
            if not row.keeps_up:
                break
            best = row
        if best is not None:
            yield best


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    head = ("queries/s", "deployment", "link", "answered/s", "50 %", "99 %", "images a run")
    lines = [(*head, "busiest", "then"), ("---",) * (len(head) + 2)]
    for row in rows:
        scenario, found = row.scenario, row.outcome
        used = sorted(found.used.items(), key=lambda one: -one[1])[:2]
        own = f", {scenario.own} for each gateway" if scenario.own else ""
        size = f"{scenario.triples:,} triple{'s' * (scenario.triples > 1)}{own}"
        size += f", {scenario.gateways:,} gateway{'s' * (scenario.gateways > 1)}"
        answered = f"{found.images_per_second:,.0f}"
        lines.append(
            (
                f"{scenario.rate:,.0f}",
                size,
                scenario.network.name,
                answered if row.keeps_up else f"**{answered}**",
                _milliseconds(found.percentile(0.5)),
                _milliseconds(found.percentile(0.99)),
                f"{found.mean_batch:.1f}",
                *(f"{name} {min(share, 1):.0%}" for name, share in used),
            )
        )
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f} ms"


def document() -> str:
    """The generated tables of ``docs/capacity.md``."""
    plan = CNN.model.plan
    return f"{table(list(growing(plan)))}\n{table(list(scaling(plan)))}"


#: clients and images in each query
LOADS = ((1, 1), (2, 128), (32, 1), (8, 8))


def compared(measured: Sequence[float], fitted: float) -> Iterator[tuple[str, float, float]]:
    """What was measured beside what the model says on a machine that much slower.

    Args:
        measured: images a second for each of ``LOADS``, or of as many as there are.
    """
    machine = slower(MEASURED, fitted)
    for (clients, images), found in zip(LOADS, measured, strict=False):
        scenario = Scenario(clients=clients, images=images, network=HERE, seconds=10 * fitted)
        simulated = Simulation(CNN.model.plan, scenario, machine).run()
        yield f"{clients} clients × {images} images", found, simulated.images_per_second


def fit(images_per_second: float) -> float:
    """How much slower than ``MEASURED`` a machine is on which one client gets so many answers."""
    one = Scenario(clients=1, network=HERE, seconds=5.0)
    return Simulation(CNN.model.plan, one).run().images_per_second / images_per_second


def measure(seconds: float) -> list[float]:
    """Images a second of a real triple on this machine, for each of ``LOADS``."""
    found = []
    with libmpc.LocalCluster() as cluster, served(cluster, CNN) as subject:
        for clients, images in LOADS:
            subject.ask(images, concurrency=clients, seconds=2)  # the first use pools
            done = subject.ask(images, concurrency=clients, seconds=seconds)
            found.append(done.samples_per_second)
    return found


def _print(title: str, measured: Sequence[float]) -> None:
    fitted = fit(measured[0])
    print(f"{title}: {fitted:.2f} times slower than the constants, fitted on the first row")
    print("| load | measured | simulated | difference |\n| --- | --- | --- | --- |")
    for what, real, simulated in compared(measured, fitted):
        difference = simulated / real - 1
        print(f"| {what} | {real:,.0f} images/s | {simulated:,.0f} | {difference:+.0%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="compare with real services")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured at each load")
    options = parser.parse_args()
    if options.measure:
        _print("this machine", measure(options.seconds))
    else:
        print(document())


if __name__ == "__main__":
    main()
