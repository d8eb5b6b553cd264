"""``libmpc explain``: the costs it shows are those that a real run counts, step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

import libmpc
from libmpc import data
from libmpc.cli.explain import describe, totals
from libmpc.cli.tables import Column, table
from libmpc.graph import activations
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.model import Model, build_model
from libmpc.graph.plan import Plan
from libmpc.graph.tail import with_output
from libmpc.outputs import parse
from libmpc.prg import Stream
from libmpc.protocol.exchange import Payload
from libmpc.protocol.weights import DealerWeights
from libmpc.runtime import channel, plan_cost, simulation
from tests.cli.run import Cli

SHIPPED = data.model_path("short-conv-mnist.h5")


class Counted:
    """What went through the channels of a run, by step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds: Counter[int] = Counter()
        self.online: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        self.corrections: Counter[int] = Counter()
        send, deal = channel.MemoryChannel.__call__, simulation.deal

        async def counting_send(end: channel.MemoryChannel, tag: int, payload: Payload) -> bytes:
            step = tag // 8
            self.online[end._party][step] += len(payload)
            self.rounds[step] += end._party
            return await send(end, tag, payload)

        def counting_deal(
            plan: Plan, weights: DealerWeights, batch: int, stream0: Stream, stream1: Stream
        ) -> Iterator[tuple[int, Payload]]:
            for step, payload in deal(plan, weights, batch, stream0, stream1):
                self.corrections[step] += len(payload)
                yield step, payload

        monkeypatch.setattr(channel.MemoryChannel, "__call__", counting_send)
        monkeypatch.setattr(simulation, "deal", counting_deal)


def mixed() -> Model:
    """A network with every kind of step that talks, and some that do not."""
    random = np.random.default_rng(3)
    b = GraphBuilder((6, 6, 2))
    x = b.conv("conv", b.input, random.uniform(-0.5, 0.5, (3, 3, 2, 4)), padding=(1, 1, 1, 1))
    x = b.max_pool("pool", b.relu("relu", x), (2, 2), (2, 2))
    x = activations.hard_swish(b, "swish", x)
    x = b.concat("both", [b.sign("sign", x), activations.clip(b, "clip", x, 0.1, 0.7)], axis=2)
    x = b.multiply("square", x, x)
    x = b.dense("dense", b.reshape("flat", x, (72,)), random.uniform(-0.2, 0.2, (72, 5)))
    return build_model(b.graph(x), (-1, 1))


@pytest.mark.parametrize("batch", [1, 3])
def test_every_step_costs_what_a_run_counts(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    model = mixed()
    steps = describe(model.plan, model.step_names, batch)
    counted = Counted(monkeypatch)
    run = libmpc.Simulation(model)
    x = np.random.default_rng(4).uniform(-1, 1, (batch, *model.input_shape))
    assert np.array_equal(run.query(x), model.reference(x))
    for step in steps:
        index = step["index"]
        assert step["rounds"] == counted.rounds[index]
        assert step["online_bytes"] == counted.online[0][index] == counted.online[1][index]
        assert step["preprocessing_bytes"] == counted.corrections[index]
    together = totals(steps)
    assert together["rounds"] == run.traffic.rounds
    assert (together["online_bytes"],) * 2 == run.traffic.sent
    assert together["preprocessing_bytes"] == run.traffic.corrections
    assert {step["op"] for step in steps} >= {"relu", "rectify", "positive", "product", "output"}


def test_multiplications_are_counted_by_hand() -> None:
    model = mixed()
    steps = describe(model.plan, model.step_names, 2)
    by_op: Counter[str] = Counter()
    for step in steps:
        by_op[step["op"]] += step["macs"]
    assert by_op["conv"] == 2 * 36 * (9 * 2) * 4
    assert by_op["dense"] == 2 * 72 * 5
    assert by_op["product"] == 2 * (36 + 72)
    assert by_op["relu"] == by_op["rectify"] == by_op["concat"] == 0


def test_json(cli: Cli) -> None:
    document = cli("explain", SHIPPED, "--json").json()
    model = libmpc.load_model(SHIPPED, (0, 1))
    assert document["plan"] == model.plan.digest.hex()
    assert (document["input_shape"], document["output_shape"]) == ([28, 28, 1], [10])
    assert document["final_activation"] == model.final_activation
    assert document["steps"] == describe(model.plan, model.step_names, 1)
    assert document["totals"] == totals(document["steps"])
    assert document["totals"]["rounds"] == 13
    for step in document["steps"]:
        assert step["shape"] == list(model.plan.steps[step["index"]].output_shape)


@pytest.mark.parametrize(("output", "rounds"), [("label", 16), ("topk:3", 17), ("count:9", 17)])
def test_another_output(cli: Cli, output: str, rounds: int) -> None:
    document = cli("explain", SHIPPED, "--output", output, "--json").json()
    kind = parse(output).answer
    plan = with_output(libmpc.load_model(SHIPPED, (0, 1)).plan, kind)
    cost = plan_cost(plan, 1)
    assert document["output"] == str(kind)
    assert document["plan"] == plan.digest.hex()
    assert document["final_activation"] is None
    found = document["totals"]
    assert (found["rounds"], found["online_bytes"]) == (cost.rounds, cost.online_bytes)
    assert found["rounds"] == rounds
    assert found["preprocessing_bytes"] == cost.correction_bytes
    assert [step["op"] for step in document["steps"]] == [step.op for step in plan.steps]
    assert document["steps"][-1]["layer"] == str(kind)
    assert "an output is" in cli("explain", SHIPPED, "--output", "best").error()


def test_the_table(cli: Cli) -> None:
    done = cli("explain", SHIPPED, "--batch", 128)
    assert done.code == 0
    table, _, estimated = done.out.partition("\n\n")
    assert "latency" in estimated
    head, titles, *rows = table.splitlines()
    assert "for 128 samples" in head
    shown = " ".join(titles.split())
    assert shown == "STEP OP LAYER SHAPE MACS ROUNDS ONLINE B PREPARED B"
    expected = cli("explain", SHIPPED, "--batch", 128, "--json").json()
    numbered = [row for row in rows if row.split()[0].isdecimal()]
    assert [row.split()[1] for row in numbered] == [s["op"] for s in expected["steps"]]
    assert rows[-1].split() == ["total", *(f"{n:,}" for n in expected["totals"].values())]


def test_names_in_a_table_are_no_markup_and_long_ones_go_on_in_the_next_line() -> None:
    text = table([Column("LAYER", longest=8), Column("N", right=True)], [("[red]dense", "1")])
    assert text.splitlines() == ["LAYER     N", "[red]den  1", "se"]


def test_what_is_no_model(cli: Cli, tmp_path: object) -> None:
    assert "there is no file" in cli("explain", f"{tmp_path}/absent.keras").error()
