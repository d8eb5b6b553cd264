"""The constants of this machine that ``libmpc explain`` estimates with, as code to be pasted.

    python -m benchmarks.calibrate

Arithmetic is timed in this process, what a query and a round cost beside it in a local deployment:
two networks with different numbers of rounds give two equations each. Takes about a minute; nothing
else should run. The result belongs into ``libmpc/runtime/speed.py``.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np

import libmpc
from benchmarks.deployment import Subject, served
from benchmarks.machine import describe
from benchmarks.networks import CNN, PERCEPTRON, Network
from benchmarks.serving import Pause
from libmpc.fixedpoint import encode
from libmpc.prg import KEY_BYTES, Stream
from libmpc.protocol import DealerWeights, EvaluatorWeights, share_weights
from libmpc.ring.matmul import matmul_add, pack_matrix
from libmpc.runtime import deal, evaluate, memory_pair, plan_cost, prepare, prepared_sizes
from libmpc.runtime.forecast import NETWORKS, Forecast
from libmpc.runtime.speed import MEASURED, Machine
from libmpc.shares import new_seed

BATCH = 128
QUERIES = 100


def least(work: Callable[[], object], seconds: float = 1.0) -> float:
    """The shortest of several calls: what else runs only makes them longer."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def mac_seconds() -> float:
    """Of a multiplication in a product of a middling size."""
    random = np.random.default_rng(0)
    x, w = (random.integers(0, 2**48, shape, np.uint64) for shape in ((128, 784), (784, 512)))
    packed, out = pack_matrix(w), np.zeros((128, 512), np.uint64)
    return least(lambda: matmul_add(x, packed, out)) / (128 * 784 * 512)


def arithmetic(network: Network, machine: Machine) -> Machine:
    """Seconds a byte of dealing, preparing and evaluating one batch, beside the multiplications."""
    model = network.model
    plan = model.plan
    shares = share_weights(plan, model.weights, new_seed(), new_seed())
    dealer = DealerWeights.from_payload(plan, shares[2])
    evaluators = [EvaluatorWeights.from_payload(plan, j, shares[j]) for j in (0, 1)]
    keys = [secrets.token_bytes(KEY_BYTES) for _ in range(3)]
    x = np.asarray(encode(network.inputs(BATCH)), np.uint64)
    corrections: dict[int, bytes] = {}

    def dealing() -> None:
        for step, payload in deal(plan, dealer, BATCH, Stream(keys[0]), Stream(keys[1])):
            corrections[step] = bytes(payload)

    def preparing(party: int) -> object:
        given = corrections if party == 1 else None
        return prepare(plan, evaluators[party], BATCH, Stream(keys[party]), given)

    async def running() -> float:
        bundles = [preparing(0), preparing(1)]
        ends = memory_pair()
        begin = time.perf_counter()
        await asyncio.gather(
            *(
                evaluate(plan, weights, bundle, x, Stream(keys[2]), end)  # type: ignore[arg-type]
                for weights, bundle, end in zip(evaluators, bundles, ends, strict=True)
            )
        )
        return time.perf_counter() - begin

    cost = plan_cost(plan, BATCH)
    macs = BATCH * sum(step.macs for step in plan.linear_steps.values()) * machine.mac
    dealt = least(dealing) - macs
    prepared = least(lambda: preparing(1)) - macs
    online = min(asyncio.run(running()) for _ in range(20)) / 2 - macs
    return replace(
        machine,
        dealt_byte=max(0.0, dealt) / cost.correction_bytes,
        prepared_byte=max(0.0, prepared) / sum(prepared_sizes(plan, BATCH).values()),
        online_byte=max(0.0, online) / cost.online_bytes,
    )


def one_image(subject: Subject) -> tuple[float, float]:
    """Seconds of a query with the pools full, and processor seconds of party 0 for each."""
    pause = Pause(subject)
    processes = subject.deployment.processes
    subject.ask(1, queries=10)
    before = processes.cpu_seconds()["party 0"]
    done = subject.ask(1, queries=QUERIES, before=pause)
    return done.median, (processes.cpu_seconds()["party 0"] - before) / QUERIES


def overheads(machine: Machine) -> Machine:
    """What a query and a round cost beside arithmetic, from two networks; an image from a batch."""
    here = NETWORKS[0]
    rows = []
    batch = 0.0
    with libmpc.LocalCluster() as cluster:
        for network in (CNN, PERCEPTRON):
            with served(cluster, network) as subject:
                latency, used = one_image(subject)
                if network is CNN:
                    fill = subject.deployment.fill
                    batch = subject.ask(BATCH, queries=5, warm_up=2, before=fill).median
            plan = network.model.plan
            bare = replace(machine, round=0.0, round_cpu=0.0, query=0.0, image=0.0, query_cpu=0.0)
            known = Forecast(plan, bare).latency(1, here).total
            computed = Forecast(plan, bare).evaluator_seconds(1)
            rows.append((plan_cost(plan, 1).rounds, latency - known, used - computed))
    (many, long, much), (few, short, little) = rows
    per_round, per_round_cpu = (long - short) / (many - few), (much - little) / (many - few)
    found = replace(
        machine,
        round=per_round,
        query=short - few * per_round,
        round_cpu=per_round_cpu,
        query_cpu=little - few * per_round_cpu,
    )
    known = Forecast(CNN.model.plan, replace(found, image=0.0)).latency(BATCH, here).total
    return replace(found, image=max(0.0, batch - known) / BATCH)


def main() -> None:
    machine = replace(MEASURED, name=describe()["cpu"], mac=mac_seconds())
    machine = overheads(arithmetic(CNN, machine))
    print("MEASURED = Machine(")
    for field, value in asdict(machine).items():
        print(f"    {field}={float(f'{value:.2g}') if isinstance(value, float) else value!r},")
    print(")")


if __name__ == "__main__":
    main()
