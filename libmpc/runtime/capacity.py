"""From a model's cost and a load to triples, cores, memory, bandwidth and money, line by line.

Everything is arithmetic on a plan's declared cost and on the constants of ``speed``. What load does
to queues, and so to latency, is not in it: that is what the headroom is for, and what
``benchmarks/capacity.py`` simulates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from libmpc.graph.plan import Plan
from libmpc.runtime.cost import plan_cost
from libmpc.runtime.forecast import GIGABIT, Forecast, Network
from libmpc.runtime.ladder import LADDER, compose, run_rows
from libmpc.runtime.speed import MEASURED, Machine

HOURS = 730.0
"""In a month."""
GATHER_SECONDS = 0.02
BATCHES = 2
"""How long a gateway lets queries gather, and batches that it keeps under way."""
VALUE_BYTES = 6
ENVELOPE_BYTES = 700
"""Of a query and its answer beside the values: headers, keys, tags and JSON, both envelopes."""
PARTY_BYTES, GATEWAY_BYTES = 512 << 20, 256 << 20
"""Memory of a process with pools of the default size, rounded up; a large network needs more."""
RESERVED_IMAGES = 1024
"""Images of a token's quota that a gateway sets aside in the database at a time."""


@dataclass(frozen=True)
class Demand:
    """What is asked for.

    Attributes:
        queries: a second.
        images: in each.
        headroom: the part of a triple's throughput that is planned with; the rest is for bursts.
        spare: triples beyond that, so that one may fail or be upgraded.
        core_hour, gigabyte: prices, in any currency; 0 where nobody asks.
    """

    queries: float
    images: int = 1
    network: Network = Network("far", 5e-3, GIGABIT)
    headroom: float = 0.6
    spare: int = 1
    core_hour: float = 0.0
    gigabyte: float = 0.0

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.queries * self.images


@dataclass(frozen=True)
class Line:
    """One step of the arithmetic.

    Attributes:
        key: in JSON.
        how: the numbers that it is made of.
    """

    key: str
    what: str
    value: float
    unit: str
    how: str


@dataclass
class Capacity:
    """The whole of it; ``lines`` in the order of the arithmetic."""

    lines: list[Line] = field(default_factory=list)

    def __getitem__(self, key: str) -> float:
        return next(line.value for line in self.lines if line.key == key)

    def add(self, key: str, what: str, value: float, unit: str, how: str) -> float:
        """Add a line; returns its value."""
        self.lines.append(Line(key, what, value, unit, how))
        return value


def plan_capacity(plan: Plan, demand: Demand, machine: Machine = MEASURED) -> Capacity:
    """What a load needs. One process uses one core; each party's are in its own organisation."""
    found, forecast = Capacity(), Forecast(plan, machine)
    rate = found.add(
        "rate",
        "images a second",
        demand.rate,
        "/s",
        f"{demand.queries:,g} queries/s × {demand.images:,} images",
    )
    rung = _triples(found, forecast, demand, rate)
    _pods(found, machine, demand, rate)
    _bandwidth(found, plan, demand, rung, rate)
    _cost(found, demand, rate)
    return found


def batch_of(forecast: Forecast, rate: float, images: int, network: Network) -> int:
    """The batch size that most runs have at so many images a second and triple."""
    gathered = images
    for rung in LADDER:
        # What comes in while the batches before are under way, or while queries gather.
        waiting = max(GATHER_SECONDS, forecast.latency(rung, network).total / BATCHES)
        if (arrived := rate * waiting) >= rung:
            gathered = max(gathered, int(arrived))
    return compose(min(gathered, LADDER[-1]), run_rows=run_rows(forecast.plan))[0]


def _triples(found: Capacity, forecast: Forecast, demand: Demand, rate: float) -> int:
    network, triples = demand.network, 1
    while True:  # with more triples each gets less, and smaller batches cost more an image
        rung = batch_of(forecast, rate / triples, demand.images, network)
        opening = max(0.0, rung / demand.images - 1) * forecast.machine.open_cpu
        flow = forecast.throughput(rung, network)
        evaluator = forecast.evaluator_seconds(rung) + opening
        received, dealer = forecast.received_seconds(rung), forecast.dealer_seconds(rung)
        core = rung / max(evaluator + received, dealer)
        # Bandwidth is between organisations, whatever the number of triples.
        most = min(core, flow.delay)
        needed = max(1, math.ceil(rate / (demand.headroom * most)))
        if needed <= triples or rung == LADDER[0]:
            break
        triples = needed
    found.add(
        "batch",
        "images in a run",
        rung,
        "",
        f"what gathers at {rate / triples:,.0f} images/s a triple; runs have {LADDER}",
    )
    for key, what, seconds, how in (
        ("party0", "party 0, an image", evaluator, "rounds, masks, envelopes"),
        ("party1", "party 1, an image", evaluator + received, "the same, and receiving masks"),
        ("dealer", "party 2, an image", dealer, "dealing and sending"),
    ):
        text = f"{1e3 * seconds:.3g} ms a run ÷ {rung}: {how}"
        found.add(key, what, 1e3 * seconds / rung, "ms of a core", text)
    bound = "processor" if core <= flow.delay else "delay"
    at_once = f"{flow.delay:,.0f} by delay"
    found.add(
        "triple_rate",
        "a triple's throughput",
        most,
        "images/s",
        f"{core:,.0f} by its busiest core, {at_once}: bound by {bound}",
    )
    found.add(
        "triples",
        "triples",
        needed + demand.spare,
        "",
        f"⌈{rate:,.0f} ÷ ({demand.headroom:.0%} of {most:,.0f})⌉ + {demand.spare} to spare",
    )
    return rung


