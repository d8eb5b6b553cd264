"""``libmpc capacity``: from a model and a load to triples, cores, bandwidth and money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.options import JsonOption, ModelArgument, UsageError
from libmpc.cli.progress import Progress
from libmpc.cli.texts import examples, result

if TYPE_CHECKING:
    from libmpc.runtime.capacity import Capacity

_EPILOG = examples(
    "libmpc capacity short-conv-mnist.h5 --load 1000",
    "libmpc capacity model.keras --load 50 --images-per-query 8 --network 20 1000",
    "libmpc capacity model.onnx --load 200 --price-core-hour 0.04 --price-gb 0.05 --json",
)
_MONTH = "_month"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "capacity", epilog=_EPILOG, short_help="What a load needs: triples, cores, bandwidth, cost."
    )(capacity)


def capacity(
    model: ModelArgument,
    load: Annotated[
        float,
        typer.Option("--load", metavar="QPS", min=1e-3, max=1e9, help="Queries a second."),
    ],
    images: Annotated[
        int,
        typer.Option(
            "--images-per-query", metavar="N", min=1, max=16384, help="Samples in each query."
        ),
    ] = 1,
    network: Annotated[
        tuple[float, float],
        typer.Option(
            "--network",
            metavar="MS MBIT",
            help="Between two organisations: milliseconds one way, megabits a second.",
        ),
    ] = (5.0, 1000.0),
    headroom: Annotated[
        float,
        typer.Option(
            "--headroom",
            metavar="P",
            min=0.1,
            max=1.0,
            help="The part of a triple's throughput to plan with; queues need the rest.",
        ),
    ] = 0.6,
    spare: Annotated[
        int, typer.Option("--spare", metavar="N", min=0, max=64, help="Triples that may fail.")
    ] = 1,
    core_hour: Annotated[
        float,
        typer.Option("--price-core-hour", metavar="PRICE", min=0.0, help="Of a core for an hour."),
    ] = 0.0,
    gigabyte: Annotated[
        float,
        typer.Option(
            "--price-gb", metavar="PRICE", min=0.0, help="Of a GB that leaves an organisation."
        ),
    ] = 0.0,
    output: Annotated[
        str,
        typer.Option("--output", metavar="KIND", help="What is asked for, as for 'explain'."),
    ] = "logits",
    as_json: JsonOption = False,
) -> None:
    """Show what a load needs, with the arithmetic line by line.

    A triple is one process of each of the three parties, and each process uses about one core. The
    counts are the model's, as 'explain' shows them; the times are of one machine, which --json
    prints, too. Expect a third more or less, and measure your own with 'libmpc bench'.
    docs/capacity.md says what breaks first as the load grows. Nothing is shared.
    """
    from dataclasses import asdict

    from libmpc.graph.loading import read_file
    from libmpc.graph.lowering import lower
    from libmpc.graph.tail import with_output
    from libmpc.outputs import parse
    from libmpc.runtime.capacity import Demand, plan_capacity
    from libmpc.runtime.forecast import Network
    from libmpc.runtime.speed import MEASURED

    delay, bandwidth = network
    if not (0 <= delay <= 1e5 and 0.001 <= bandwidth <= 1e7):
        raise UsageError("--network takes 0 to 100,000 ms and 0.001 to 10,000,000 Mbit/s")
    way = Network("yours", delay / 1e3, bandwidth * 1e6 / 8)
    demand = Demand(load, images, way, headroom, spare, core_hour, gigabyte)
    with Progress(f"reading {model.name}"):
        plan = with_output(lower(read_file(model)).plan, parse(output).answer)
        found = plan_capacity(plan, demand)
    document: dict[str, Any] = {
        "model": str(model),
        "demand": asdict(demand),
        "machine": asdict(MEASURED),
        "capacity": {line.key: line.value for line in found.lines},
        "lines": [asdict(line) for line in found.lines],
    }
    result(document, "" if as_json else text(model.name, found), as_json)


def text(name: str, found: Capacity) -> str:
    """One line a step."""
    from libmpc.cli.tables import Column, table
    from libmpc.runtime.speed import MEASURED

    columns = (Column("WHAT"), Column("", right=True), Column(""), Column("HOW"))
    rows = []
    for line in found.lines:
        if line.key.endswith(_MONTH):
            continue
        how = line.how
        if any(other.key == line.key + _MONTH for other in found.lines):
            how += f" = {number(found[line.key + _MONTH])} TB a month"
        rows.append((line.what, number(line.value), line.unit, how))
    return f"{name}:\n\n{table(columns, rows)}\n\nOn cores like those measured: {MEASURED.name}."


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"