def _pods(found: Capacity, machine: Machine, demand: Demand, rate: float) -> None:
    triples = found["triples"]
    busy = demand.queries * machine.gateway_cpu
    gateways = found.add(
        "gateways",
        "gateways",
        max(2, math.ceil(busy / demand.headroom)),
        "",
        f"{demand.queries:,g} queries/s × {1e3 * machine.gateway_cpu:.2g} ms ÷"
        f" {demand.headroom:.0%} of a core each, 2 at least",
    )
    cores = found.add(
        "cores",
        "cores",
        3 * triples + gateways,
        "",
        f"{triples:,.0f} for each of the three organisations + {gateways:,.0f} for gateways",
    )
    memory = 3 * triples * PARTY_BYTES + gateways * GATEWAY_BYTES
    found.add(
        "memory",
        "memory",
        memory / (1 << 30),
        "GiB",
        f"{3 * triples:,.0f} × {PARTY_BYTES >> 20} MiB + {gateways:,.0f} × {GATEWAY_BYTES >> 20}"
        " MiB",
    )
    working = rate * (found["party0"] + found["party1"] + found["dealer"]) / 1e3 + busy
    found.add(
        "working",
        "cores at work",
        working,
        "",
        f"of {cores:,.0f}: images/s × what each takes, and the gateways' part",
    )
    writes = rate / RESERVED_IMAGES
    found.add(
        "writes",
        "database writes, where images are limited",
        writes,
        "/s",
        f"{rate:,.0f} ÷ {RESERVED_IMAGES:,} set aside at a time; more where few are left",
    )


def _bandwidth(found: Capacity, plan: Plan, demand: Demand, rung: int, rate: float) -> None:
    cost = plan_cost(plan, rung)
    values = math.prod(plan.input_shape) + 2 * math.prod(plan.output_shape)
    envelopes = VALUE_BYTES * values * demand.images + ENVELOPE_BYTES
    ways = (
        ("masks", "party 2 → party 1", cost.correction_bytes / rung * rate),
        ("rounds", "party 0 ⇄ party 1, each way", cost.online_bytes / rung * rate),
        ("clients", "clients ⇄ gateways, and on to 0 and 1", envelopes * demand.queries),
    )
    for key, what, second in ways:
        each = second / rate
        text = f"{each:,.0f} bytes an image × {rate:,.0f}/s"
        found.add(key, what, 8e-6 * second, "Mbit/s", text)
        month = second * 3600 * HOURS / 1e12
        found.add(f"{key}_month", "", month, "TB a month", "")
    busiest = max(found["masks"], found["rounds"]) * 1e6 / 8
    link = demand.network.bandwidth
    most = rate * link / busiest
    fits = "fits" if most >= rate / demand.headroom else "DOES NOT FIT: bandwidth breaks first"
    found.add(
        "link",
        "the busiest way allows",
        most,
        "images/s",
        f"{8e-6 * link:,.0f} Mbit/s between two organisations, all triples together; {fits}",
    )


def _cost(found: Capacity, demand: Demand, rate: float) -> None:
    if not (demand.core_hour or demand.gigabyte):
        return
    cores = found["cores"] * HOURS * demand.core_hour
    found.add(
        "core_cost",
        "cores, a month",
        cores,
        "",
        f"{found['cores']:,.0f} × {HOURS:g} h × {demand.core_hour:g}",
    )
    # Both ways of the rounds leave an organisation, and pay for it.
    carried = found["masks_month"] + 2 * found["rounds_month"] + found["clients_month"]
    traffic = found.add(
        "traffic_cost",
        "traffic between organisations, a month",
        carried * 1e3 * demand.gigabyte,
        "",
        f"{carried:,.1f} TB × {demand.gigabyte:g} a GB; rounds leave both evaluators",
    )
    images = rate * 3600 * HOURS
    found.add(
        "million_cost",
        "a million images",
        1e6 * (cores + traffic) / images,
        "",
        f"({cores:,.0f} + {traffic:,.0f}) ÷ {images / 1e6:,.0f} million a month",
    )
